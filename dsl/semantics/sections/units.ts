/** What the numbers of sections measure. */
import type * as ast from "../../syntax/ast.ts";
import { UNITS, type UnitKind } from "../../syntax/units.ts";

/** A number as written: its value in the base unit, and what it measures; a bare number measures nothing. */
export interface Amount {
  readonly value: number;
  readonly measure: UnitKind | undefined;
}

export function amountOf({ value, unit }: ast.Quantity): Amount {
  if (unit === undefined) return { value, measure: undefined };
  const known = UNITS[unit];
  if (known === undefined) throw new Error(`the parser let the unit ${unit} through`);
  return { value: value * known.scale, measure: known.kind };
}

const KINDS: ReadonlySet<string> = new Set(Object.values(UNITS).map((unit) => unit.kind));

export function isMeasure(text: string): text is UnitKind {
  return KINDS.has(text);
}

/** Things come in whole numbers. */
const COUNTED: ReadonlySet<UnitKind> = new Set([
  "tokens",
  "steps",
  "epochs",
  "sequences",
  "samples",
  "nodes",
  "gpus",
  "sms",
  "bytes",
]);

/** True where only whole numbers make sense. */
export function isCounted(measure: UnitKind): boolean {
  return COUNTED.has(measure);
}

/** How messages name an amount: `a number of tokens`, `a time`. */
export function measureText(measure: UnitKind): string {
  if (measure === "ratio") return "a percentage";
  if (measure === "flops") return "a rate of operations";
  return COUNTED.has(measure) ? `a number of ${measure}` : `a ${measure}`;
}

/** The unit that help lines offer. */
export function exampleUnit(measure: UnitKind): string {
  const examples = { bytes: "GiB", bandwidth: "GB/s", time: "s", ratio: "%", flops: "TFLOP/s", frequency: "GHz" };
  return Object.hasOwn(examples, measure) ? examples[measure as keyof typeof examples] : measure;
}
