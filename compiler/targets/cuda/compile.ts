import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { Cache } from "../../../runtime/io/cache.ts";
import { asideOf, replaceFile } from "../../../runtime/io/replace-file.ts";
import type { Nvcc } from "./nvcc.ts";
import { type PtxasReport, readPtxas } from "./ptxas.ts";

/** What cubins are made for: Hopper with its own instructions, and everything from Ampere on without them. */
export const ARCHITECTURES = ["sm_90a", "sm_80"] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

export interface CubinOptions {
  readonly nvcc: Nvcc;
  readonly architectures?: readonly Architecture[];
  /** How many compilers run at once; as many as there are processors when not given. */
  readonly jobs?: number;
  /** How far it is: files of all files. */
  readonly onProgress?: (done: number, all: number) => void;
}

/** A kernel's file on an architecture. */
export interface Cubin extends PtxasReport {
  readonly name: string;
  readonly architecture: Architecture;
  readonly reused: boolean;
}

/** Sources that nvcc refuses. The message has each file and what the compiler says. */
export class NvccError extends Error {}

/**
 * Compiles all `NAME.cu` of a directory, with the headers in it, to `ARCHITECTURE/NAME.cubin` below it; those of other kernels there
 * go. Results are cached by what they are made from (source, headers, architecture, compiler).
 * @throws NvccError
 */
export async function compileCubins(
  directory: string,
  { nvcc, architectures = ARCHITECTURES, jobs = availableParallelism(), onProgress }: CubinOptions,
): Promise<Cubin[]> {
  const files = readdirSync(directory).toSorted();
  const names = files.filter((name) => name.endsWith(".cu")).map((name) => basename(name, ".cu"));
  const cache = new Cache("cuda");
  const tasks = architectures.flatMap((architecture) =>
    names.filter((name) => isFor(name, architecture)).map((name) => ({ name, architecture })),
  );
  for (const architecture of architectures) removeOthers(join(directory, architecture), new Set(names));
  const failures: string[] = [];
  const cubins: Cubin[] = [];
  const queue = tasks.values();
  const work = async (): Promise<void> => {
    for (const { name, architecture } of queue) {
      const source = join(directory, `${name}.cu`);
      const flags = flagsOf(architecture);
      const hash = hashOf(nvcc.version, ...flags, ...sourcesOf(directory, `${name}.cu`));
      const [cubin, log] = [cache.path(hash, "cubin"), cache.path(hash, "ptxas")];
      const reused = cache.has(log) && cache.has(cubin);
      try {
        if (!reused) await compile(nvcc, [...flags, "-I", directory, source], cubin, log);
        const text = readFileSync(log, "utf8");
        replaceFile(join(directory, architecture, `${name}.cubin`), readFileSync(cubin));
        cubins.push({ name, architecture, reused, ...readPtxas(text) });
      } catch (error) {
        if (!(error instanceof NvccError)) throw error;
        failures.push(error.message);
      }
      onProgress?.(cubins.length + failures.length, tasks.length);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, jobs) }, work));
  if (failures.length > 0) throw new NvccError(failures.toSorted().join("\n"));
  if (cubins.some(({ reused }) => !reused)) cache.prune();
  return cubins.toSorted((a, b) => order(a, b));
}

/** `NAME.sm_90a.cu` is for that architecture only. */
function isFor(name: string, architecture: Architecture): boolean {
  const [, only] = /\.(sm_\w+)$/.exec(name) ?? [];
  return only === undefined || only === architecture;
}

/** The text of a file, and name and text of each header of the directory that it includes, itself or by another one. */
function sourcesOf(directory: string, file: string, seen = new Set<string>()): string[] {
  const text = readFileSync(join(directory, file), "utf8");
  const headers = [...text.matchAll(/^#include "(\w+\.cuh)"/gm)].map(([, name]) => name!);
  return [
    text,
    ...headers.flatMap((name) => {
      if (seen.has(name)) return [];
      seen.add(name);
      return [name, ...sourcesOf(directory, name, seen)];
    }),
  ];
}

function order(a: Cubin, b: Cubin): number {
  const [left, right] = [a, b].map(({ architecture, name }) => `${architecture}/${name}`) as [string, string];
  return left < right ? -1 : 1;
}

function flagsOf(architecture: Architecture): string[] {
  const virtual = architecture.replace("sm_", "compute_");
  return ["-std=c++17", `-gencode=arch=${virtual},code=${architecture}`, "-cubin", "-Xptxas=-v"];
}

/** Cubin and log are there together: the log gets its name last. */
async function compile(nvcc: Nvcc, args: readonly string[], cubin: string, log: string): Promise<void> {
  const aside = asideOf(cubin);
  try {
    const said = await execute(nvcc.command, [...args, "-o", aside]);
    renameSync(aside, cubin);
    replaceFile(log, said);
  } finally {
    rmSync(aside, { force: true });
  }
}

/** What the compiler says, and what a shell says of the time that it took. */
function execute(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const shell = ["-c", '"$@" && times', "sh", command, ...args];
    execFile("/bin/sh", shell, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error === null) resolve(`${stdout}${stderr}`);
      else reject(new NvccError(`${args.at(-3)} does not compile:\n${shortened(stderr || error.message)}`));
    });
  });
}

/** The first errors: what follows is often their consequence. */
function shortened(text: string): string {
  const lines = text.trimEnd().split("\n");
  return lines.length <= 40
    ? lines.join("\n")
    : `${lines.slice(0, 40).join("\n")}\n... ${lines.length - 40} more lines`;
}

/** Removes cubins of kernels that are not there any more: they would be taken for those of today. */
function removeOthers(directory: string, names: ReadonlySet<string>): void {
  mkdirSync(directory, { recursive: true });
  for (const file of readdirSync(directory))
    if (file.endsWith(".cubin") && !names.has(basename(file, ".cubin"))) rmSync(join(directory, file));
}

function hashOf(...parts: readonly (string | Buffer)[]): string {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(`${part.length}:`).update(part);
  return sum.digest("hex");
}
