/** What the check of a section's values may look at. */
import type { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import type { Span } from "../../../compiler/diagnostics/source.ts";
import type { Module } from "../../../compiler/model-ir/types.ts";
import type * as ast from "../../syntax/ast.ts";
import type { Schemas } from "./schema.ts";
import type { Type, Value } from "./types.ts";

/** What sections need to know about a checked model. */
export interface ModelFacts {
  readonly module: Module;
  /** Keys of the train section that the model reads, with a place that reads them. */
  readonly trainNames: ReadonlyMap<string, Span>;
}

export interface Context {
  /** `checkValue`: the rules reach each other through it, so that each file imports only what lies below it. */
  readonly check: (c: Context, expr: ast.Expr, type: Type) => Value;
  readonly schemas: Schemas;
  readonly diagnostics: Diagnostics;
  /** Undefined where the section is for no model, or for one with errors. */
  readonly model: ModelFacts | undefined;
  /** The names of the file's sections of one kind. */
  readonly sections: (kind: ast.SectionKind) => readonly string[];
  /** The tables of checkpoint names: `deepseek`. */
  readonly tables: readonly string[];
  /** The axes of the layout that is checked. */
  readonly axes: readonly string[];
}
