import type { Attrs } from "../../tensor-ir/types.ts";
import type { Sizes, Tensor } from "../tensor.ts";

/** What goes in and out of a program while it runs. */
export interface Border {
  readonly seed: number;
  readonly step: number;
  /** Fills the result of a `program.input`, `model.param` or `model.state`. */
  read(op: string, name: string, result: Tensor): void;
  /** The rows of a cache from earlier calls. */
  kept(cache: string): Tensor | undefined;
  keep(cache: string, rows: Tensor): void;
  output(name: string, x: Tensor): void;
  update(name: string, x: Tensor): void;
  metric(name: string, x: Tensor): void;
  loss(name: string, numerator: Tensor, denominator: Tensor): void;
}

export interface Call {
  readonly attrs: Attrs;
  readonly operands: readonly Tensor[];
  readonly sizes: Sizes;
  readonly border: Border;
}

/** Fills the result, which is all 0 before. The result may have its dims in any order. */
export type Kernel = (result: Tensor, call: Call) => void;

/** An op without a result. */
export type Effect = (call: Call) => void;
