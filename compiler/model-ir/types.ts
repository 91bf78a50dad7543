/**
 * The model IR: a model as typed blocks. Each `Block` is one block of the text with its dims and block arguments fixed;
 * its functions hold tensor IR ops plus `model.call`, one function per call signature. Names inside are local to the
 * block: elaboration puts the path of the use before them. See docs/model-ir.md.
 */
import type { Span } from "../diagnostics/source.ts";
import type { DType, DimLabel, DimTable, Op, TensorType, Value } from "../tensor-ir/types.ts";

export interface Store {
  readonly kind: "param" | "state" | "cache";
  readonly name: string;
  /** Of a cache: one row, without its leading `S`. */
  readonly type: TensorType;
  readonly init: Init;
  readonly span?: Span;
}

/** How a param or state starts: one value everywhere, or draws with this deviation. */
export type Init =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "normal" | "uniform"; readonly scale: number };

/** What stands under a name inside a block. */
export type Use =
  /** `over` is the dim of the copies; their params get it as first dim. */
  | { readonly kind: "block"; readonly block: Block; readonly fn: string; readonly over?: DimLabel }
  | { readonly kind: "stack"; readonly layers: readonly { readonly count: number; readonly block: Block }[] }
  /** Another use of the same block, read through another function: a tied head. Calls name the block's own use. */
  | { readonly kind: "alias"; readonly of: string; readonly fn: string }
  /** `depth` modules at `use.0`, `use.1`, ...: see `Module.ahead`. */
  | { readonly kind: "ahead"; readonly depth: number; readonly block: Block };

export interface Block {
  /** Unique within the module: `Mla`, `RmsNorm.2`. */
  readonly id: string;
  /** The names of the block and of what it extends, most derived first. */
  readonly names: readonly string[];
  readonly span?: Span;
  /** Named dims: the name in the text to the label in the IR. */
  readonly dims: Map<string, DimLabel>;
  readonly stores: Map<string, Store>;
  readonly uses: Map<string, Use>;
  /**
   * `on step`: reads `model.state`, `model.metric` (attr name: what this block emitted in this step) and `program.input`
   * (`train.x`); writes by `model.update`. Of an optimizer also `program.input` `lr`, `step` (f32 scalars), `weight` and
   * `grad`, and `model.update` of `weight`.
   */
  onStep?: Fn;
}

/**
 * A function of a block. Ops beside those of the tensor IR:
 *
 * - `model.param|state {name}`, `cache.append {cache}`, `metric.emit {name}`, `loss.term {name}`: local names;
 * - `program.input {name}`: names of the program, not of the block;
 * - `model.call {use, fn, first, count}`: `fn` is the id of the callee; `use` is "" for a function of the same block, else the name of a
 *   use. Of a stack it runs the layers `first` to `first + count - 1`: the first operand goes through all of them, the
 *   others are given to each. `first` is 0 and `count` 1 elsewhere.
 *   With `over` (a label E) every copy runs on the same operands and results get E behind T (in front without T). With `slot` (a
 *   label K) as well the call is routed: operands and results hold one row per (T, K), the last operand is `chosen:
 *   i32[T, K]`, the copy of each row, and the callee's types already have T and K. The callee's own types never have E.
 */
export interface Fn {
  /** `Mla.forward`, unique within the module. */
  readonly id: string;
  readonly params: readonly Value[];
  readonly results: readonly Value[];
  readonly ops: readonly Op[];
}

/** One function of a use, as another part of the module calls it. */
export interface Callee {
  readonly use: string;
  readonly fn: Fn;
}

/** What `predict_ahead` calls: `forward(h, e, pos) -> y` and `readout(y) -> h'` of each module, `embed` and `head` of the model. */
export interface Ahead {
  readonly depth: number;
  readonly forward: Fn;
  readonly readout: Fn;
  readonly embed: Callee;
  readonly head: Callee;
}

/** A fact or a number of an `expect`. */
export type FactExpr =
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "fact"; readonly name: string; readonly span: Span }
  | { readonly kind: "binary"; readonly op: "+" | "-" | "*" | "/"; readonly left: FactExpr; readonly right: FactExpr };

export interface Expectation {
  readonly left: FactExpr;
  readonly right: FactExpr;
  /** As written on the left: `params.total`. */
  readonly text: string;
  /** Allowed relative difference, 0 for exact. */
  readonly within: number;
  readonly span: Span;
}

export interface Module {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: DimTable;
  readonly root: Block;
  /** `forward(tokens: i32[T], pos: i32[T]) -> [T, V]` of the root. */
  readonly forward: Fn;
  readonly blocks: Map<string, Block>;
  readonly fns: Map<string, Fn>;
  /** By the name of the use. */
  readonly ahead: Map<string, Ahead>;
  /** The name table of checkpoints: `deepseek` for `checkpoint = std.hf.deepseek`. */
  readonly checkpoint?: string;
  /** Names of the losses that some block adds. */
  readonly losses: ReadonlySet<string>;
  readonly expects: readonly Expectation[];
}
