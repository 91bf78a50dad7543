/** The types that schemas give to entries and arguments, and the values that the checker makes of expressions. */
import type { Span } from "../../../compiler/diagnostics/source.ts";
import type * as ast from "../../syntax/ast.ts";
import type { UnitKind } from "../../syntax/units.ts";
import { measureText } from "./units.ts";

export type Type =
  | NumberType
  | { readonly kind: "quantity"; readonly measure: UnitKind }
  | { readonly kind: "bool" }
  | { readonly kind: "text" }
  /** One of some words: `k1`, `k2`, `k3`. */
  | { readonly kind: "choice"; readonly names: readonly string[] }
  | { readonly kind: "list"; readonly of: Type }
  /** A value, or a `schedule by` of such values. */
  | { readonly kind: "scheduled"; readonly of: Type }
  /** `a + 0.5 * b`. */
  | { readonly kind: "sum"; readonly of: Type }
  /** `a * 0.5`. */
  | { readonly kind: "weighted"; readonly of: Type }
  /** What functions with this result give: `optimizer`. */
  | { readonly kind: "result"; readonly of: string }
  /** A name of another section of the file. */
  | { readonly kind: "section"; readonly section: ast.SectionKind }
  /** A part of the model: `mixer.softmax`. */
  | { readonly kind: "part" }
  /** An axis of the layout. */
  | { readonly kind: "axis" }
  /** A table of checkpoint names: `std.hf.deepseek`. */
  | { readonly kind: "names" }
  /** `256 nodes * 8 gpus(h800)`. */
  | { readonly kind: "mesh" }
  | { readonly kind: "union"; readonly of: readonly Type[] };

export interface NumberType {
  readonly kind: "number";
  readonly name: string;
  readonly least: number;
  readonly most: number;
  /** True when `least` itself is too small. */
  readonly open: boolean;
  readonly whole: boolean;
}

function numbers(name: string, least: number, most: number, open = false, whole = false): NumberType {
  return { kind: "number", name, least, most, open, whole };
}

export const NUMBER = numbers("number", -Infinity, Infinity);

/** The types of bare numbers, by their names in schemas. */
export const NUMBERS: readonly NumberType[] = [
  NUMBER,
  numbers("positive", 0, Infinity, true),
  numbers("nonnegative", 0, Infinity),
  numbers("fraction", 0, 1),
  numbers("natural", 0, Infinity, false, true),
  numbers("count", 1, Infinity, false, true),
];

const NUMBER_TEXT: Readonly<Record<string, string>> = {
  number: "a number",
  positive: "a positive number",
  nonnegative: "a number from 0 on",
  fraction: "a number from 0 to 1",
  natural: "a whole number from 0 on",
  count: "a whole number from 1 on",
};

/** `a, b or c` */
export function alternatives(names: readonly string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)!}`;
}

/** Results that are no single thing. */
const UNCOUNTED: ReadonlySet<string> = new Set(["data", "weights", "decontamination"]);

/** `a loss`, `an optimizer`, `data` */
export function withArticle(noun: string): string {
  if (UNCOUNTED.has(noun)) return noun;
  return `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
}

/** How messages name a type. */
export function typeText(type: Type): string {
  switch (type.kind) {
    case "number":
      return NUMBER_TEXT[type.name]!;
    case "quantity":
      return measureText(type.measure);
    case "bool":
      return "true or false";
    case "text":
      return "a text";
    case "choice":
      return alternatives(type.names.map((name) => `\`${name}\``));
    case "list":
      return `a list of ${plural(type.of)}`;
    case "scheduled":
      return `${typeText(type.of)} or a schedule`;
    case "sum":
    case "weighted":
      return typeText(type.of);
    case "result":
      return withArticle(type.of);
    case "section":
      return `the name of a ${type.section} section`;
    case "part":
      return "a part of the model";
    case "axis":
      return "an axis";
    case "names":
      return "a table of names such as `std.hf.deepseek`";
    case "mesh":
      return "a mesh such as `4 nodes * 8 gpus`";
    case "union":
      return alternatives(type.of.map(typeText));
  }
}

function plural(type: Type): string {
  if (type.kind === "part") return "parts of the model";
  if (type.kind === "number") return "numbers";
  return `${typeText(type).replace(/^an? /, "")}${type.kind === "result" ? "s" : ""}`;
}

export type Value =
  | { readonly kind: "number"; readonly value: number; readonly measure?: UnitKind; readonly span: Span }
  | { readonly kind: "bool"; readonly value: boolean; readonly span: Span }
  | { readonly kind: "text"; readonly value: string; readonly span: Span }
  /** A word: of a choice, an axis, the name of a section, a table of names, a part of the model. */
  | {
      readonly kind: "word";
      readonly of: "choice" | "axis" | "section" | "names" | "part";
      readonly name: string;
      readonly span: Span;
    }
  | { readonly kind: "list"; readonly items: readonly Value[]; readonly span: Span }
  | CallValue
  | {
      readonly kind: "sum";
      readonly terms: readonly { readonly weight: number; readonly value: Value }[];
      readonly span: Span;
    }
  /** `measure` is what its values measure. */
  | { readonly kind: "schedule"; readonly schedule: Schedule; readonly measure?: UnitKind; readonly span: Span }
  | MeshValue
  /** Something that was reported. */
  | { readonly kind: "error"; readonly span: Span };

export interface CallValue {
  readonly kind: "call";
  readonly fn: string;
  readonly result: string;
  readonly args: ReadonlyMap<string, Value>;
  readonly span: Span;
}

export interface MeshValue {
  readonly kind: "mesh";
  readonly nodes: number;
  /** All of them. */
  readonly gpus: number;
  readonly device: string | undefined;
  readonly span: Span;
}

/** What a schedule counts. `progress` runs from 0 to 1 over the whole training. */
export const CLOCKS = ["tokens", "steps", "sequences", "epochs", "progress"] as const;
export type Clock = (typeof CLOCKS)[number];

export interface Schedule {
  readonly by: Clock;
  /** In order; only the last one has no end. */
  readonly pieces: readonly Piece[];
}

export interface Piece {
  readonly until: { readonly value: number; readonly clock: Clock } | undefined;
  readonly shape: Shape;
}

/** How the value runs over a piece. */
export interface Shape {
  readonly kind: "constant" | "ramp" | "cosine" | "exponential";
  readonly from: number;
  readonly to: number;
}
