/** Published architectures in miniature: config.json and weights in, logits, hidden states, loss, routing and gradients out. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { importConfig } from "../../compiler/import/import.ts";
import { storesOf } from "../../compiler/model-ir/places.ts";
import { scoreRows } from "../../compiler/reference/score-rows.ts";
import { checkFile } from "../../dsl/semantics/check.ts";
import { loadParams, storeParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";

const root = "tests/fixtures/models";
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
];

interface Manifest {
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
  const dir = join(root, name);
  const manifest = JSON.parse(readFileSync(join(dir, "manifest.json"), "utf8")) as Manifest;
  const io = new Checkpoint(join(dir, "io.safetensors"));
  const imported = importConfig(JSON.parse(readFileSync(join(dir, "config.json"), "utf8")), basename(dir));
  if (!("text" in imported)) throw new Error(imported.problems.join("\n"));
  const diagnostics = new Diagnostics();
  const [model] = checkFile({ path: `${name}.dsk`, text: imported.text }, diagnostics).models.values();
  const { module } = model!;
  const params = storesOf(module.root)
    .filter(({ store }) => store.kind !== "cache")
    .map(({ path, type, place }) => ({
      path,
      shape: type.dims.map((d) => module.dims.get(d)!),
      blocks: place.block.names,
    }));
  const table = readTable("dsl/std/hf", module.checkpoint!);
  const weights = loadParams(new Checkpoint(dir), table, params);
  const ids = io.tensor("input_ids");
  const [rows, length] = ids.shape as [number, number];
  const tokens = Array.from({ length: rows }, (_, r) => [...ids.read().subarray(r * length, (r + 1) * length)]);
  const scores = scoreRows(module, new Map([...weights].map(([path, data]) => [path, { data }])), tokens, {
    hidden: true,
    gradients: true,
    metrics: true,
  });

  /** Every element within the manifest's tolerance of its tensor. */
  function compare(got: ArrayLike<number>, file: string, tensor: string): void {
    const want = (file === "io.safetensors" ? io : new Checkpoint(join(dir, file))).tensor(tensor).read();
    const { atol, rtol } = manifest.files[file]!.tensors![tensor]!.tolerance!;
    expect(got.length).toBe(want.length);
    for (let i = 0; i < want.length; i++) {
      const difference = Math.abs(got[i]! - want[i]!);
      if (!(difference <= atol + rtol * Math.abs(want[i]!)))
        throw new Error(`${tensor}[${i}] is ${got[i]}, not ${want[i]}`);
    }
  }

  test("is imported without a remark", () => expect(diagnostics.all).toEqual([]));

  test("logits, loss and the residual stream", () => {
    compare(scores.tensors.get("logits")!.data, "io.safetensors", "logits");
    compare(scores.tensors.get("loss")!.data, "io.safetensors", "loss");
    const layers = io.names.filter((n) => /^hidden\.layer\d+$/.test(n)).length;
    for (let layer = 0; layer < layers; layer++)
      compare(scores.tensors.get(`hidden.${layer + 1}`)!.data, "io.safetensors", `hidden.layer${layer}`);
  });

  test("the experts of every token", () => {
    for (const tensor of io.names.filter((n) => n.endsWith(".topk_idx"))) {
      const layer = /layer(\d+)/.exec(tensor)![1]!;
      const [, slots] =
        io.tensor(tensor).shape.length === 2 ? io.tensor(tensor).shape : io.tensor(tensor).shape.slice(-2);
      const chosen = (data: ArrayLike<number>): number[][] =>
        Array.from({ length: data.length / slots! }, (_, t) =>
          Array.from({ length: slots! }, (_unused, k) => data[t * slots! + k]!).toSorted((a, b) => a - b),
        );
      expect(chosen(scores.metrics.get(`trunk.${layer}.ffn.chosen`)!.data)).toEqual(chosen(io.tensor(tensor).read()));
    }
  });

  test("the gradient of every parameter", () => {
    const gradients = new Map([...scores.gradients].map(([path, { data }]) => [path, data]));
    const stored = storeParams(
      table,
      params.filter(({ path }) => gradients.has(path)),
      gradients,
    );
    const wanted = new Checkpoint(join(dir, "grads.safetensors"));
    const byName = new Map(stored.map((t) => [t.name, new Float32Array(t.bytes().buffer)]));
    for (const tensor of wanted.names) compare(byName.get(tensor)!, "grads.safetensors", tensor);
    // Experts that no token visits have no entry: their gradient is zero.
    const idle = [...byName].filter(([tensor]) => !wanted.has(tensor));
    expect(idle.filter(([, data]) => data.some((g) => g !== 0)).map(([tensor]) => tensor)).toEqual([]);
  });
});
