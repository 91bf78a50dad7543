import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { exportConfig } from "../../../compiler/export/export.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import { changed, type Keys, readJson, specOf } from "../import/support.ts";

const published = readdirSync("tests/fixtures/configs").filter((f) => /^(?!DeepSeek-V4|Kimi-K3).*\.json$/.test(f));
const small = readdirSync("tests/fixtures/models").filter((f) => /^[a-dm]\d_/.test(f));
const files = [
  ...published.map((f) => `tests/fixtures/configs/${f}`),
  ...small.map((f) => `tests/fixtures/models/${f}/config.json`),
];

function checked(text: string) {
  const diagnostics = new Diagnostics();
  const models = [...checkFile({ path: "m.dsk", text }, diagnostics).models.values()];
  expect(diagnostics.all.map((d) => d.message)).toEqual([]);
  return models;
}

/** Imports, exports and imports again. */
function expectSame(json: unknown): void {
  const text = specOf(json as Keys, "Name");
  const [model] = checked(text);
  const config = exportConfig(model!);
  expect(config).toBeDefined();
  const again = specOf(config!, "Name");
  expect(again.replace(/^\/\/\/.*$/gm, "")).toBe(text.replace(/^\/\/\/.*$/gm, ""));
}

describe("the config.json of an imported model imports as the same model", () => {
  test.each(files)("%s", (file) => expectSame(JSON.parse(readFileSync(file, "utf8"))));

  const yarn = { type: "yarn", factor: 40, original_max_position_embeddings: 64 };
  const slides = { use_sliding_window: true, sliding_window: 8 };
  test.each<[string, Keys]>([
    ["a1_v3_plain", { first_k_dense_replace: 3 }],
    ["a1_v3_plain", { first_k_dense_replace: 0, moe_layer_freq: 2, num_hidden_layers: 5 }],
    ["a1_v3_plain", { first_k_dense_replace: 1, moe_layer_freq: 2, num_hidden_layers: 4 }],
    ["a1_v3_plain", { first_k_dense_replace: 3, num_nextn_predict_layers: 1 }],
    ["a1_v3_plain", { moe_layer_freq: 2, num_nextn_predict_layers: 1 }],
    ["b2_v2_group_limited", { n_routed_experts: null }],
    ["c1_moe16b", { first_k_dense_replace: 9, num_experts_per_tok: 1 }],
    ["d3_llama_mha", { rope_scaling: { ...yarn, attention_factor: 1.5 } }],
    ["d3_llama_mha", { rope_scaling: { ...yarn, attention_factor: 0.9 } }],
    ["d3_llama_mha", { rope_scaling: { ...yarn, mscale: 0.7, mscale_all_dim: 0.4 } }],
    ["d4_qwen2_gqa", { ...slides, max_window_layers: 1, tie_word_embeddings: true }],
    ["d6_qwen3_moe", slides],
    ["d6_qwen3_moe", { num_experts: 0 }],
    ["d6_qwen3_moe", { decoder_sparse_step: 2, num_hidden_layers: 5 }],
  ])("%s with %j", (name, changes) => expectSame(changed(name, changes)));

  test("GLM rotates a half of a head, or all", () => {
    const glm = readJson("configs", "GLM-4.5-Air.json");
    expectSame({ ...glm, partial_rotary_factor: 1 });
    expectSame({ ...glm, partial_rotary_factor: 0.25, use_qk_norm: true });
    expectSame({ ...glm, first_k_dense_replace: 46, num_nextn_predict_layers: 0 });
  });
});

describe("specs that people wrote", () => {
  test.each(["deepseek-v3", "deepseek-v2", "mixtral-8x7b", "qwen3-30b-a3b", "glm-4.5-air", "olmoe-1b-7b", "moonlight"])(
    "%s has a config.json",
    (name) => {
      const [model] = checked(readFileSync(`specs/${name}.dsk`, "utf8"));
      expect(exportConfig(model!)).toBeDefined();
    },
  );

  test("a model with a block of its own has none", () => {
    const text = readFileSync("specs/blocks/differential-attention.dsk", "utf8");
    for (const model of checked(text)) expect(exportConfig(model)).toBeUndefined();
  });
});
