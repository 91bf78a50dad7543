import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
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

/** Which of g++'s checkers kernels are built with; the program that loads them must have it, too. */
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
  const machine = await simulator();
  const directory = mkdtempSync(join(tmpdir(), "dskc-cuda-"));
  try {
    const headers = [PRELUDES, ...include];
    const stamp = hashOf(headers.flatMap((path) => textsOf(path, /\.cuh$/)));
    for (const file of files) writeFileSync(join(directory, `${file.name}.cc`), translationUnit(file, stamp));
    mkdirSync(dirname(library), { recursive: true });
    await compileLibrary({
      directory,
      library,
      include: [INCLUDE, ...headers],
      // __shared__ arrays lie in sections of their own, which the checker leaves alone unless it is told not to.
      flags: [
        optimize,
        ...FLAGS,
        ...sanitize(sanitizer),
        ...(sanitizer === "address" ? ["-fsanitize-sections=dsk_shared_*"] : []),
      ],
      linkFlags: [machine, sanitizer === undefined ? "-Wl,--no-undefined" : `-fsanitize=${sanitizer}`],
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * Builds the stand-in of libcuda, if it has not been, and returns its path (`.../libcuda.so.1`). It is found by `DSKC_LIBCUDA`.
 * @throws CompileError
 */
export async function standIn(): Promise<string> {
  const library = join(folderOf("driver"), "libcuda.so.1");
  if (existsSync(library)) return library;
  await compileLibrary({
    directory: join(HERE, "driver"),
    library,
    include: [INCLUDE],
    flags: ["-O2", "-Wall"],
    linkFlags: ["-pthread", "-ldl", "-Wl,--no-undefined"],
  });
  return library;
}

/** Builds the program that runs one kernel (launcher/launcher.cc), and returns its path. */
export async function launcher(sanitizer?: Sanitizer): Promise<string> {
  const library = await standIn();
  const source = join(HERE, "launcher/launcher.cc");
  return compileOnce(join(folderOf("driver", "launcher"), `launcher${sanitizer ?? ""}`), [
    "-O1",
    ...sanitize(sanitizer),
    `-I${INCLUDE}`,
    source,
    library,
    `-Wl,-rpath,${dirname(library)}`,
  ]);
}

/** What runs kernels, as one object that becomes a part of every module. Sanitizers do not look at it: it tells them what it does. */
function simulator(): Promise<string> {
  const sources = readdirSync(join(HERE, "simulator")).map((name) => join(HERE, "simulator", name));
  return compileOnce(join(folderOf("simulator"), "simulator.o"), [
    "-O2",
    ...FLAGS,
    "-g1",
    "-fPIC",
    "-fvisibility=hidden",
    `-I${INCLUDE}`,
    "-r",
    "-nostdlib",
    ...sources,
  ]);
}

const compiling = new Map<string, Promise<string>>();

/** Calls the compiler unless the file is there. */
function compileOnce(path: string, flags: readonly string[]): Promise<string> {
  const compile = async (): Promise<string> => {
    if (existsSync(path)) return path;
    mkdirSync(dirname(path), { recursive: true });
    const { command } = await findCompiler();
    const aside = `${path}.${process.pid}`;
    await promisify(execFile)(command[0], [...command.slice(1), "-std=c++20", ...flags, "-o", aside]);
    renameSync(aside, path);
    return path;
  };
  const found = compiling.get(path) ?? compile();
  compiling.set(path, found);
  return found;
}

/** Where that is kept which is made of these parts of the harness, and of the headers. */
export function folderOf(...parts: readonly ("driver" | "launcher" | "simulator" | "preludes")[]): string {
  const folders = [INCLUDE, ...parts.map((part) => (part === "preludes" ? PRELUDES : join(HERE, part)))];
  const texts = folders.flatMap((path) => textsOf(path, /\.(cc|h|cuh)$/));
  return join(new Cache("cuda").directory, `harness-${hashOf([HERE, ...FLAGS, ...texts]).slice(0, 16)}`);
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

function sanitize(sanitizer: Sanitizer | undefined): readonly string[] {
  return sanitizer === undefined ? [] : ["-g1", `-fsanitize=${sanitizer}`];
}

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
