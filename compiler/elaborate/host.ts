import type { Block, Module } from "../model-ir/types.ts";
import { ProgramBuilder } from "../tensor-ir/builder.ts";
import { joinPath } from "../model-ir/places.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { replaceDim } from "../tensor-ir/ops/dims.ts";
import { type DType, isFloat, type Op, type TensorType, type Value } from "../tensor-ir/types.ts";
import type { Frame, Host } from "./inline.ts";
import { cast, emitOne, POSITIONS, programSink, type Sink, TOKENS } from "./sink.ts";

export interface HostSettings {
  /** `keep`: rows stay in caches between calls. `whole`: all positions are in this call, S is T. */
  readonly caches: "keep" | "whole";
  readonly metrics: boolean;
  readonly losses: boolean;
  /** The dtype in which float params are stored, when it is not that of the blocks: master weights. */
  readonly master?: DType;
  /** The dtype in which the optimizer's float states are stored, when it is not that of its block: moments. */
  readonly moments?: DType;
}

export interface LossTerm {
  /** Full path; the last part is the name of the loss. */
  readonly name: string;
  readonly numerator: Value;
  readonly denominator: Value;
}

/** The program that functions are inlined into: its inputs, params, caches, metrics and losses. */
export class ProgramHost implements Host {
  readonly builder: ProgramBuilder;
  readonly sink: Sink;
  /** Params as stored, in the order of their first use. */
  readonly params = new Map<string, Value>();
  readonly metrics = new Map<string, Value>();
  readonly losses: LossTerm[] = [];
  /** The input of the root's first stack, then the result of every layer. */
  readonly hidden: Value[] = [];
  /** Calls of the root's uses, in order. */
  readonly calls: { readonly use: string; readonly args: readonly Value[] }[] = [];
  /** Inputs that stand for a value of the program: `live`; `weight` and `grad` of an optimizer. */
  readonly bindings = new Map<string, Value>();
  /** Where an update under another name goes: the weight of an optimizer is the param. */
  readonly targets = new Map<string, string>();
  readonly #settings: HostSettings;
  readonly #memo = new Map<string, Value>();
  /** States as stored. */
  readonly #states = new Map<string, Value>();

  constructor(module: Module, settings: HostSettings) {
    this.builder = new ProgramBuilder(new Map(module.dims));
    this.sink = programSink(this.builder);
    this.#settings = settings;
  }

  frame(path: string, block: Block): Frame {
    return { path, block, sink: this.sink };
  }

  /** A run-time input, read once per program. */
  read(name: string, type: TensorType): Value {
    return this.#once(`input ${name}`, () => emitOne(this.sink, "program.input", [], type, { name }));
  }

