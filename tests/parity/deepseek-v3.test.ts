/** Scoring, gradients, multi-token prediction and AdamW steps against the reference implementations of the fixtures. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { checkFile } from "../../dsl/semantics/check.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { ProgramHost } from "../../compiler/elaborate/host.ts";
import { Inliner } from "../../compiler/elaborate/inline.ts";
import { runForward } from "../../compiler/elaborate/forward.ts";
import { runAhead } from "../../compiler/elaborate/look-ahead.ts";
import { type Weight, weightsOf } from "../../compiler/model-ir/places.ts";
import type { Given, Outputs } from "../../compiler/reference/border.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import { packRows } from "../../compiler/reference/score-rows.ts";
import type { Tensor } from "../../compiler/reference/tensor.ts";
import { loadParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { generateGreedily } from "../support/greedy.ts";
import { stepGradients } from "../support/step-gradients.ts";
import { TRAINED, trainedStep } from "../support/training-steps.ts";
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
function load(file: string, weights: readonly Weight[]): Map<string, Float32Array> {
  return loadParams(new Checkpoint(join(fixtures, "models", file)), table, weights, { optional: () => true });
}

function initial(stores: readonly Weight[]): Map<string, Given> {
  const files = ["a1_v3_plain/model.safetensors"];
  if (stores.some(({ place }) => place.ahead)) files.push("e1_v3_mtp/mtp.safetensors");
  const values = new Map(files.flatMap((file) => [...load(file, stores)]).map(([at, data]) => [at, { data }]));
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
  const stores = weightsOf(module).filter(({ place }) => !place.ahead);
  const program = scoreProgram(module, { hidden: true, gradients: true });
  const values = new Map([...initial(stores), ...packed(ids)]);
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
    const gradients = load("a1_v3_plain/grads.safetensors", params);
    expect(gradients.size).toBe(params.length);
    for (const [at, want] of gradients) {
      expect(difference(result.outputs.get(`grad.${at}`), want)).toBeLessThan(1e-6);
    }
  });
});

test("a1: greedy generation with caches", () => {
  const { module } = checked;
  const io = fixtureTensors("a1_v3_plain", "io.safetensors");
  const stores = weightsOf(module).filter(({ place }) => !place.ahead);
  const { caches } = generateGreedily(module, initial(stores), io("greedy.prompt").data, 16);
  for (const layer of [0, 1, 2]) {
    expect(
      difference(caches.get(`trunk.${layer}.mixer.latent`), io(`greedy.mla_kv_cache.layer${layer}`).data),
    ).toBeLessThan(2e-5);
    expect(
      difference(caches.get(`trunk.${layer}.mixer.key_pe`), io(`greedy.mla_pe_cache.layer${layer}`).data),
    ).toBeLessThan(2e-5);
  }
});

describe("e1: multi-token prediction", () => {
  const { module } = checked.training();
  const io = fixtureTensors("e1_v3_mtp", "io.safetensors");
  const ids = io("input_ids");
  const [rows, length] = ids.shape as [number, number];
  const stores = weightsOf(module);
  const params = stores.filter(({ store }) => store.kind === "param");
  const values = new Map([...initial(stores), ...packed(ids)]);

  test("logits of the look-ahead module", () => {
    const host = new ProgramHost(module, { caches: "whole", metrics: false, losses: false });
    const inliner = new Inliner(module, host);
    runForward(module, host, inliner);
    runAhead(module, host, inliner);
    const entropy = host.builder.finish("ahead").ops.findLast(({ name }) => name === "nn.logsumexp");
    host.builder.effect("program.output", [entropy!.operands[0]!], { name: "logits" });
    const { outputs } = runProgram(
      host.builder.finish("ahead"),
      { sizes: runtimeSizes(ids), values },
      { precision: "f64" },
    );
    const logits = outputs.get("logits")!;
    const width = logits.shape[1]!;
    // The last token of a row has none ahead.
    const live = Array.from({ length: rows }, (_, row) =>
      Array.from(logits.data.slice(row * length * width, (row * length + length - 1) * width)),
    ).flat();
    expect(difference({ data: live }, io("mtp.logits").data)).toBeLessThan(7e-5);
    const best = Array.from({ length: live.length / width }, (_, t) => {
      const row = live.slice(t * width, (t + 1) * width);
      return row.indexOf(Math.max(...row));
    });
    expect(best).toEqual(io("mtp.draft_argmax").data);
  });

  test("losses and gradients", () => {
    const objective = [
      { loss: "next_token", weight: 1 },
      { loss: "mtp", weight: 0.3 },
    ];
    const { outputs, gradients } = stepGradients(checked, objective, runtimeSizes(ids), values);
    expect(difference(outputs.get("loss.next_token"), io("loss.main").data)).toBeLessThan(2e-5);
    expect(difference(outputs.get("loss.mtp"), io("loss.mtp").data)).toBeLessThan(2e-5);
    expect(difference(outputs.get("loss"), io("loss.total").data)).toBeLessThan(2e-5);
    const wanted = load("e1_v3_mtp/grads.safetensors", params);
    expect(wanted.size).toBe(params.length);
    for (const [at, want] of wanted) expect(difference({ data: gradients.get(at)! }, want)).toBeLessThan(2e-6);
  });
});

interface Step {
  readonly loss_fp64: number;
  readonly total_fp64: number;
  readonly grad_norm_fp64: number;
  readonly loss_mtp?: number;
}

describe.each([
  [...TRAINED[0], 1e-6],
  [...TRAINED[1], 4e-5],
] as const)("%s: steps of AdamW with bias updates", (name, losses, tolerance) => {
  const { module } = checked.training();
  const looksAhead = losses.length > 1;
  const program = trainedStep(checked, losses);
  const manifest = fixtureJson(name, "manifest.json") as { steps: readonly Step[]; hyper: { lrs: readonly number[] } };
  const train = fixtureTensors(name, "train.safetensors");
  const stores = weightsOf(module).filter(({ place }) => looksAhead || !place.ahead);
  const params = stores.filter(({ store }) => store.kind === "param");
  const values = initial(stores);
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
    const final = load(`${name}/params_final.safetensors`, params);
    expect(final.size).toBe(params.length);
    for (const [at, want] of final) expect(difference(values.get(at), want)).toBeLessThan(tolerance);
  });
});
