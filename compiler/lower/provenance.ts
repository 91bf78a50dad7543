/** What the `.dsk` text calls the ops of a kernel, and where they are. */
import { basename } from "node:path";
import { positionAt } from "../diagnostics/source.ts";
import type { Op } from "../tensor-ir/types.ts";

/** The functions that ops are of, in the order in which they are first met. */
export function functionsOf(ops: readonly Op[]): string[] {
  return [...new Set(ops.flatMap(({ loc }) => (loc?.within === undefined ? [] : [loc.within])))];
}

/** Up to six names of values; of ops, where no value has one. */
export function noteOf(ops: readonly Op[]): string {
  const named = ops.flatMap(({ results }) => results.flatMap(({ name }) => (name === undefined ? [] : [name])));
  const what = new Set(named.length > 0 ? named : ops.map(({ name }) => name));
  return [...what].slice(0, 6).join(", ");
}

/** `std/attention.dsk:41:9`, `model.dsk:3:5`: where the last one is; it does not depend on the folder that is built in. */
export function placeOf(ops: readonly Op[]): string | undefined {
  const loc = ops.findLast((op) => op.loc !== undefined)?.loc;
  if (loc === undefined) return undefined;
  const { path } = loc.file;
  const { line, column } = positionAt(loc.file, loc.start);
  return `${path.startsWith("std/") ? path : basename(path)}:${line}:${column}`;
}
