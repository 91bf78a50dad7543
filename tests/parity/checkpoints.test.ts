/** Published architectures in miniature, through the command line: a folder of Hugging Face in, every number out. */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import { packRows } from "../../compiler/reference/score-rows.ts";
import { loadParams, storeParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { generateGreedily } from "../support/greedy.ts";
import { checkedModel } from "../support/probe.ts";
import { stepGradients } from "../support/step-gradients.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "dskc-"));

afterAll(() => rmSync(folder, { recursive: true }));

function dskc(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, ["bin/dskc.js", ...args], { cwd: root, encoding: "utf8" });
}

const names = [
  "a1_v3_plain",
  "a2_v3_yarn",
  "a3_v3_halfrope_ungrouped",
  "b1_v2lite_greedy",
  "b2_v2_group_limited",
  "b3_v2lite_yarn",
  "c1_moe16b",
  "d1_llama_gqa_llama3rope",
  "d2_llama_mqa",
  "d3_llama_mha",
  "d4_qwen2_gqa",
  "d5_mixtral",
  "d6_qwen3_moe",
  "d7_qwen3",
  "m1_v3_every_other_layer",
  "m2_v32_sparse",
  "m3_qwen2_windows",
  "m4_qwen3_moe_windows",
  "m5_glm4_moe",
  "m6_olmoe",
  "m7_llama_biases",
  "m8_mixtral_window",
];

interface Manifest {
  readonly aux?: { readonly alpha: number };
  readonly files: Readonly<
    Record<
      string,
      {
        readonly tensors?: Readonly<
          Record<string, { readonly tolerance?: { readonly atol: number; readonly rtol: number } }>
        >;
      }
    >
  >;
}

describe.each(names)("%s", (name) => {
  const dir = join(root, "tests/fixtures/models", name);
  const manifest = JSON.parse(readFileSync(join(dir, "manifest.json"), "utf8")) as Manifest;
  const io = new Checkpoint(join(dir, "io.safetensors"));
  const ids = io.tensor("input_ids");
  const [rows, length] = ids.shape as [number, number];
  const tokens = Array.from({ length: rows }, (_, r) => [...ids.read().subarray(r * length, (r + 1) * length)]);

  const spec = join(folder, `${name}.dsk`);
  const out = join(folder, `${name}.safetensors`);
  const imported = dskc("import", dir, "-o", spec);
  writeFileSync(join(folder, `${name}.json`), JSON.stringify({ tokens }));
  const given = ["--weights", dir, "--tokens", join(folder, `${name}.json`), "-o", out];
  const scored = dskc("score", spec, ...given, "--device", "reference", "--hidden", "--grad", "--routing");
  const got = new Checkpoint(out);

  /** Every element within the manifest's tolerance of its tensor. */
  function compare(data: ArrayLike<number>, file: string, tensor: string): void {
    const want = (file === "io.safetensors" ? io : new Checkpoint(join(dir, file))).tensor(tensor).read();
    const { atol, rtol } = manifest.files[file]!.tensors![tensor]!.tolerance!;
    expect(data.length).toBe(want.length);
    for (let i = 0; i < want.length; i++) {
      const difference = Math.abs(data[i]! - want[i]!);
      if (!(difference <= atol + rtol * Math.abs(want[i]!)))
        throw new Error(`${tensor}[${i}] is ${data[i]}, not ${want[i]}`);
    }
  }

  test("is imported and scored without a remark", () => {
    expect([imported.status, imported.stderr, scored.status, scored.stderr]).toEqual([0, "", 0, ""]);
    expect(dskc("fmt", "--check", spec).status).toBe(0);
  });

  test("logits, loss and the residual stream", () => {
    for (const tensor of ["logits", "loss"]) compare(got.tensor(tensor).read(), "io.safetensors", tensor);
    compare(got.tensor("hidden.0").read(), "io.safetensors", "hidden.embed");
    const layers = io.names.filter((n) => /^hidden\.layer\d+$/.test(n)).length;
    expect(layers).toBeGreaterThan(1);
    for (let layer = 0; layer < layers; layer++)
      compare(got.tensor(`hidden.${layer + 1}`).read(), "io.safetensors", `hidden.layer${layer}`);
    expect(got.has(`hidden.${layers + 1}`)).toBe(false);
  });

  test("the experts of every token", () => {
    for (const tensor of io.names.filter((n) => n.endsWith(".topk_idx"))) {
      const layer = /layer(\d+)/.exec(tensor)![1]!;
      const slots = io.tensor(tensor).shape.at(-1)!;
      const chosen = (data: ArrayLike<number>): number[][] =>
        Array.from({ length: data.length / slots }, (_, t) =>
          Array.from({ length: slots }, (_unused, k) => data[t * slots + k]!).toSorted((a, b) => a - b),
        );
      expect(chosen(got.tensor(`trunk.${layer}.ffn.chosen`).read())).toEqual(chosen(io.tensor(tensor).read()));
    }
  });

  test("the gradient of every parameter", () => {
    const wanted = new Checkpoint(join(dir, "grads.safetensors"));
    const weights = new Checkpoint(dir).names.filter((n) => !n.endsWith("e_score_correction_bias"));
    const gradients = got.names.filter((n) => n.startsWith("grad."));
    expect(gradients.toSorted()).toEqual(weights.map((n) => `grad.${n}`).toSorted());
    for (const tensor of wanted.names) compare(got.tensor(`grad.${tensor}`).read(), "grads.safetensors", tensor);
    // Experts that no token visits have no entry: their gradient is zero.
    const idle = weights.filter((tensor) => !wanted.has(tensor));
    for (const tensor of idle)
      expect(
        got
          .tensor(`grad.${tensor}`)
          .read()
          .every((g) => g === 0),
      ).toBe(true);
  });

  const model = checkedModel(readFileSync(spec, "utf8"));
  const table = readTable("dsl/std/hf", model.module.checkpoint!);
  const params = weightsOf(model.module);
  const values = loadParams(new Checkpoint(dir), table, params);
  const weights = new Map([...values].map(([path, data]) => [path, { data }]));

  test("greedy tokens, with caches", () => {
    const generated = generateGreedily(model.module, weights, [...io.tensor("greedy.prompt").read()], 16);
    expect(generated.tokens).toEqual([...io.tensor("greedy.tokens").read()]);
    compare(generated.logits.flat(), "io.safetensors", "greedy.logits");
  });

  // DeepSeek's code trains with a balance loss of each sequence beside the next token.
  test.each(manifest.aux === undefined ? [] : [manifest.aux])("gradients with the balance loss", ({ alpha }) => {
    const objective = [
      { loss: "next_token", weight: 1 },
      { loss: "expert_balance", weight: alpha },
    ];
    const sizes = { T: rows * length, S: rows * length, B: rows };
    const { gradients } = stepGradients(model, objective, sizes, new Map([...weights, ...packRows(tokens)]));
    const stored = new Map(storeParams(table, params, gradients).map((t) => [t.name, t]));
    const wanted = new Checkpoint(join(dir, "grads_aux.safetensors"));
    expect(wanted.names.filter((n) => n.endsWith("mlp.gate.weight")).length).toBeGreaterThan(0);
    for (const tensor of wanted.names)
      compare(new Float32Array(stored.get(tensor)!.bytes().buffer), "grads_aux.safetensors", tensor);
  });
});
