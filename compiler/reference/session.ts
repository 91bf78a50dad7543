import type { Call, Elements, HostSession, MemoryUse, StoreSpec } from "../../runtime/device/session.ts";
import { evaluationProgram, scoreProgram } from "../elaborate/score.ts";
import { draftPrograms, serveProgram } from "../elaborate/serve.ts";
import { accumulationPrograms, masterOf, type TrainPlan, trainStepProgram } from "../elaborate/train-step.ts";
import { storesOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import { liveOps } from "../tensor-ir/liveness.ts";
import { opDefinition } from "../tensor-ir/ops/table.ts";
import { type DType, isFloat, type Op, type Program, type TensorType } from "../tensor-ir/types.ts";
import type { Given, Outputs } from "./border.ts";
import { readInto } from "./ops/moves.ts";
import type { Precision } from "./rounding.ts";
import { type RunOptions, runProgram } from "./run.ts";
import { SessionCaches } from "./session-caches.ts";
import { planRows } from "./session-rows.ts";
import { product, type Tensor } from "./tensor.ts";

/** The training variant of the module and what a `train` section makes of its step. */
export interface ReferenceTraining {
  readonly module: Module;
  readonly plan: TrainPlan;
  /** Also the programs of a step in several calls. */
  readonly split?: boolean;
}

export interface ReferenceOptions {
  /** Physical rows of each cache; 1024 when not given. */
  readonly cacheRows?: number;
  /** How results are rounded; `f32` when not given. */
  readonly precision?: Precision;
  /** What floats of the caches are rounded to; not at all when not given. */
  readonly caches?: DType;
}

/**
 * A model on the reference interpreter: programs `score`, `prefill`, `decode`, `draft.k` for its look-ahead modules, and
 * `train_step` and `evaluate` when it is trained. Floats of every dtype are stored as f32, and all stores start at 0. Beside the outputs of
 * the programs there are `loss.<name>` (mean) of every loss and `metric.<path>`.
 */
export function referenceSession(
  module: Module,
  training?: ReferenceTraining,
  options: ReferenceOptions = {},
): HostSession {
  const programs = [
    scoreProgram(module, { metrics: true, ...(training === undefined ? {} : { master: masterOf(training.plan) }) }),
    serveProgram(module, "prefill"),
    serveProgram(module, "decode"),
    ...draftPrograms(module),
    ...(training === undefined
      ? []
      : [
          trainStepProgram(training.module, training.plan),
          evaluationProgram(module, masterOf(training.plan)),
          ...(training.split === true ? accumulationPrograms(training.module, training.plan) : []),
        ]),
  ];
  return new ReferenceSession(module, programs, options);
}

interface StoredValue {
  readonly spec: StoreSpec;
  readonly type: TensorType;
  data: Float32Array | Int32Array;
}

class ReferenceSession implements HostSession {
  readonly device = "reference";
  readonly programs: readonly string[];
  readonly stores: readonly StoreSpec[];
  readonly #programs: ReadonlyMap<string, Program>;
  readonly #stores = new Map<string, StoredValue>();
  readonly #caches: SessionCaches;
  readonly #rounded: RunOptions;
  /** The end of the last call: calls run one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(module: Module, programs: readonly Program[], options: ReferenceOptions) {
    const { cacheRows = 1024, precision = "f32", caches } = options;
    this.#programs = new Map(programs.map((program) => [program.name, { ...program, ops: liveOf(program) }]));
    this.programs = [...this.#programs.keys()];
    for (const { path, store, type } of storesOf(module.root)) {
      if (store.kind !== "cache") this.#enter(path, store.kind, type, module);
    }
    for (const program of programs) {
      for (const { name, attrs, results } of program.ops) {
        const kind = name === "model.param" ? "param" : name === "model.state" ? "state" : undefined;
        if (kind !== undefined) this.#enter(stringAttr(attrs, "name"), kind, results[0]!.type, program);
      }
    }
    this.stores = [...this.#stores.values()].map(({ spec }) => spec);
    this.#caches = new SessionCaches(programs, cacheRows);
    this.#rounded = { precision, ...(caches === undefined ? {} : { caches }) };
  }

  get cacheRowBytes(): number {
    return this.#caches.rowBytes;
  }

  get cacheRows(): number {
    return this.#caches.rows;
  }

  run(call: Call, signal?: AbortSignal): Promise<Readonly<Record<string, Elements>>> {
    const result = this.#last.then(async () => {
      // The interpreter keeps the thread: what waits for it gets its turn between calls.
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
      return this.#run(call);
    });
    this.#last = result.catch(() => undefined);
    return result;
  }

  read(store: string): Elements {
    return this.#stored(store).data.slice();
  }

  write(store: string, elements: Elements): void {
    const stored = this.#stored(store);
    if (elements.length !== stored.data.length)
      throw new Error(`${store} has ${stored.data.length} elements, not ${elements.length}`);
    stored.data.set(elements);
  }

  memory(): MemoryUse {
    const storeBytes = [...this.#stores.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
    const cacheBytes = this.#caches.rowBytes * this.#caches.rows;
    return { arenaBytes: 0, arenaHighWater: 0, storeBytes, cacheBytes };
  }

  close(): void {
    this.#stores.clear();
  }

  #enter(name: string, kind: "param" | "state", type: TensorType, { dims }: Pick<Program, "dims">): void {
    if (this.#stores.has(name)) return;
    const shape = type.dims.map((label) => dims.get(label)!);
    const data = isFloat(type.dtype) ? new Float32Array(product(shape)) : new Int32Array(product(shape));
    const dtype = isFloat(type.dtype) ? "f32" : type.dtype;
    this.#stores.set(name, { spec: { name, kind, dtype, shape }, type, data });
  }

  #stored(name: string): StoredValue {
    const stored = this.#stores.get(name);
    if (stored === undefined) throw new Error(`there is no param or state ${name}`);
    return stored;
  }

  #run({ program: name, sizes, inputs, outputs }: Call): Record<string, Elements> {
    const program = this.#programs.get(name);
    if (program === undefined) throw new Error(`there is no program ${name}`);
    const values = new Map<string, Given>();
    for (const [store, { type, data }] of this.#stores) values.set(store, { data, dims: type.dims });
    for (const [input, data] of Object.entries(inputs)) values.set(input, { data });
    const scalars = { seed: inputs["seed"]?.[0] ?? 0, step: inputs["step"]?.[0] ?? 0 };
    const plan = inputs["cache.row"] === undefined ? undefined : planRows(inputs, sizes);
    for (const [key, data] of Object.entries(plan?.keys ?? {})) values.set(key, { data });
    const caches = this.#caches.gather(plan?.kept ?? []);
    const result = runProgram(program, { sizes, values, caches, ...scalars }, this.#rounded);
    if (plan !== undefined) this.#caches.scatter(result.caches, plan.written);
    this.#update(result.updates, program);
    return wanted(collected(result), outputs);
  }

  #update(updates: ReadonlyMap<string, Tensor>, { dims }: Program): void {
    const sizes = new Map([...dims].flatMap(([label, size]) => (size === null ? [] : [[label, size] as const])));
    for (const [name, tensor] of updates) {
      const stored = this.#stored(name);
      const ordered = { ...tensor, dims: stored.type.dims, data: new Float64Array(tensor.data.length) };
      readInto(ordered, tensor, sizes);
      stored.data.set(ordered.data);
    }
  }
}

/** What some effect depends on: a program has losses in it that nobody asked for. */
function liveOf({ ops }: Program): Op[] {
  const live = liveOps(ops, [], ({ name }) => opDefinition(name).effect);
  return ops.filter((op) => live.has(op));
}

/** All that a run gives, by the names of a session. */
function collected({ outputs, metrics, losses }: Outputs): Map<string, Elements> {
  const all = new Map<string, Elements>();
  for (const [name, tensor] of outputs) all.set(name, stored(tensor));
  for (const [path, emitted] of metrics) all.set(`metric.${path}`, stored(emitted.at(-1)!));
  for (const [name, terms] of losses) {
    const sum = (of: "numerator" | "denominator"): number => terms.reduce((total, term) => total + term[of], 0);
    const mean = sum("numerator") / Math.max(sum("denominator"), 1e-9);
    if (!all.has(`loss.${name}`)) all.set(`loss.${name}`, Float32Array.of(mean));
  }
  return all;
}

function stored({ dtype, data }: Tensor): Elements {
  if (isFloat(dtype)) return Float32Array.from(data);
  return data as Elements;
}

function wanted(all: ReadonlyMap<string, Elements>, names: readonly string[] | undefined): Record<string, Elements> {
  if (names === undefined) return Object.fromEntries(all);
  return Object.fromEntries(
    names.map((name) => {
      const elements = all.get(name);
      if (elements === undefined) throw new Error(`there is no output ${name}`);
      return [name, elements];
    }),
  );
}
