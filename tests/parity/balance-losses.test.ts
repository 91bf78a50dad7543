/** DeepSeek's models with the balance loss switched on: its value and what it adds to the gradients. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { trainStepProgram } from "../../compiler/elaborate/train-step.ts";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import type { Given } from "../../compiler/reference/border.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import { packRows } from "../../compiler/reference/score-rows.ts";
import { loadParams, storeParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { specOf } from "../compiler/import/support.ts";
import { checkedModel } from "../support/probe.ts";

interface Manifest {
  readonly aux: { readonly alpha: number };
  readonly files: Readonly<
    Record<string, { readonly tensors: Readonly<Record<string, { readonly tolerance: Tolerance }>> }>
  >;
}

interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

const models = resolve(import.meta.dirname, "../fixtures/models");
const table = readTable(resolve(import.meta.dirname, "../../dsl/std/hf"), "deepseek");

// The loss of Mixtral and Qwen3-MoE is a product of means over all layers together, no sum over layers: dskc has another one.
describe.each(["b1_v2lite_greedy", "b2_v2_group_limited", "c1_moe16b"])("%s", (name) => {
  const read = (file: string): Checkpoint => new Checkpoint(join(models, name, file));
  const json = (file: string): unknown => JSON.parse(readFileSync(join(models, name, file), "utf8"));
  const manifest = json("manifest.json") as Manifest;
  const { alpha } = manifest.aux;
  const io = read("io.safetensors");
  const ids = io.tensor("input_ids");
  const [rows, length] = ids.shape as [number, number];
  const tokens = Array.from({ length: rows }, (_, r) => [...ids.read().subarray(r * length, (r + 1) * length)]);

  const { module, optimizer } = checkedModel(
    specOf(json("config.json") as Readonly<Record<string, unknown>>),
  ).training();
  const weights = weightsOf(module);
  const loaded = loadParams(read("model.safetensors"), table, weights);
  const values = new Map<string, Given>([...loaded].map(([path, data]) => [path, { data }]));
  for (const [input, given] of packRows(tokens)) values.set(input, given);
  for (const [path, { length: size }] of loaded)
    values.set(`optimizer.${path}.velocity`, { data: new Float64Array(size) });
  values.set("lr", { data: [1] }).set("step", { data: [1] });
  // Plain descent with a rate of 1: the gradient is what a param loses.
  const program = trainStepProgram(module, {
    objective: [
      { loss: "next_token", weight: 1 },
      { loss: "expert_balance", weight: alpha },
    ],
    optimizer: (type) => optimizer("Sgd", new Map([["momentum", 0]]), type)!,
  });
  const sizes = { T: rows * length, S: rows * length, B: rows };
  const { outputs, updates } = runProgram(program, { sizes, values }, { precision: "f64" });

  test("the loss of all layers", () => {
    const wanted = io.names
      .filter((tensor) => /^aux\.layer\d+\.loss$/.test(tensor))
      .map((tensor) => io.tensor(tensor).read()[0]!);
    expect(wanted.length).toBe(2);
    expect(alpha * outputs.get("loss.expert_balance")!.data[0]!).toBeCloseTo(wanted[0]! + wanted[1]!, 8);
  });

  test("gradients of routers, norms and the embedding", () => {
    const gradients = new Map(
      [...loaded].map(([path, before]) => {
        const after = updates.get(path)!.data;
        return [path, before.map((value, i) => value - after[i]!)];
      }),
    );
    const stored = new Map(
      storeParams(table, weights, gradients).map((tensor) => [tensor.name, new Float32Array(tensor.bytes().buffer)]),
    );
    const wanted = read("grads_aux.safetensors");
    expect(wanted.names.filter((tensor) => tensor.endsWith("mlp.gate.weight")).length).toBe(2);
    for (const tensor of wanted.names) {
      const { atol, rtol } = manifest.files["grads_aux.safetensors"]!.tensors[tensor]!.tolerance;
      for (const [i, want] of wanted.tensor(tensor).read().entries()) {
        const got = stored.get(tensor)![i]!;
        if (!(Math.abs(got - want) <= atol + rtol * Math.abs(want)))
          throw new Error(`${tensor}[${i}] is ${got}, not ${want}`);
      }
    }
  });
});
