import type { Details, Diagnostics, ParamsOf } from "../../compiler/diagnostics/diagnostic.ts";
import type { Code } from "../../compiler/diagnostics/codes.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type { Block, Fn } from "../../compiler/model-ir/types.ts";
import type { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { DType } from "../../compiler/tensor-ir/types.ts";
import { DimSpace, type Dim } from "./dims.ts";
import type { Instance, Level } from "./instance.ts";
import { ERROR, type Meaning } from "./values.ts";

/** A function with its call signature fixed: its code, and what its results mean. */
export interface FnInfo {
  readonly fn: Fn;
  /** Tensors here carry the results' own values; a caller replaces them by the results of its call. */
  readonly result: Meaning;
  /** The result was known without running anything (`-> Number`). */
  readonly constant: boolean;
}

/** Where an expression stands: which names it sees and where its ops go. */
export interface Scope {
  readonly instance: Instance;
  readonly level: Level;
  /** Parameters and `let` names; absent outside functions. */
  readonly locals?: Map<string, Meaning>;
  /** Formal dims of the function and what they were matched with. */
  readonly fnDims?: ReadonlyMap<string, Dim>;
  /** What `..` stands for in this function. */
  readonly rest?: readonly Dim[];
  /** Absent where only compile-time values are allowed. */
  readonly builder?: ProgramBuilder;
  readonly event?: string;
}

/** The state of checking one model: everything that the functions of this folder share. */
export class Checker {
  readonly diagnostics: Diagnostics;
  readonly space = new DimSpace();
  readonly instances = new Map<string, Instance>();
  readonly busy: string[] = [];
  readonly fns = new Map<string, FnInfo | "busy">();
  readonly blocks = new Map<string, Block>();
  readonly losses = new Set<string>();
  dtype: DType = "f32";
  /** True while the program for a training step is made: `training()`. */
  readonly training: boolean;
  /** Values of the chosen train section that bodies read as `train.name`. */
  readonly trainNames = new Set<string>();

  constructor(diagnostics: Diagnostics, training: boolean) {
    this.diagnostics = diagnostics;
    this.training = training;
  }

  fail<C extends Code>(code: C, at: Span, params: ParamsOf<C>, details: Details = {}): Meaning {
    this.diagnostics.report(code, at, params, details);
    return ERROR;
  }

  /** A name that no other block (or function) of the module has. */
  uniqueId(taken: ReadonlyMap<string, unknown>, name: string): string {
    let id = name;
    for (let n = 2; taken.has(id); n++) id = `${name}.${n}`;
    return id;
  }
}
