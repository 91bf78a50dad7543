import type { Span } from "../../compiler/diagnostics/source.ts";
import type { Init } from "../../compiler/model-ir/types.ts";
import type { DType, Value } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import type { Dim, Linear } from "./dims.ts";
import type { FileScope } from "./load.ts";

/** What an expression means to the checker. `error` absorbs whatever is done with it, so that one mistake is told once. */
export type Meaning =
  | Tensor
  | Num
  | { readonly kind: "bool"; readonly value: boolean | undefined }
  | { readonly kind: "string"; readonly value: string }
  | DimMeaning
  | BlockTemplate
  | { readonly kind: "use"; readonly name: string; readonly fn?: string }
  | { readonly kind: "state"; readonly name: string }
  | { readonly kind: "cache"; readonly name: string; readonly dims: readonly Dim[]; readonly dtype: DType }
  | { readonly kind: "fn"; readonly name: string }
  | { readonly kind: "tuple"; readonly items: readonly Meaning[] }
  | { readonly kind: "list"; readonly items: readonly Meaning[] }
  | { readonly kind: "path"; readonly parts: readonly string[] }
  | { readonly kind: "init"; readonly init: Init }
  | { readonly kind: "error" };

export interface Tensor {
  readonly kind: "tensor";
  readonly value: Value;
  readonly dims: readonly Dim[];
  /** For indices: the dim they point into. */
  readonly into?: Dim;
  /** For the result of `dispatch`: which expert each row goes to. */
  readonly routed?: { readonly chosen: Tensor; readonly experts: Dim; readonly slot: Dim };
}

export interface Num {
  readonly kind: "number";
  /** Undefined where a block is checked without an instance. */
  readonly value: number | undefined;
}

/** A dim expression; in arithmetic it is the number of its elements. */
export interface DimMeaning {
  readonly kind: "dim";
  readonly linear: Linear;
}

/** A block with its arguments, not yet placed anywhere. */
export interface BlockTemplate {
  readonly kind: "block";
  /** Absent for a block argument that is not known: a block checked on its own. */
  readonly decl?: ast.BlockDecl;
  readonly scope?: FileScope;
  readonly dims: readonly (Dim | number)[];
  readonly args: ReadonlyMap<string, Meaning>;
  /** Where they are written. */
  readonly places?: ReadonlyMap<string, Span>;
  /** Which function stands for it: `transposed` in `Embedding[V, D].transposed`. */
  readonly fn: string;
  /** Where that function is named. */
  readonly fnAt?: Span;
  /** Where it is written, with its dims or arguments. */
  readonly at?: Span;
  /** Identity: equal keys are the same block with the same arguments. */
  readonly key: string;
}

export const ERROR: Meaning = { kind: "error" };

export function num(value: number | undefined): Num {
  return { kind: "number", value };
}

/** What a meaning is called in messages. */
export function describe(meaning: Meaning): string {
  switch (meaning.kind) {
    case "tensor":
      return `a tensor [${meaning.dims.map((d) => d.label).join(", ")}]`;
    case "number":
      return "a number";
    case "bool":
      return "a boolean";
    case "string":
      return "a string";
    case "dim":
      return "a dim";
    case "block":
      return "a block";
    case "use":
      return `the block \`${meaning.name}\``;
    case "cache":
      return `the cache \`${meaning.name}\``;
    case "fn":
      return `the function \`${meaning.name}\``;
    case "tuple":
      return `a tuple of ${meaning.items.length}`;
    case "list":
      return "a list";
    case "state":
      return `the state \`${meaning.name}\``;
    case "path":
      return `\`${meaning.parts.join(".")}\``;
    case "init":
      return "an initializer";
    case "error":
      return "an error";
  }
}

/** A text that is equal for equal compile-time values: part of the identity of blocks and call signatures. */
export function keyOf(meaning: Meaning): string {
  switch (meaning.kind) {
    case "number":
    case "bool":
    case "string":
      return `${meaning.value}`;
    case "dim":
      return meaning.linear.terms.map((t) => `${t.factor}${t.dim.label}`).join("+") + `+${meaning.linear.constant}`;
    case "block":
      return meaning.key;
    case "tensor":
      return `${meaning.value.type.dtype}[${meaning.dims.map((d) => d.label).join(",")}]${meaning.into === undefined ? "" : `>${meaning.into.label}`}${meaning.routed === undefined ? "" : "r"}`;
    case "use":
      return `use ${meaning.name}`;
    case "path":
      return meaning.parts.join(".");
    case "tuple":
    case "list":
      return `(${meaning.items.map(keyOf).join(",")})`;
    default:
      return meaning.kind;
  }
}
