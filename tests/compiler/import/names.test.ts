import { expect, test } from "vitest";
import { weightsOf } from "../../../compiler/model-ir/places.ts";
import { resolveNames } from "../../../runtime/io/names/resolve.ts";
import { readTable } from "../../../runtime/io/names/table.ts";
import { changed, type Keys, layersOf, moduleOf, readJson, specOf } from "./support.ts";

const bias = { attention_bias: true };
const glm = readJson("configs", "GLM-4.5-Air.json");
const sparse = readJson("models", "m2_v32_sparse", "config.json");

/** Every block that the importer can write, beside those of the fixtures that are loaded with their weights. */
test.each<[string, Keys]>([
  ["Mla with biases", changed("a1_v3_plain", bias)],
  ["DirectMla with biases", changed("a3_v3_halfrope_ungrouped", bias)],
  ["SparseMla with biases", { ...sparse, ...bias }],
  ["Mqa", changed("d3_llama_mha", { num_key_value_heads: 1 })],
  ["Mha with biases", changed("d3_llama_mha", bias)],
  ["Qwen3 with biases", changed("d7_qwen3", bias)],
  ["GLM with norms and without biases", { ...glm, use_qk_norm: true, attention_bias: false }],
  ["GLM without norms", { ...glm, use_qk_norm: false }],
  ["SwiGlu with biases", changed("d3_llama_mha", { mlp_bias: true })],
  ["GeGlu", changed("d3_llama_mha", { hidden_act: "gelu" })],
  ["GeGlu of Qwen2", changed("d4_qwen2_gqa", { hidden_act: "gelu" })],
  ["GeGlu of DeepSeek", changed("a1_v3_plain", { hidden_act: "gelu", n_routed_experts: null })],
  ["GeGlu of Qwen3-MoE", changed("d6_qwen3_moe", { hidden_act: "gelu", num_experts: 0 })],
  ["no shared experts", changed("a1_v3_plain", { n_shared_experts: 0 })],
  ["no shared experts of V2", changed("b2_v2_group_limited", { n_shared_experts: null })],
  ["look-ahead with experts", changed("a1_v3_plain", { num_nextn_predict_layers: 2 })],
  ["look-ahead without", changed("a1_v3_plain", { first_k_dense_replace: 9, num_nextn_predict_layers: 1 })],
])("checkpoints have a name for every param: %s", (_, config) => {
  const text = specOf(config);
  const module = moduleOf(text);
  const { stored, unnamed } = resolveNames(readTable("dsl/std/hf", module.checkpoint!), weightsOf(module));
  expect(unnamed).toEqual([]);
  const names = stored.map(({ name }) => name);
  // A dense network's gate is no router.
  const isDense = /ffn: \w*Glu\[/.test(layersOf(text)[0]!);
  expect([
    names.includes("model.layers.0.mlp.gate_proj.weight"),
    names.includes("model.layers.0.mlp.gate.weight"),
  ]).toEqual([isDense, !isDense]);
  expect(new Set(names).size).toBe(names.length);
});
