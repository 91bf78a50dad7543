import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { evaluateExpectations, factsOf } from "../../compiler/analysis/facts.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { renderDiagnostic } from "../../compiler/diagnostics/render.ts";
import { formatFile } from "../../dsl/format/format.ts";
import { checkFile, type CheckedFile } from "../../dsl/semantics/check.ts";
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
