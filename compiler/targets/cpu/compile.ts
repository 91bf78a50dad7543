import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { basename, dirname, join } from "node:path";
import { Cache } from "../../../runtime/io/cache.ts";
import type { CpuVariant } from "../../../runtime/program/variants.ts";
import { type Compiler, findCompiler } from "./compiler.ts";

/** Instruction sets. Fused multiply-add is part of v3 and v4: how results round is up to the variant, not to the machine. */
export const VARIANT_FLAGS: Readonly<Record<CpuVariant, readonly string[]>> = {
  "x86-64-v2": ["-march=x86-64-v2"],
  "x86-64-v3": ["-march=x86-64-v3"],
  "x86-64-v4": ["-march=x86-64-v4"],
  arm64: ["-mcpu=native"],
};

const ALWAYS = ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden"];

export interface Compilation {
  /** All `.cc` files of this directory and of those in it become one library. */
  readonly directory: string;
  /** Where the library goes; written aside and renamed, so that whoever has the old one open keeps it. */
  readonly library: string;
  /** Of the compiler; those of a variant among them. */
  readonly flags?: readonly string[];
  readonly linkFlags?: readonly string[];
  /** Directories of headers. */
  readonly include?: readonly string[];
  /** How many compilers run at once; as many as there are processors when not given. */
  readonly jobs?: number;
  /** Called before each file that is compiled, with how many of them there are: those in the cache are not. */
  readonly onCompile?: (file: string, all: number) => void;
}

export interface Compiled {
  readonly compiled: number;
  /** Files whose object was in the cache. */
  readonly reused: number;
}

/** Sources that the compiler refuses, or that do not link. The message has each file and what the compiler says. */
export class CompileError extends Error {}

/**
 * Compiles C++ sources to a shared library. Objects are cached by what they are made from (source, headers, flags, compiler),
 * so a change compiles one file.
 * @throws NoCompilerError, CompileError
 */
export async function compileLibrary(compilation: Compilation): Promise<Compiled> {
  const { directory, library, flags = [], linkFlags = [], include = [], jobs = availableParallelism() } = compilation;
  const sources = filesIn(directory).filter((name) => name.endsWith(".cc"));
  if (sources.length === 0) throw new CompileError(`${directory}: there is no .cc file`);
  const compiler = await findCompiler();
  const cache = new Cache("cpu");
  const all = [...ALWAYS, ...flags, ...include.map((path) => `-I${path}`)];
  const common = hash(identity(compiler, [...ALWAYS, ...flags]), ...headers([directory, ...include]));
  const objects = sources.toSorted().map((name) => {
    const path = join(directory, name);
    return { path, object: cache.path(hash(common, readFileSync(path)), "o"), size: statSync(path).size };
  });
  const missing = objects.filter(({ object }) => !cache.has(object)).toSorted((a, b) => b.size - a.size);
  await compileAll(missing, jobs, async ({ path, object }) => {
    compilation.onCompile?.(path, missing.length);
    await make(object, (to) => execute(compiler, [...all, "-c", path, "-o", to], `${path} does not compile`));
  });

  const linked = objects.map(({ object }) => object);
  const shared = cache.path(hash(...linked.map((path) => basename(path)), ...linkFlags), "so");
  if (!cache.has(shared)) {
    const failure = `${library} does not link`;
    await make(shared, (to) => execute(compiler, ["-shared", ...linked, "-o", to, ...linkFlags], failure));
  }
  mkdirSync(dirname(library), { recursive: true });
  await make(library, async (to) => copyFileSync(shared, to));
  if (missing.length > 0) cache.prune();
  return { compiled: missing.length, reused: objects.length - missing.length };
}

/** Runs at most `jobs` at once, all of them even when some fail: the message has all that is wrong. */
async function compileAll<T>(items: readonly T[], jobs: number, compile: (item: T) => Promise<void>): Promise<void> {
  const failures: string[] = [];
  const queue = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      await compile(item).catch((error: unknown) => {
        if (!(error instanceof CompileError)) throw error;
        failures.push(error.message);
      });
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, jobs) }, worker));
  if (failures.length > 0) throw new CompileError(failures.toSorted().join("\n"));
}

let asides = 0;

/** Has a file written aside, and renames it. */
async function make(path: string, write: (to: string) => Promise<void>): Promise<void> {
  const aside = join(dirname(path), `.${process.pid}.${asides++}.${basename(path)}`);
  try {
    await write(aside);
    renameSync(aside, path);
  } finally {
    rmSync(aside, { force: true });
  }
}

function execute({ command: [program, ...first] }: Compiler, args: readonly string[], failure: string): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(program, [...first, ...args], { maxBuffer: 64 << 20 }, (error, _, stderr) => {
      if (error === null) resolve();
      else reject(new CompileError(`${failure}:\n${shortened(stderr || error.message)}`));
    });
  });
}

/** The first errors: what follows is often their consequence, and templates make thousands of lines. */
function shortened(text: string): string {
  const lines = text.trimEnd().split("\n");
  return lines.length <= 40
    ? lines.join("\n")
    : `${lines.slice(0, 40).join("\n")}\n... ${lines.length - 40} more lines`;
}

/** All that makes other code of the same source; `native` means another thing on each processor. */
function identity({ command, version }: Compiler, flags: readonly string[]): string {
  const native = flags.some((flag) => flag.endsWith("=native"));
  return JSON.stringify([command, version, flags, native ? cpus()[0]?.model : "", process.arch]);
}

/** Names and texts, not places: the same sources in another directory are the same. */
function headers(directories: readonly string[]): (string | Buffer)[] {
  return directories.flatMap((directory) =>
    filesIn(directory)
      .filter((name) => name.endsWith(".h"))
      .toSorted()
      .flatMap((name) => [name, readFileSync(join(directory, name))]),
  );
}

function filesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" });
}

function hash(...parts: readonly (string | Buffer)[]): string {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(`${part.length}:`).update(part);
  return sum.digest("hex");
}
