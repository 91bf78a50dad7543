/** Units of the numbers in sections: what they measure, and how much one of them is. */
import type * as ast from "../../syntax/ast.ts";

/** What a number measures; the value is kept in the base unit of the same name. */
export const MEASURES = [
  "tokens",
  "steps",
  "sequences",
  "epochs",
  "nodes",
  "gpus",
  "sms",
  "bytes",
  "bytes_per_second",
  "seconds",
  "percent",
] as const;
export type Measure = (typeof MEASURES)[number];

interface Unit {
  readonly measure: Measure;
  readonly scale: number;
}

const BYTES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

const SECONDS: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600 };

/** Unit names that measure a whole number of things; the singular is the same unit. */
const THINGS: readonly Measure[] = ["tokens", "steps", "sequences", "epochs", "nodes", "gpus", "sms"];

const UNITS: ReadonlyMap<string, Unit> = new Map([
  ...THINGS.flatMap((measure): [string, Unit][] => [
    [measure, { measure, scale: 1 }],
    [measure.slice(0, -1), { measure, scale: 1 }],
  ]),
  ...Object.entries(BYTES).flatMap(([name, scale]): [string, Unit][] => [
    [name, { measure: "bytes", scale }],
    [`${name}/s`, { measure: "bytes_per_second", scale }],
  ]),
  ...Object.entries(SECONDS).map(([name, scale]): [string, Unit] => [name, { measure: "seconds", scale }]),
  ["%", { measure: "percent", scale: 1 }],
]);

/** A number as written: its value in the base unit, and what it measures; a bare number measures nothing. */
export interface Amount {
  readonly value: number;
  readonly measure: Measure | undefined;
}

/** The amount of a quantity; undefined for a unit that sections do not know. */
export function amountOf(quantity: ast.Quantity): Amount | undefined {
  if (quantity.unit === undefined) return { value: quantity.value, measure: undefined };
  const unit = UNITS.get(quantity.unit);
  return unit === undefined ? undefined : { value: quantity.value * unit.scale, measure: unit.measure };
}

export function isMeasure(text: string): text is Measure {
  return (MEASURES as readonly string[]).includes(text);
}

/** True where only whole numbers make sense. */
export function isCounted(measure: Measure): boolean {
  return THINGS.includes(measure) || measure === "bytes";
}

/** How messages name a measure: `tokens`, `bytes per second`. */
export function measureText(measure: Measure): string {
  return measure.replaceAll("_", " ");
}

/** An example of a unit for each measure, for help lines: `write 4 GiB`. */
export function exampleUnit(measure: Measure): string {
  return { bytes: "GiB", bytes_per_second: "GB/s", seconds: "s", percent: "%" }[measure as string] ?? measure;
}
