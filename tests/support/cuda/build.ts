import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { Cache } from "../../../runtime/io/cache.ts";
import { compileLibrary } from "../../../compiler/targets/cpu/compile.ts";
import { findCompiler } from "../../../compiler/targets/cpu/compiler.ts";

const HERE = import.meta.dirname;
const PRELUDES = resolve(HERE, "../../../templates/cuda");
const INCLUDE = join(HERE, "include");

/** Which of g++'s checkers the module is built with. Whoever loads it must be built with the same one. */
export type Sanitizer = "address" | "thread";

export interface ModuleOptions {
  readonly sanitizer?: Sanitizer;
  /** Directories of headers beside templates/cuda. */
  readonly include?: readonly string[];
  readonly optimize?: "-O0" | "-O1" | "-O2" | "-O3";
}

/**
 * Compiles kernel files (`NAME.cu`) by g++ to `outDir/kernels.so`, and writes for each of them an `outDir/NAME.cubin` that names
 * it: what the stand-in of libcuda takes for the image of a module. Returns the path of kernels.so.
 * @throws CompileError
 */
export async function buildModule(
  cuFiles: readonly string[],
  outDir: string,
  options: ModuleOptions = {},
): Promise<string> {
  const library = join(resolve(outDir), "kernels.so");
  await buildKernels(
    cuFiles.map((path) => ({ name: basename(path, ".cu"), path, text: readFileSync(path, "utf8") })),
    library,
    options,
  );
  for (const path of cuFiles)
    writeFileSync(join(outDir, `${basename(path, ".cu")}.cubin`), `${MODULE_LINE}${library}\n`);
  return library;
}

/** How a cubin that is a line of text begins; the path of the library follows (driver/module.cc). */
const MODULE_LINE = "dskc harness module: ";

export interface KernelFile {
  readonly name: string;
  readonly path: string;
  readonly text: string;
}