  input(name: string, op: Op): Value {
    const bound = this.bindings.get(name);
    if (bound !== undefined) return bound;
    const { type } = op.results[0]!;
    if (name === "live") return this.live();
    if (this.#settings.caches === "whole" && (name === "key.pos" || name === "key.seq")) {
      return this.#once(name, () =>
        this.#renamed(this.read(name.slice(4), { dtype: "i32", dims: [TOKENS] }), TOKENS, POSITIONS),
      );
    }
    return this.read(name, type);
  }

  /** Which rows are tokens and not padding: bool[T]. */
  live(): Value {
    return this.#once("live", () => this.atLeastZero(this.read("seq", { dtype: "i32", dims: [TOKENS] })));
  }

  atLeastZero(index: Value): Value {
    const zero = emitOne(this.sink, "tensor.constant", [], { dtype: "i32", dims: [] }, { value: 0 });
    return emitOne(this.sink, "math.ge", [index, zero], { dtype: "bool", dims: index.type.dims });
  }

  param(path: string, op: Op, sink: Sink): Value {
    const { type } = op.results[0]!;
    return this.#once(`param ${path}`, () => {
      const stored = this.#storeAs(this.#settings.master, "model.param", path, op, sink);
      this.params.set(path, stored);
      return cast(this.sink, stored, type.dtype, op.loc, path.slice(path.lastIndexOf(".") + 1));
    });
  }

  state(path: string, op: Op, sink: Sink): Value {
    const dtype = path.startsWith(joinPath("optimizer", "")) ? this.#settings.moments : undefined;
    return this.#once(`state ${path}`, () => {
      const stored = this.#storeAs(dtype, "model.state", path, op, sink);
      this.#states.set(path, stored);
      return cast(this.sink, stored, op.results[0]!.type.dtype, op.loc);
    });
  }

  append(path: string, x: Value, op: Op, sink: Sink): Value {
    const [from, at] = [stringAttr(op.attrs, "from"), stringAttr(op.attrs, "at")];
    if (this.#settings.caches === "whole") return this.#renamed(x, from, at, sink, op);
    const type = { dtype: x.type.dtype, dims: replaceDim(x.type.dims, from, [at]) };
    return sink.emit({
      ...op,
      operands: [x],
      results: [{ ...op.results[0]!, type }],
      attrs: { ...op.attrs, cache: path },
    })[0]!;
  }

  latest(x: Value, op: Op, sink: Sink): Value {
    const [from, to] = [stringAttr(op.attrs, "from"), stringAttr(op.attrs, "to")];
    return this.#settings.caches === "whole"
      ? this.#renamed(x, from, to, sink, op)
      : sink.emit({ ...op, operands: [x] })[0]!;
  }

  metric(path: string, op: Op): Value {
    const value = this.metrics.get(path);
    if (value === undefined) throw new Error(`${stringAttr(op.attrs, "name")} was not emitted at ${path}`);
    return value;
  }

  emitMetric(path: string, value: Value, op: Op, sink: Sink): void {
    if (!this.#settings.metrics) return;
    this.metrics.set(path, value);
    sink.emit({ ...op, operands: [value], attrs: { name: path } });
  }

  emitLoss(path: string, operands: readonly Value[], op: Op, sink: Sink): void {
    if (!this.#settings.losses) return;
    const before = this.builder.ops.length;
    sink.emit({ ...op, operands, attrs: { name: path } });
    const term = this.builder.ops.slice(before).at(-1)!;
    this.losses.push({ name: path, numerator: term.operands[0]!, denominator: term.operands[1]! });
  }

  update(path: string, value: Value, op: Op, sink: Sink): void {
    const name = this.targets.get(path) ?? path;
    const stored = this.params.get(name) ?? this.#states.get(name);
    const fit = cast(sink, value, stored?.type.dtype ?? value.type.dtype, op.loc);
    sink.emit({ ...op, operands: [fit], attrs: { name } });
  }

  layer(path: string, input: Value, output: Value): void {
    if (path.split(".").length > 2) return;
    if (this.hidden.length === 0) this.hidden.push(input);
    this.hidden.push(output);
  }

  call(frame: Frame, { attrs }: Op, args: readonly Value[]): void {
    if (frame.path === "") this.calls.push({ use: stringAttr(attrs, "use"), args });
  }

  /** A param or state whose floats are stored in another dtype, if one is given. */
  #storeAs(dtype: DType | undefined, name: string, path: string, op: Op, sink: Sink): Value {
    const { type } = op.results[0]!;
    const stored = isFloat(type.dtype) ? (dtype ?? type.dtype) : type.dtype;
    return sink.emit({
      ...op,
      name,
      operands: [],
      results: [{ ...op.results[0]!, type: { ...type, dtype: stored } }],
      attrs: { name: path },
    })[0]!;
  }

  #renamed(x: Value, from: string, to: string, sink: Sink = this.sink, op?: Op): Value {
    const type = { dtype: x.type.dtype, dims: replaceDim(x.type.dims, from, [to]) };
    return emitOne(sink, "tensor.rename", [x], type, { from: [from], to: [to] }, op?.loc);
  }

  #once(key: string, make: () => Value): Value {
    const known = this.#memo.get(key);
    if (known !== undefined) return known;
    const value = make();
    this.#memo.set(key, value);
    return value;
  }
}
