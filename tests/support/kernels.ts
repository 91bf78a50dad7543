import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { compileLibrary } from "../../compiler/targets/cpu/compile.ts";
import { addon } from "../../runtime/native/addon.ts";
import type { BufferKind, BufferSpec, Extent, LaunchProgram, StorageType } from "../../runtime/program/launch.ts";
import { type CpuVariant, libraryOf } from "../../runtime/program/variants.ts";

/** A hand-written kernel: C++ bodies that see `args`, `extents`, and in `run` also `begin`, `end` and `scratch`. */
export interface HandKernel {
  readonly args: number;
  readonly extents: number;
  readonly items: string;
  readonly scratch?: string;
  readonly run: string;
}

/** The text of a library of kernels (templates/cpu/abi.h). */
export function librarySource(kernels: Readonly<Record<string, HandKernel>>): string {
  const functions = Object.entries(kernels).map(
    ([name, { items, scratch = "return 0;", run }]) => `
static int64_t ${name}_items(void* const* args, const int64_t* extents) { ${items} }
static int64_t ${name}_scratch(const int64_t* extents) { ${scratch} }
static void ${name}_run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) { ${run} }
`,
  );
  const rows = Object.entries(kernels).map(
    ([name, { args, extents }]) => `{"${name}", ${args}, ${extents}, ${name}_items, ${name}_scratch, ${name}_run},`,
  );
  return `#include "abi.h"
#include <cmath>
#include <cstring>
#include <pthread.h>
#include <unistd.h>
${functions.join("")}
static const dsk_kernel table[] = {${rows.join("\n")}};
extern "C" const dsk_kernel* dsk_kernels(int32_t abi, int32_t* count) {
  if (abi != DSK_ABI) return nullptr;
  *count = ${rows.length};
  return table;
}
`;
}

/** A temporary directory with the kernels, compiled for this machine; programs are written into it by \`writePrograms\`. */
export async function kernelPackage(kernels: Readonly<Record<string, HandKernel>>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "dskc-package-"));
  const sources = join(directory, "sources");
  mkdirSync(sources);
  writeFileSync(join(sources, "kernels.cc"), librarySource(kernels));
  const library = join(directory, libraryOf(addon().isa() as CpuVariant));
  await compileLibrary({ directory: sources, library, include: [resolve("templates/cpu")] });
  return directory;
}

export function writePrograms(directory: string, ...programs: readonly LaunchProgram[]): void {
  writeFileSync(join(directory, "program.json"), JSON.stringify({ format: 1, programs }));
}

export function buffer(kind: BufferKind, name: string, dtype: StorageType, ...shape: readonly Extent[]): BufferSpec {
  return { kind, name, dtype, shape };
}
