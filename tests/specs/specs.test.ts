import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { evaluateExpectations, factsOf } from "../../compiler/analysis/facts.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { renderDiagnostic } from "../../compiler/diagnostics/render.ts";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import { formatFile } from "../../dsl/format/format.ts";
import { checkFile, type CheckedFile } from "../../dsl/semantics/check.ts";
import { resolveNames } from "../../runtime/io/names/resolve.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { fixtureJson } from "../support/fixture.ts";

const root = resolve(import.meta.dirname, "../../specs");
const specs = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".dsk"))
  .toSorted();

function check(path: string, diagnostics = new Diagnostics()): CheckedFile {
  const file = join(root, path);
  return checkFile({ path: file, text: readFileSync(file, "utf8") }, diagnostics);
}

test("the table names every spec and nothing else", () => {
  const table = readFileSync(join(root, "README.md"), "utf8");
  const named = [...table.matchAll(/\]\(([^)]+\.dsk)\)/g)].map((m) => m[1]!);
  expect(named.toSorted()).toEqual(specs);
});

describe("checks without a remark, for serving and for training, and is what it expects", () => {
  test.each(specs)("%s", (path) => {
    const diagnostics = new Diagnostics();
    const { models } = check(path, diagnostics);
    const results = [...models.values()].flatMap(({ module, training }) => {
      expect(training().module.losses).toBeDefined();
      return evaluateExpectations(module, factsOf(module), diagnostics);
    });
    expect(diagnostics.all.map((d) => renderDiagnostic(d, { color: false }))).toEqual([]);
    expect(results.length, "a spec expects something").toBeGreaterThan(0);
    expect(results.filter(({ holds }) => !holds)).toEqual([]);
  });
});

test.each(specs)("%s is formatted", (path) => {
  const text = readFileSync(join(root, path), "utf8");
  expect(formatFile({ path, text }, new Diagnostics())).toBe(text);
});

describe("names in checkpoints", () => {
  const cases = specs.flatMap((path) => {
    const { models } = check(path);
    return [...models.values()].flatMap(({ module }) =>
      module.checkpoint === undefined ? [] : [[module.name, module.checkpoint, module] as const],
    );
  });

  test("published models have a table", () => {
    expect(cases.length).toBeGreaterThanOrEqual(20);
  });

  test.each(cases)("%s: every parameter has a place in %s", (_, name, module) => {
    const params = weightsOf(module);
    const { stored, unnamed } = resolveNames(readTable("dsl/std/hf", name), params);
    expect(unnamed.map(({ path }) => path)).toEqual([]);
    expect(new Set(stored.map((tensor) => tensor.name)).size).toBe(stored.length);
    const count = (shapes: readonly (readonly number[])[]): number =>
      shapes.reduce((total, shape) => total + shape.reduce((a, b) => a * b, 1), 0);
    expect(count(stored.map(({ shape }) => shape))).toBe(count(params.map(({ shape }) => shape)));
  });

  test("DeepSeek-V3's tensors have the shapes of the published ones", () => {
    const { module } = check("deepseek-v3.dsk").models.get("DeepSeekV3")!;
    const params = weightsOf(module);
    const { stored } = resolveNames(readTable("dsl/std/hf", "deepseek"), params);
    const shapes = new Map(stored.map(({ name, shape }) => [name, shape]));
    const wanted: Readonly<Record<string, readonly number[]>> = {
      "model.embed_tokens.weight": [129_280, 7_168],
      "lm_head.weight": [129_280, 7_168],
      "model.layers.0.self_attn.q_a_proj.weight": [1_536, 7_168],
      "model.layers.0.self_attn.q_b_proj.weight": [24_576, 1_536],
      "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": [576, 7_168],
      "model.layers.0.self_attn.kv_b_proj.weight": [32_768, 512],
      "model.layers.0.self_attn.o_proj.weight": [7_168, 16_384],
      "model.layers.2.mlp.gate_proj.weight": [18_432, 7_168],
      "model.layers.2.mlp.down_proj.weight": [7_168, 18_432],
      "model.layers.3.mlp.gate.weight": [256, 7_168],
      "model.layers.3.mlp.gate.e_score_correction_bias": [256],
      "model.layers.60.mlp.experts.255.up_proj.weight": [2_048, 7_168],
      "model.layers.60.mlp.shared_experts.down_proj.weight": [7_168, 2_048],
      "model.layers.61.eh_proj.weight": [7_168, 14_336],
      "model.layers.61.enorm.weight": [7_168],
      "model.layers.61.mlp.experts.0.down_proj.weight": [7_168, 2_048],
    };
    expect(Object.fromEntries(Object.keys(wanted).map((name) => [name, shapes.get(name)]))).toEqual(wanted);
  });
});

/** Counts of another implementation: `k3_param_counts`. */
interface Counts {
  readonly model: string;
  readonly total: number;
  readonly active_per_token_incl_embedding_and_head: number;
  readonly active_excl_embedding: number;
  readonly embedding: number;
  readonly lm_head: number;
  readonly kv_cache_elements_per_token: number;
  readonly mtp_unique?: number;
}

describe("parameters and cache as counted elsewhere", () => {
  const counts = fixtureJson("k3_param_counts", "param_counts.json") as Counts[];
  const FILES: readonly (readonly [start: string, file: string, model: string])[] = [
    ["DeepSeek-V3/R1", "deepseek-v3.dsk", "DeepSeekV3"],
    ["DeepSeek-V2 ", "deepseek-v2.dsk", "DeepSeekV2"],
    ["DeepSeek-V2-Lite", "deepseek-v2-lite.dsk", "DeepSeekV2Lite"],
    ["DeepSeekMoE-16B", "deepseek-moe-16b.dsk", "DeepSeekMoe16B"],
    ["Mixtral-8x7B", "mixtral-8x7b.dsk", "Mixtral8x7B"],
    ["Qwen3-30B-A3B", "qwen3-30b-a3b.dsk", "Qwen3Moe30B"],
    ["Llama-3.1-8B", "r1-distill.dsk", "Llama8B"],
    ["Qwen2.5-7B", "r1-distill.dsk", "Qwen7B"],
  ];

  test("every model of the list has a spec", () => {
    expect(counts.filter(({ model }) => !FILES.some(([start]) => model.startsWith(start)))).toEqual([]);
  });

  test.each(FILES)("%s", (start, file, name) => {
    const wanted = counts.find(({ model }) => model.startsWith(start))!;
    const { params, cache } = factsOf(check(file).models.get(name)!.module);
    expect(params).toMatchObject({
      total: wanted.total,
      activated: wanted.active_per_token_incl_embedding_and_head,
      activatedNoInputEmbedding: wanted.active_excl_embedding,
      activatedNoEmbeddings: wanted.active_excl_embedding - wanted.lm_head,
      embedding: wanted.embedding,
      mtp: wanted.mtp_unique ?? 0,
    });
    expect(cache.valuesPerToken).toBe(wanted.kv_cache_elements_per_token);
  });
});
