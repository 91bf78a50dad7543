/**
 * The model IR: a model as typed blocks. Each `Block` is one block of the text with its dims and block arguments fixed;
 * its functions hold tensor IR ops plus `model.call` (attrs: use, fn, first, count), one function per call signature.
 */
import type { Span } from "../diagnostics/source.ts";
import type { DType, DimTable, Op, TensorType, Value } from "../tensor-ir/types.ts";

export interface Store {
  readonly kind: "param" | "state" | "cache";
  readonly name: string;
  readonly type: TensorType;
  /** How it starts: a constant, or draws of a deviation. */
  readonly init: Init;
  readonly span: Span;
}

export type Init = { readonly kind: "constant"; readonly value: number } | { readonly kind: "normal" | "uniform"; readonly scale: number };

/** What stands under a name inside a block. */
export type Use =
  | { readonly kind: "block"; readonly block: Block; readonly fn: string; readonly over?: string }
  | { readonly kind: "stack"; readonly layers: readonly { readonly count: number; readonly block: Block }[] }
  /** Another use of the same block, read through another function: a tied head. */
  | { readonly kind: "alias"; readonly of: string; readonly fn: string }
  | { readonly kind: "ahead"; readonly depth: number; readonly block: Block; readonly embed: string; readonly head: string };

export interface Block {
  /** Unique within the module: `Mla`, `RmsNorm.2`. */
  readonly id: string;
  /** The names of the block and of what it extends, most derived first. */
  readonly names: readonly string[];
  readonly span: Span;
  readonly dims: Map<string, string>;
  readonly stores: Map<string, Store>;
  readonly uses: Map<string, Use>;
  /** The function that `on step` became, if there is one. */
  onStep?: Fn;
}

export interface Fn {
  /** `Mla.forward`, unique within the module. */
  readonly id: string;
  readonly block: string;
  readonly params: readonly Value[];
  readonly results: readonly Value[];
  readonly ops: readonly Op[];
}

/** A loss tap: per element of `dims`, averaged over live tokens for `T` and over sequences for `B`. */
export interface Module {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: DimTable;
  readonly root: Block;
  readonly forward: Fn;
  readonly blocks: Map<string, Block>;
  readonly fns: Map<string, Fn>;
  /** The functions of `predict_ahead`, by use name. */
  readonly ahead: Map<string, { readonly forward: Fn; readonly readout: Fn; readonly head: Fn; readonly embed: Fn }>;
  /** The name table of checkpoints, `deepseek` for `checkpoint = std.hf.deepseek`. */
  readonly checkpoint?: string;
  readonly losses: ReadonlySet<string>;
}
