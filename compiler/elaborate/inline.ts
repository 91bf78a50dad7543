import type { Block, Fn, Module } from "../model-ir/types.ts";
import { joinPath } from "../model-ir/places.ts";
import { numberAttr, stringAttr } from "../tensor-ir/attrs.ts";
import { isWithin, joinDims } from "../tensor-ir/ops/dims.ts";
import type { Op, TensorType, Value } from "../tensor-ir/types.ts";
import { denseCopies, ofChosen, routedCopies } from "./copies.ts";
import { broadcastTo, type Sink } from "./sink.ts";

/** Where a function runs: the place of its block, and where its ops go. */
export interface Frame {
  readonly path: string;
  readonly block: Block;
  readonly sink: Sink;
}

/** What a program makes of the ops that reach outside of functions. Paths are full: `trunk.7.mixer.latent`. */
export interface Host {
  param(path: string, op: Op, sink: Sink): Value;
  state(path: string, op: Op, sink: Sink): Value;
  input(name: string, op: Op, frame: Frame): Value;
  append(path: string, x: Value, op: Op, sink: Sink): Value;
  latest(x: Value, op: Op, sink: Sink): Value;
  metric(path: string, op: Op): Value;
  emitMetric(path: string, value: Value, op: Op, sink: Sink): void;
  emitLoss(path: string, operands: readonly Value[], op: Op, sink: Sink): void;
  update(path: string, value: Value, op: Op, sink: Sink): void;
  /** Called when the ops of a place begin, and when they go on after a call. */
  enter?(path: string): void;
  /** Asked before every layer of a stack: true leaves it out, its result is its first operand. */
  skip?(path: string, block: Block): boolean;
  /** Called with the first operand and the result of every layer of a stack. */
  layer?(path: string, input: Value, output: Value): void;
  /** Called before a `model.call` of a use. */
  call?(frame: Frame, op: Op, args: readonly Value[]): void;
}

/** Copies functions of the model IR into a program: calls inlined, names made paths. */
export class Inliner {
  readonly #module: Module;
  readonly #host: Host;

  constructor(module: Module, host: Host) {
    this.#module = module;
    this.#host = host;
  }

  /** Runs a function of the frame's block on values of the program, and gives its results. */
  run(fn: Fn, frame: Frame, args: readonly Value[]): Value[] {
    if (args.length !== fn.params.length)
      throw new Error(`${fn.id} takes ${fn.params.length} operands, not ${args.length}`);
    const values = new Map<number, Value>();
    fn.params.forEach((param, i) => values.set(param.id, args[i]!));
    const valueOf = ({ id }: Value): Value => {
      const value = values.get(id);
      if (value === undefined) throw new Error(`${fn.id} uses %${id} before it is defined`);
      return value;
    };
    this.#host.enter?.(frame.path);
    for (const op of fn.ops) {
      const results = this.#op(op, frame, op.operands.map(valueOf));
      if (op.name === "model.call") this.#host.enter?.(frame.path);
      op.results.forEach((result, i) => values.set(result.id, results[i]!));
    }
    return fn.results.map(valueOf);
  }

  #op(op: Op, frame: Frame, operands: readonly Value[]): readonly Value[] {
    const { sink } = frame;
    const path = (key: string): string => joinPath(frame.path, stringAttr(op.attrs, key));
    switch (op.name) {
      case "model.call":
        return this.#call(op, frame, operands);
      case "model.param":
        return [this.#host.param(path("name"), op, sink)];
      case "model.state":
        return [this.#host.state(path("name"), op, sink)];
      case "model.metric":
        return [this.#host.metric(path("name"), op)];
      case "program.input":
        return [this.#host.input(stringAttr(op.attrs, "name"), op, frame)];
      case "cache.append":
        return [this.#host.append(path("cache"), operands[0]!, op, sink)];
      case "cache.latest":
        return [this.#host.latest(operands[0]!, op, sink)];
      case "metric.emit":
        this.#host.emitMetric(path("name"), operands[0]!, op, sink);
        return [];
      case "loss.term":
        this.#host.emitLoss(path("name"), operands, op, sink);
        return [];
      case "model.update":
        this.#host.update(path("name"), operands[0]!, op, sink);
        return [];
      case "tensor.random":
        return sink.emit({ ...op, operands, attrs: { ...op.attrs, stream: path("stream") } });
      default:
        return sink.emit({ ...op, operands });
    }
  }

  #call(op: Op, frame: Frame, operands: readonly Value[]): readonly Value[] {
    const use = stringAttr(op.attrs, "use");
    const id = stringAttr(op.attrs, "fn");
    const fn = this.#module.fns.get(id);
    if (fn === undefined) throw new Error(`there is no function ${id}`);
    if (use === "") return this.run(fn, frame, operands);

    this.#host.call?.(frame, op, operands);
    const target = frame.block.uses.get(use);
    const path = joinPath(frame.path, use);
    if (target?.kind === "stack") return this.#stack(op, target.layers, fn, { ...frame, path }, operands);
    if (target?.kind !== "block") throw new Error(`${frame.block.id} calls ${use}, which is no block`);
    if (target.over === undefined) return this.run(fn, { ...frame, path, block: target.block }, operands);
    return this.#copies(op, target.over, fn, { ...frame, path, block: target.block }, operands);
  }

  /** The first operand goes through all layers, the others are given to each. */
  #stack(
    op: Op,
    runs: readonly { readonly count: number; readonly block: Block }[],
    fn: Fn,
    frame: Frame,
    [first, ...others]: readonly Value[],
  ): readonly Value[] {
    const start = numberAttr(op.attrs, "first");
    let x = first!;
    for (let i = start; i < start + numberAttr(op.attrs, "count"); i++) {
      const path = joinPath(frame.path, i);
      const block = layerAt(runs, i);
      if (this.#host.skip?.(path, block)) continue;
      const [y] = this.run(fn, { ...frame, path, block }, [x, ...others]);
      this.#host.layer?.(path, x, y!);
      x = y!;
    }
    return [x];
  }

  #copies(op: Op, copies: string, fn: Fn, frame: Frame, operands: readonly Value[]): readonly Value[] {
    const { sink } = frame;
    const fit = (value: Value, type: TensorType): Value =>
      isWithin(type.dims, value.type.dims)
        ? value
        : broadcastTo(sink, value, joinDims(type.dims, value.type.dims), op.loc);
    const { slot } = op.attrs;
    if (slot === undefined) {
      const results = this.run(fn, { ...frame, sink: denseCopies(copies, sink) }, operands);
      return results.map((value, i) => fit(value, op.results[i]!.type));
    }
    const chosen = operands.at(-1)!;
    const routed = routedCopies(copies, stringAttr(op.attrs, "slot"), chosen, sink);
    const results = this.run(fn, { ...frame, sink: routed }, operands.slice(0, -1));
    return results.map((value, i) => fit(ofChosen(value, copies, chosen, sink), op.results[i]!.type));
  }
}

/** The block of layer `index` of a stack. */
export function layerAt(runs: readonly { readonly count: number; readonly block: Block }[], index: number): Block {
  let left = index;
  for (const { count, block } of runs) {
    if (left < count) return block;
    left -= count;
  }
  throw new Error(`layer ${index} is beyond the end of the stack`);
}
