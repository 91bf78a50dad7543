/**
 * Kernels of one launch: the first workgroups are those of the first one. Where all of them take their first entry point, which is
 * that for few rows, and these have workgroups of one size, one entry point runs them; else each is launched on its own.
 */
import { originLines } from "../../kernel-ir/print.ts";
import type { Entry, SimtKernel } from "../../../runtime/program/grids.ts";
import type { PartsKernel, SoloKernel } from "../../kernel-ir/types.ts";
import type { Dialect } from "./dialect.ts";
import type { Frame } from "./frame.ts";
import { printSolo } from "./print.ts";

/** The entry point of all parts. */
export const ALL = "all_parts";

export interface Parts {
  readonly frames: readonly Frame[];
  /** Of each part, with the part's number behind their names. */
  readonly entries: readonly (readonly Entry[])[];
  /** The first ones, where one entry point runs them. */
  readonly atOnce?: readonly Entry[];
  readonly header: readonly string[];
  readonly kernel: SimtKernel;
}

/** @param dialectOf that of a part */
export function partsOf(dialectOf: (part: SoloKernel) => Dialect, kernel: PartsKernel): Parts {
  const { name, extents, args } = kernel;
  const frames = kernel.parts.map((part) => printSolo(dialectOf(part), part, { parts: kernel.parts.length }));
  const entries = frames.map((frame, i) => frame.entries.map((entry) => withNumber(entry, i + 1)));
  const firsts = entries.map(([first]) => first!);
  const [{ workgroupSize }] = firsts as [Entry];
  const atOnce = firsts.every((first) => first.workgroupSize === workgroupSize && isPlain(first));
  return {
    frames,
    entries,
    ...(atOnce ? { atOnce: firsts } : {}),
    header: [
      `${name}: ${frames.length} kernels in one launch`,
      ...originLines(kernel),
      ...frames.flatMap((frame) => frame.header()),
    ],
    kernel: {
      name,
      args: args.map((arg) => arg.name),
      writes: args.filter(({ access }) => access !== "read").map((arg) => arg.name),
      extents,
      scratch: frames.flatMap((frame, part) =>
        frame.described().scratch.map(({ of, ...own }) => ({
          ...own,
          ...(of === undefined ? {} : { of: numbered(of, part + 1) }),
          part,
        })),
      ),
      entries: atOnce ? [{ name: ALL, workgroupSize, workgroups: [] }] : [],
      parts: entries,
    },
  };
}

function withNumber(entry: Entry, number: number): Entry {
  const { name, before } = entry;
  return {
    ...entry,
    name: numbered(name, number),
    ...(before === undefined ? {} : { before: { ...before, name: numbered(before.name, number) } }),
  };
}

function numbered(entry: string, number: number): string {
  return `${entry}_${number}`;
}

/** Every workgroup has one item, and nothing runs before. */
function isPlain({ before, most }: Entry): boolean {
  return before === undefined && most === undefined;
}
