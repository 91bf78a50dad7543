import type { DimLabel, Program } from "../tensor-ir/types.ts";

export interface PassOptions {
  /** Sizes to assume for run-time dims, which costs depend on: tokens of a call, positions kept, sequences. */
  readonly sizes?: ReadonlyMap<DimLabel, number>;
  readonly recompute?: Recompute;
}

/** Names of values (`*` stands for anything) that the backward part computes again, or the largest peak wanted, in bytes. */
export type Recompute = { readonly values: readonly string[] } | { readonly budget: number };

/** A rewriting of a program into one that means the same. */
export interface Pass {
  /** `verb-noun`, as `dskc build --after` takes it. */
  readonly name: string;
  run(program: Program, options: PassOptions): Program;
}
