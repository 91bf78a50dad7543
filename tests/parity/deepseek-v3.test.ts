/** Scoring, gradients, multi-token prediction and AdamW steps against the reference implementations of the fixtures. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { checkFile } from "../../dsl/semantics/check.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { serveProgram } from "../../compiler/elaborate/serve.ts";
import { trainStepProgram } from "../../compiler/elaborate/train-step.ts";
import { type PlacedStore, storesOf } from "../../compiler/model-ir/places.ts";
import type { Given, Outputs } from "../../compiler/reference/border.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import type { Tensor } from "../../compiler/reference/tensor.ts";
import type { DimTable } from "../../compiler/tensor-ir/types.ts";
import { type Checkpoint, fromCheckpoint, packed } from "../support/deepseek-fixture.ts";
import { fixtureJson, type FixtureTensor, fixtureTensors } from "../support/fixture.ts";

const path = fileURLToPath(new URL("../fixtures/deepseek-v3-tiny.dsk", import.meta.url));
const diagnostics = new Diagnostics();
const checked = checkFile({ path, text: readFileSync(path, "utf8") }, diagnostics).models.get("TinyV3")!;
const main = fixtureTensors("a1_v3_plain", "model.safetensors");
const lookAhead = fixtureTensors("e1_v3_mtp", "mtp.safetensors");
const weights: Checkpoint = (name) => (name.startsWith("model.layers.3.") ? lookAhead : main)(name);

const runtimeSizes = ({ shape }: FixtureTensor): Record<string, number> => {
  const [sequences, length] = shape as [number, number];
  return { T: sequences * length, S: sequences * length, B: sequences };
};

/** The largest difference between a tensor and what a checkpoint says of a param. */
function difference(got: Given, placed: PlacedStore, dims: DimTable, checkpoint: Checkpoint): number {
  const want = fromCheckpoint(placed, dims, checkpoint);
  const order = want.dims!;
  const from = got.dims ?? placed.type.dims;
  const strides = new Map<string, number>();
  from.toReversed().reduce((stride, label) => {
    strides.set(label, stride);
    return stride * dims.get(label)!;
  }, 1);
  let offsets = [0];
  for (const label of order)
    offsets = offsets.flatMap((at) => Array.from({ length: dims.get(label)! }, (_, i) => at + i * strides.get(label)!));
  expect(want.data.length).toBe(offsets.length);
  return Math.max(...offsets.map((at, i) => Math.abs(got.data[at]! - want.data[i]!)));
}

function largest(got: Tensor | undefined, want: FixtureTensor): number {
  expect(got!.data.length).toBe(want.data.length);
  return Math.max(...want.data.map((value, i) => Math.abs(got!.data[i]! - value)));
}

function initial(stores: readonly PlacedStore[], dims: DimTable): Map<string, Given> {
  return new Map(stores.map((placed) => [placed.path, fromCheckpoint(placed, dims, weights)]));
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
  const values = new Map([...initial(stores, module.dims), ...packed(ids)]);
  const result = runProgram(program, { sizes: runtimeSizes(ids), values }, { precision: "f64" });

  test("logits and the residual stream", () => {
    expect(largest(result.outputs.get("logits"), io("logits"))).toBeLessThan(1e-5);
    for (const layer of [0, 1, 2]) {
      const hidden = result.outputs.get(`hidden.${layer + 1}`);
      expect(largest(hidden, io(`hidden.layer${layer}`))).toBeLessThan(1e-5);
    }
  });

  test("gradients of every parameter", () => {
    const gradients = fixtureTensors("a1_v3_plain", "grads.safetensors");
    for (const placed of stores.filter(({ store }) => store.kind === "param")) {
      const got = result.outputs.get(`grad.${placed.path}`)!;
      expect(difference(got, placed, module.dims, gradients)).toBeLessThan(1e-6);
    }
  });
});

test("a1: greedy generation with caches", () => {
  const { module } = checked;
  const io = fixtureTensors("a1_v3_plain", "io.safetensors");
  const stores = storesOf(module.root).filter(({ store, place }) => store.kind !== "cache" && !place.ahead);
  const placed = initial(stores, module.dims);
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
    ]);
    const sizes = { T: tokens.length, S: all.length, B: 1 };
    const result = runProgram(kept === 0 ? prefill : decode, { sizes, values, caches }, { precision: "f64" });
    const last = Array.from(result.outputs.get("logits")!.data.slice(-160));
    const want = wanted.slice(generated.length * 160, (generated.length + 1) * 160);
    expect(Math.max(...last.map((value, i) => Math.abs(value - want[i]!)))).toBeLessThan(6e-5);
    kept = all.length;
    tokens = [last.indexOf(Math.max(...last))];
    generated.push(...tokens);
    ({ caches } = result);
  }
  expect(generated).toEqual(io("greedy.tokens").data);
  for (const layer of [0, 1, 2]) {
    expect(largest(caches.get(`trunk.${layer}.mixer.latent`), io(`greedy.mla_kv_cache.layer${layer}`))).toBeLessThan(
      2e-5,
    );
    expect(largest(caches.get(`trunk.${layer}.mixer.key_pe`), io(`greedy.mla_pe_cache.layer${layer}`))).toBeLessThan(
      2e-5,
    );
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
  const values = initial(stores, module.dims);
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
        expect(largest(bias, train(`step${index}.bias.layer${layer}`))).toBeLessThan(1e-7);
      }
    }
    const final = fixtureTensors(name, "params_final.safetensors");
    for (const placed of params)
      expect(difference(values.get(placed.path)!, placed, module.dims, final)).toBeLessThan(tolerance);
  });
});
