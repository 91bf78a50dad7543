import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildKernels, folderOf, launcher, type Sanitizer } from "./build.ts";

/** A tensor map of a buffer (cuTensorMapEncodeTiled). */
export interface MapSpec {
  /** The buffer; it may be an argument, too. */
  readonly of: Numbers;
  readonly type: "f32" | "bf16" | "u8";
  /** Elements, innermost first. */
  readonly dims: readonly number[];
  /** Bytes, of the dimensions behind the first. */
  readonly strides: readonly number[];
  readonly box: readonly number[];
  readonly swizzle: 0 | 32 | 64 | 128;
}

export type Numbers = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

/** What a kernel touches of an array that is too large to have. */
export interface Window {
  readonly window: Numbers;
  /** The element of the array that is the window's first. */
  readonly first: number;
}

export interface KernelRun {
  /** The text of a kernel file. */
  readonly source: string;
  readonly kernel: string;
  readonly grid?: number;
  readonly block: number;
  readonly sharedBytes?: number;
  /** In the order of the parameters: ints, buffers (which get what the kernel writes), and windows and maps of buffers among them. */
  readonly args: readonly (number | Numbers | Window | MapSpec)[];
  readonly seed?: number;
  readonly sanitizer?: Sanitizer;
  /** Of the stand-in, e.g. DSK_WORKERS. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A kernel that the harness stopped, with what it said. */
export class KernelError extends Error {}

const TYPES = { u8: 0, f32: 7, bf16: 9 } as const;
const SWIZZLES = { 0: 0, 32: 1, 64: 2, 128: 3 } as const;

/**
 * Compiles a kernel and runs it in a process of its own; buffers hold its results afterwards.
 * @throws KernelError when it fails, CompileError
 */
export async function runKernel(run: KernelRun): Promise<void> {
  const { sanitizer } = run;
  const [module, program] = await Promise.all([moduleOf(run.source, sanitizer), launcher(sanitizer)]);
  const directory = mkdtempSync(join(tmpdir(), "dskc-cuda-run-"));
  try {
    const buffers = buffersOf(run);
    const paths = buffers.map((numbers, i) => {
      const path = join(directory, `${i}.bin`);
      writeFileSync(path, new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
      return path;
    });
    writeFileSync(join(directory, "job"), job(run, module, buffers, paths));
    await promisify(execFile)(program, [join(directory, "job")], {
      env: { ...process.env, ...OPTIONS, DSK_SEED: String(run.seed ?? 1), ...run.env },
      timeout: 120_000,
    }).catch((error: Error & { stderr?: string }) => {
      throw new KernelError(error.stderr || error.message);
    });
    for (const [i, numbers] of buffers.entries()) {
      new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength).set(readFileSync(paths[i]!));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** For `beforeAll`: compiles what all kernels need, which takes a while when it has changed. */
export async function prepareHarness(sanitizer?: Sanitizer): Promise<void> {
  await launcher(sanitizer);
  await moduleOf('extern "C" __global__ void nothing() {}\n', sanitizer);
}

/** Of the sanitizers: what the process leaves unfreed is no matter, and a report ends it. */
const OPTIONS = {
  ASAN_OPTIONS: "detect_leaks=0:abort_on_error=0:exitcode=66",
  TSAN_OPTIONS: "halt_on_error=1:exitcode=66:report_signal_unsafe=0",
};

async function moduleOf(source: string, sanitizer: Sanitizer | undefined): Promise<string> {
  const hash = createHash("sha256").update(source).digest("hex").slice(0, 16);
  const library = join(folderOf("simulator", "preludes"), `${hash}${sanitizer ?? ""}.so`);
  if (!existsSync(library)) {
    const aside = `${library}.${process.pid}`;
    await buildKernels([{ name: "kernel", path: "kernel.cu", text: source }], aside, sanitizer ? { sanitizer } : {});
    renameSync(aside, library);
  }
  return library;
}

/** Those of arguments and of maps, each once. */
function buffersOf({ args }: KernelRun): Numbers[] {
  const all = args.map((arg) =>
    typeof arg === "number" || ArrayBuffer.isView(arg) ? arg : "window" in arg ? arg.window : arg.of,
  );
  return [...new Set(all.filter((arg): arg is Numbers => typeof arg !== "number"))];
}

function job(run: KernelRun, module: string, buffers: readonly Numbers[], paths: readonly string[]): string {
  const lines = [
    `module ${module}`,
    `kernel ${run.kernel} ${run.grid ?? 1} ${run.block} ${run.sharedBytes ?? 0}`,
    ...paths.map((path) => `buffer ${path}`),
  ];
  let maps = 0;
  for (const arg of run.args) {
    if (typeof arg === "number") lines.push(`param int ${arg}`);
    else if (ArrayBuffer.isView(arg)) lines.push(`param buffer ${buffers.indexOf(arg)} 0`);
    else if ("window" in arg)
      lines.push(`param buffer ${buffers.indexOf(arg.window)} ${arg.first * arg.window.BYTES_PER_ELEMENT}`);
    else {
      const { type, swizzle, dims, strides, box } = arg;
      const numbers = [
        buffers.indexOf(arg.of),
        TYPES[type],
        SWIZZLES[swizzle],
        dims.length,
        ...dims,
        ...strides,
        ...box,
      ];
      lines.push(`map ${numbers.join(" ")}`, `param map ${maps++}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