/** Compiles texts of kernel files to a module. */
export async function buildKernels(
  files: readonly KernelFile[],
  library: string,
  { sanitizer, include = [], optimize = "-O2" }: ModuleOptions = {},
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "dskc-cuda-"));
  try {
    const headers = [PRELUDES, ...include];
    const stamp = hashOf(headers.flatMap((path) => textsOf(path, /\.cuh$/)));
    for (const file of files) writeFileSync(join(directory, `${file.name}.cc`), translationUnit(file, stamp));
    const simulator = join(HERE, "simulator");
    for (const name of readdirSync(simulator)) copyFileSync(join(simulator, name), join(directory, `sim_${name}`));
    mkdirSync(dirname(library), { recursive: true });
    await compileLibrary({
      directory,
      library,
      include: [INCLUDE, ...headers],
      flags: [optimize, ...FLAGS, ...(sanitizer === undefined ? [] : SANITIZE[sanitizer])],
      linkFlags: sanitizer === undefined ? ["-Wl,--no-undefined"] : [`-fsanitize=${sanitizer}`],
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * Builds the stand-in of libcuda, if it has not been, and returns its path (`.../libcuda.so.1`). It is found by `DSKC_LIBCUDA`.
 * @throws CompileError
 */
export async function standIn(sanitizer?: Sanitizer): Promise<string> {
  const directory = join(HERE, "driver");
  // Of all of the harness: modules of kernels are kept beside it.
  const folders = [directory, INCLUDE, join(HERE, "simulator"), PRELUDES];
  const version = hashOf(folders.flatMap((path) => textsOf(path, /\.(cc|h|cuh)$/))).slice(0, 16);
  const library = join(new Cache("cuda").directory, `cuda-${version}${sanitizer ?? ""}`, "libcuda.so.1");
  if (existsSync(library)) return library;
  await compileLibrary({
    directory,
    library,
    include: [INCLUDE],
    flags: ["-O2", "-Wall", ...(sanitizer === undefined ? [] : SANITIZE[sanitizer])],
    linkFlags: [
      "-pthread",
      "-ldl",
      ...(sanitizer === undefined ? ["-Wl,--no-undefined"] : [`-fsanitize=${sanitizer}`]),
    ],
  });
  return library;
}

/** Builds the program that runs one kernel (launcher/launcher.cc), and returns its path. */
export async function executable(sanitizer?: Sanitizer): Promise<string> {
  const library = await standIn(sanitizer);
  const source = join(HERE, "launcher/launcher.cc");
  const program = join(dirname(library), `launcher-${hashOf([readFileSync(source, "utf8")]).slice(0, 16)}`);
  if (existsSync(program)) return program;
  const { command } = await findCompiler();
  const aside = `${program}.${process.pid}`;
  await promisify(execFile)(command[0], [
    ...command.slice(1),
    "-std=c++20",
    `-I${INCLUDE}`,
    source,
    library,
    `-Wl,-rpath,${dirname(library)}`,
    "-o",
    aside,
    ...(sanitizer === undefined ? [] : [`-fsanitize=${sanitizer}`]),
  ]);
  renameSync(aside, program);
  return program;
}

const FLAGS = [
  "-march=native",
  // As nvcc does unless it is told not to.
  "-ffp-contract=fast",
  // nvcc does not take types for a promise that pointers differ.
  "-fno-strict-aliasing",
  "-fno-gnu-unique",
  "-DDSK_HARNESS",
  "-Wall",
  "-Wno-unknown-pragmas",
  "-Wno-unused-variable",
  "-Wno-unused-function",
  "-Wno-unused-but-set-variable",
];

const SANITIZE: Readonly<Record<Sanitizer, readonly string[]>> = {
  // __shared__ arrays lie in sections of their own, which it leaves alone unless it is told not to.
  address: ["-g1", "-fsanitize=address", "-fsanitize-sections=dsk_shared_*"],
  thread: ["-g1", "-fsanitize=thread"],
};

/**
 * A kernel file as g++ takes it: the text as it is, but for dynamic shared memory, between the shim and the list of its kernels.
 * @throws Error when a kernel cannot be found in it
 */
export function translationUnit({ name, path, text }: KernelFile, stamp = ""): string {
  const section = `dsk_shared_${name.replaceAll(/\W/g, "_")}`;
  const kernels = kernelsOf(text);
  if (kernels.length === 0) throw new Error(`${path}: no extern "C" __global__ void ... NAME(`);
  return [
    `// Preludes: ${stamp}`,
    `#define DSK_SHARED_NAME ${section}`,
    `#define DSK_SHARED_SECTION "${section}"`,
    '#include "harness.h"',
    `#line 1 ${JSON.stringify(path)}`,
    withDynamicShared(text),
    '#include "sim_register.h"',
    ...kernels.map(({ name, threads, cluster }) => `DSK_KERNEL(${name}, ${threads}, ${cluster})`),
    "",
  ].join("\n");
}

interface FoundKernel {
  readonly name: string;
  /** Expressions. */
  readonly threads: string;
  readonly cluster: string;
}

const KERNEL = /\b__global__\s+void\s+((?:__\w+__\s*\([^()]*\)\s*)*)(\w+)\s*\(/g;

function kernelsOf(text: string): FoundKernel[] {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
  return [...code.matchAll(KERNEL)].map(([, attributes, name]) => ({
    name: name!,
    threads: argumentOf(attributes!, "__launch_bounds__") ?? "1024",
    cluster: argumentOf(attributes!, "__cluster_dims__") ?? "1",
  }));
}

/** The first argument of an attribute such as `__launch_bounds__(384, 1)`. */
function argumentOf(attributes: string, attribute: string): string | undefined {
  return new RegExp(`${attribute}\\s*\\(\\s*([^(),]+)`).exec(attributes)?.[1]?.trim();
}

const DYNAMIC =
  /\bextern\s+__shared__\s+((?:__align__\s*\([^)]*\)|alignas\s*\([^)]*\))\s*)?([\w\s:]+?)\s*(\w+)\s*\[\s*\]\s*;/g;

/** `extern __shared__ T name[];` cannot be said of a static: it becomes a pointer. */
function withDynamicShared(text: string): string {
  return text.replaceAll(DYNAMIC, (_, __, type: string, name: string) => {
    return `${type}* const ${name} = static_cast<${type}*>(dsk::sim::dynamic_shared());`;
  });
}

function textsOf(directory: string, names: RegExp): string[] {
  return readdirSync(directory)
    .filter((name) => names.test(name))
    .toSorted()
    .flatMap((name) => [name, readFileSync(join(directory, name), "utf8")]);
}

function hashOf(texts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(texts)).digest("hex");
}
