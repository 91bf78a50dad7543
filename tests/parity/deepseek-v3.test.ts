/** Scoring, gradients, multi-token prediction and AdamW steps against the reference implementations of the fixtures. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { checkFile } from "../../dsl/semantics/check.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { serveProgram } from "../../compiler/elaborate/serve.ts";
import { trainStepProgram } from "../../compiler/elaborate/train-step.ts";
import { type PlacedStore, storesOf } from "../../compiler/model-ir/places.ts";
import type { Given, Outputs } from "../../compiler/reference/border.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import { packRows } from "../../compiler/reference/score-rows.ts";
import type { Tensor } from "../../compiler/reference/tensor.ts";
import type { Module } from "../../compiler/model-ir/types.ts";
import { loadParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { fixtureJson, type FixtureTensor, fixtureTensors } from "../support/fixture.ts";

const fixtures = resolve(import.meta.dirname, "../fixtures");
const path = join(fixtures, "deepseek-v3-tiny.dsk");
const diagnostics = new Diagnostics();
const checked = checkFile({ path, text: readFileSync(path, "utf8") }, diagnostics).models.get("TinyV3")!;
const table = readTable(resolve(import.meta.dirname, "../../dsl/std/hf"), "deepseek");

const runtimeSizes = ({ shape }: FixtureTensor): Record<string, number> => {
  const [sequences, length] = shape as [number, number];
  return { T: sequences * length, S: sequences * length, B: sequences };
};

/** What a checkpoint has of some stores. */
function load(file: string, module: Module, stores: readonly PlacedStore[]): Map<string, Float32Array> {
  const params = stores.map(({ path: at, type, place }) => ({
    path: at,
    shape: type.dims.map((label) => module.dims.get(label)!),
    blocks: place.block.names,
  }));
  return loadParams(new Checkpoint(join(fixtures, "models", file)), table, params, { optional: () => true });
}

function initial(module: Module, stores: readonly PlacedStore[]): Map<string, Given> {
  const files = ["a1_v3_plain/model.safetensors"];
  if (stores.some(({ place }) => place.ahead)) files.push("e1_v3_mtp/mtp.safetensors");
  const values = new Map(files.flatMap((file) => [...load(file, module, stores)]).map(([at, data]) => [at, { data }]));
  expect(new Set(values.keys())).toEqual(new Set(stores.map(({ path: at }) => at)));
  return values;
}

function difference(got: Given | undefined, want: ArrayLike<number> | undefined): number {
  expect(got!.data.length).toBe(want!.length);
  return Math.max(...Array.from(want!, (value, i) => Math.abs(got!.data[i]! - value)));
}

/** Whole sequences, one after the other; `target.2` and `ahead.1` are for the look-ahead module. */
function packed({ data, shape }: FixtureTensor): Map<string, Given> {
  const [sequences, length] = shape as [number, number];
  const rows = Array.from({ length: sequences }, (_, i) => data.slice(i * length, (i + 1) * length));
  const ahead = (by: number): Given => ({ data: rows.flatMap((row) => row.map((_, i) => row[i + by] ?? -1)) });
  return new Map([...packRows(rows), ["target.2", ahead(2)], ["ahead.1", ahead(1)]]);
}

test("the spec is sound", () => {
  expect(diagnostics.all).toEqual([]);
});

describe("a1: logits, hidden states, loss and gradients", () => {
  const { module } = checked;
  const io = fixtureTensors("a1_v3_plain", "io.safetensors");
  const ids = io("input_ids");
  const stores = storesOf(module.root).filter(({ store, place }) => store.kind !== "cache" && !place.ahead);
  const program = scoreProgram(module, { hidden: true, gradients: true });
  const values = new Map([...initial(module, stores), ...packed(ids)]);
  const result = runProgram(program, { sizes: runtimeSizes(ids), values }, { precision: "f64" });

  test("logits and the residual stream", () => {
    expect(difference(result.outputs.get("logits"), io("logits").data)).toBeLessThan(1e-5);
    for (const layer of [0, 1, 2]) {
      const hidden = result.outputs.get(`hidden.${layer + 1}`);
      expect(difference(hidden, io(`hidden.layer${layer}`).data)).toBeLessThan(1e-5);
    }
  });

  test("gradients of every parameter", () => {
    const params = stores.filter(({ store }) => store.kind === "param");
    const gradients = load("a1_v3_plain/grads.safetensors", module, params);
    expect(gradients.size).toBe(params.length);
    for (const [at, want] of gradients) {
      expect(difference(result.outputs.get(`grad.${at}`), want)).toBeLessThan(1e-6);
    }
  });
});

