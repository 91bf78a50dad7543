import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LowerOptions } from "../../compiler/lower/fusions.ts";
import { lowerPrograms } from "../../compiler/lower/lower.ts";
import { KERNEL_FLAGS } from "../../compiler/package/package.ts";
import { compileLibrary, VARIANT_FLAGS } from "../../compiler/targets/cpu/compile.ts";
import { printCpu } from "../../compiler/targets/cpu/print.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { type CpuOptions, type CpuSession, openCpuSession } from "../../runtime/device/cpu/session.ts";
import { addon } from "../../runtime/native/addon.ts";
import { type CpuVariant, libraryOf } from "../../runtime/program/variants.ts";

/** Sources that are compiled together: a process for each of hundreds of small kernels would take most of the time. */
const TOGETHER = 40;

/** Programs, as they are, on the CPU; the session's directory is gone when this returns. */
export async function onCpu(
  programs: readonly Program[],
  options: CpuOptions = {},
  lower: LowerOptions = {},
): Promise<CpuSession> {
  const { kernels, programs: launches } = lowerPrograms(programs, lower);
  const directory = mkdtempSync(join(tmpdir(), "dskc-cpu-"));
  try {
    const sources = join(directory, "kernels");
    mkdirSync(sources);
    const files = [...printCpu(kernels)];
    // What is not of these kernels is the same for all: it is compiled once.
    const own = new Set([...kernels.map(({ name }) => `${name}.cc`), "table.cc"]);
    for (const [name, text] of files) if (!own.has(name)) writeFileSync(join(sources, name), text);
    // Headers of two families may use the same names: they do not meet in one file.
    const byHeader = new Map<string, string[]>();
    for (const [name, text] of files) {
      if (!own.has(name)) continue;
      const header = /^#include "(.*)"$/m.exec(text)?.[1] ?? "";
      byHeader.set(header, [...(byHeader.get(header) ?? []), text]);
    }
    for (const [header, code] of byHeader) {
      for (let i = 0; i < code.length; i += TOGETHER) {
        writeFileSync(join(sources, `${header}.${i}.cc`), code.slice(i, i + TOGETHER).join("\n"));
      }
    }
    writeFileSync(join(directory, "program.json"), JSON.stringify({ format: 1, programs: launches }));
    const variant = addon().isa() as CpuVariant;
    const flags = [...VARIANT_FLAGS[variant], ...KERNEL_FLAGS, "-O1"];
    await compileLibrary({ directory: sources, library: join(directory, libraryOf(variant)), flags });
    return openCpuSession(directory, options);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
