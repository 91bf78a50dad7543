/** Reading checked entries. */
import type { Span } from "../../../compiler/diagnostics/source.ts";
import type { Entries } from "./entries.ts";
import type { CallValue, MeshValue, Schedule, Value } from "./types.ts";

/** The number of an entry or argument; undefined when it is absent, wrong or no plain number. */
export function numberOf(value: Value | undefined): number | undefined {
  return value?.kind === "number" ? value.value : undefined;
}

export function numberAt(entries: Entries, path: string): number | undefined {
  return numberOf(entries.get(path)?.value);
}

export function callAt(entries: Entries, path: string): CallValue | undefined {
  const value = entries.get(path)?.value;
  return value?.kind === "call" ? value : undefined;
}

export function meshAt(entries: Entries, path: string): MeshValue | undefined {
  const value = entries.get(path)?.value;
  return value?.kind === "mesh" ? value : undefined;
}

/** The schedule of an entry; a plain number is a schedule of one piece. */
export function scheduleOf(value: Value | undefined): Schedule | undefined {
  if (value?.kind === "schedule") return value.schedule;
  const number = numberOf(value);
  if (number === undefined) return undefined;
  return { by: "steps", pieces: [{ until: undefined, shape: { kind: "constant", from: number, to: number } }] };
}

/** Where the value of an entry stands in the text; of a default the section. */
export function placeOf(entries: Entries, path: string): Span | undefined {
  const entry = entries.get(path);
  return entry?.from === "default" ? entry.span : entry?.value.span;
}