test("a1: greedy generation with caches", () => {
  const { module } = checked;
  const io = fixtureTensors("a1_v3_plain", "io.safetensors");
  const stores = storesOf(module.root).filter(({ store, place }) => store.kind !== "cache" && !place.ahead);
  const placed = initial(module, stores);
  const [prefill, decode] = [serveProgram(module, "prefill"), serveProgram(module, "decode")];
  const wanted = io("greedy.logits").data;
  let caches: ReadonlyMap<string, Tensor> = new Map();
  let tokens = [...io("greedy.prompt").data];
  let kept = 0;
  const generated: number[] = [];
  while (generated.length < 16) {
    const all = Array.from({ length: kept + tokens.length }, (_, i) => i);
    const values = new Map<string, Given>([
      ...placed,
      ["tokens", { data: tokens }],
      ["pos", { data: all.slice(kept) }],
      ["seq", { data: tokens.map(() => 0) }],
      ["key.pos", { data: all }],
      ["key.seq", { data: all.map(() => 0) }],
      ["rows", { data: [tokens.length - 1] }],
    ]);
    const sizes = { T: tokens.length, S: all.length, B: 1 };
    const result = runProgram(kept === 0 ? prefill : decode, { sizes, values, caches }, { precision: "f64" });
    const last = Array.from(result.outputs.get("logits")!.data);
    const want = wanted.slice(generated.length * 160, (generated.length + 1) * 160);
    expect(Math.max(...last.map((value, i) => Math.abs(value - want[i]!)))).toBeLessThan(6e-5);
    kept = all.length;
    tokens = [last.indexOf(Math.max(...last))];
    generated.push(...tokens);
    ({ caches } = result);
  }
  expect(generated).toEqual(io("greedy.tokens").data);
  for (const layer of [0, 1, 2]) {
    expect(
      difference(caches.get(`trunk.${layer}.mixer.latent`), io(`greedy.mla_kv_cache.layer${layer}`).data),
    ).toBeLessThan(2e-5);
    expect(
      difference(caches.get(`trunk.${layer}.mixer.key_pe`), io(`greedy.mla_pe_cache.layer${layer}`).data),
    ).toBeLessThan(2e-5);
  }
});

interface Step {
  readonly loss_fp64: number;
  readonly total_fp64: number;
  readonly grad_norm_fp64: number;
  readonly loss_mtp?: number;
}

describe.each([
  ["f1_v3_adamw5", [["next_token", 1]], 1e-6],
  [
    "f2_v3_full_objective3",
    [
      ["next_token", 1],
      ["mtp", 0.3],
      ["sequence_balance", 1e-4],
    ],
    4e-5,
  ],
] as const)("%s: steps of AdamW with bias updates", (name, losses, tolerance) => {
  const { module, optimizer } = checked.training();
  const looksAhead = losses.length > 1;
  const program = trainStepProgram(module, {
    objective: losses.map(([loss, weight]) => ({ loss, weight })),
    clip: 1,
    optimizer: (type, decayed) =>
      optimizer(
        "AdamW",
        new Map([
          ["beta2", 0.95],
          ["decay", decayed ? 0.1 : 0],
        ]),
        type,
      )!,
  });
  const manifest = fixtureJson(name, "manifest.json") as { steps: readonly Step[]; hyper: { lrs: readonly number[] } };
  const train = fixtureTensors(name, "train.safetensors");
  const stores = storesOf(module.root).filter(
    ({ store, place }) => store.kind !== "cache" && (looksAhead || !place.ahead),
  );
  const params = stores.filter(({ store }) => store.kind === "param");
  const values = initial(module, stores);
  for (const { path: at, type } of params) {
    const size = type.dims.reduce((product, label) => product * module.dims.get(label)!, 1);
    for (const moment of ["m", "v"]) values.set(`optimizer.${at}.${moment}`, { data: new Float64Array(size) });
  }

  function run(step: number): Outputs {
    const ids = train(`step${step}.input_ids`);
    for (const [input, given] of packed(ids)) values.set(input, given);
    values.set("lr", { data: [manifest.hyper.lrs[step]!] });
    values.set("step", { data: [step + 1] });
    values.set("train.balance_rate", { data: [0.001] });
    const result = runProgram(program, { sizes: runtimeSizes(ids), values, step }, { precision: "f64" });
    for (const [updated, tensor] of result.updates) values.set(updated, tensor);
    return result;
  }

  test("losses and gradient norms of each step, biases and parameters after it", () => {
    for (const [index, step] of manifest.steps.entries()) {
      const { outputs } = run(index);
      const output = (key: string): number => outputs.get(key)!.data[0]!;
      expect(output("loss.next_token")).toBeCloseTo(step.loss_fp64, 10);
      expect(output("loss")).toBeCloseTo(step.total_fp64, 10);
      expect(output("grad_norm")).toBeCloseTo(step.grad_norm_fp64, 10);
      expect(looksAhead ? output("loss.mtp") : 0).toBeCloseTo(step.loss_mtp ?? 0, 5);
      for (const layer of [1, 2]) {
        const bias = values.get(`trunk.${layer}.ffn.bias`) as Tensor;
        expect(difference(bias, train(`step${index}.bias.layer${layer}`).data)).toBeLessThan(1e-7);
      }
    }
    const final = load(`${name}/params_final.safetensors`, module, params);
    expect(final.size).toBe(params.length);
    for (const [at, want] of final) expect(difference(values.get(at), want)).toBeLessThan(tolerance);
  });
});
