import type { DimLabel } from "../tensor-ir/types.ts";
import type { Border } from "./ops/kernel.ts";
import { readInto } from "./ops/moves.ts";
import { type Elements, product, type Sizes, type Tensor } from "./tensor.ts";

/** A value from outside: numbers in memory order, 0 and 1 for booleans. A `Tensor` is one. */
export interface Given {
  readonly data: ArrayLike<number>;
  /** In memory order; those of the type that the program reads it with, in the same order, when not given. */
  readonly dims?: readonly DimLabel[];
}

export interface Inputs {
  /** Sizes of the dims that are bound at run time: `T`, `S`, `B`. */
  readonly sizes: Readonly<Record<DimLabel, number>>;
  /** By the names of `program.input`, `model.param` and `model.state`. */
  readonly values: ReadonlyMap<string, Given>;
  /** What the caches held after the last call. */
  readonly caches?: ReadonlyMap<string, Tensor>;
  /** Of the run, for `tensor.random`: 32 bits. */
  readonly seed?: number;
  /** Of the training, for `tensor.random`: 32 bits. */
  readonly step?: number;
}

export interface Outputs {
  readonly outputs: ReadonlyMap<string, Tensor>;
  readonly updates: ReadonlyMap<string, Tensor>;
  /** In order of emission: layers of a stack may emit under one name. */
  readonly metrics: ReadonlyMap<string, readonly Tensor[]>;
  readonly losses: ReadonlyMap<string, readonly LossValue[]>;
  /** All kept rows, to be given to the next call. */
  readonly caches: ReadonlyMap<string, Tensor>;
}

export interface LossValue {
  readonly numerator: number;
  readonly denominator: number;
}

/** Reads the inputs and collects the outputs of one run. */
export class RunBorder implements Border, Outputs {
  readonly outputs = new Map<string, Tensor>();
  readonly updates = new Map<string, Tensor>();
  readonly metrics = new Map<string, Tensor[]>();
  readonly losses = new Map<string, LossValue[]>();
  readonly caches = new Map<string, Tensor>();
  readonly seed: number;
  readonly step: number;
  readonly #inputs: Inputs;
  readonly #sizes: Sizes;

  constructor(inputs: Inputs, sizes: Sizes) {
    this.#inputs = inputs;
    this.#sizes = sizes;
    this.seed = inputs.seed ?? 0;
    this.step = inputs.step ?? 0;
  }

  read(op: string, name: string, result: Tensor): void {
    const given = this.#inputs.values.get(name);
    if (given === undefined) throw new Error(`no value is given for ${op} ${name}`);
    const { data, dims = result.dims } = given;
    if (dims.length !== result.dims.length || !result.dims.every((label) => dims.includes(label)))
      throw new Error(`${name} is given with dims ${dims.join(", ")}, the program has ${result.dims.join(", ")}`);
    const shape = dims.map((label) => this.#sizes.get(label)!);
    if (data.length !== product(shape))
      throw new Error(`${name} is given with ${data.length} elements, ${dims.join(", ")} is ${shape.join(" x ")}`);
    readInto(result, { dtype: result.dtype, dims, shape, data: data as Elements }, this.#sizes);
  }

  kept(cache: string): Tensor | undefined {
    return this.#inputs.caches?.get(cache);
  }

  keep(cache: string, rows: Tensor): void {
    enter(this.caches, "cache", cache, rows);
  }

  output(name: string, x: Tensor): void {
    enter(this.outputs, "output", name, x);
  }

  update(name: string, x: Tensor): void {
    enter(this.updates, "update of", name, x);
  }

  metric(name: string, x: Tensor): void {
    append(this.metrics, name, x);
  }

  loss(name: string, numerator: Tensor, denominator: Tensor): void {
    append(this.losses, name, { numerator: numerator.data[0]!, denominator: denominator.data[0]! });
  }
}

function enter(into: Map<string, Tensor>, what: string, name: string, x: Tensor): void {
  if (into.has(name)) throw new Error(`a second ${what} ${name}`);
  into.set(name, x);
}

function append<T>(into: Map<string, T[]>, name: string, item: T): void {
  const list = into.get(name);
  if (list === undefined) into.set(name, [item]);
  else list.push(item);
}
