import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { factsOf } from "../../../compiler/analysis/facts.ts";
import { fixtures, moduleOf, problemsOf, readJson, specOf } from "./support.ts";

interface Counts {
  readonly model: string;
  readonly total: number;
  readonly active_per_token_incl_embedding_and_head: number;
  readonly kv_cache_elements_per_token: number;
  readonly mtp_unique?: number;
}

/** Counted on the reference implementations. */
const counted = readJson("models", "k3_param_counts", "param_counts.json") as unknown as readonly Counts[];
const COUNTED: Readonly<Record<string, string>> = {
  "DeepSeek-V3": "DeepSeek-V3/R1",
  "DeepSeek-R1": "DeepSeek-V3/R1",
  "DeepSeek-V2": "DeepSeek-V2 ",
  "DeepSeek-V2-Lite": "DeepSeek-V2-Lite",
  "deepseek-moe-16b-base": "DeepSeekMoE-16B",
  "Mixtral-8x7B-v0.1": "Mixtral-8x7B",
  "Qwen3-30B-A3B": "Qwen3-30B-A3B",
  "Llama-3.1-8B": "Llama-3.1-8B",
  "DeepSeek-R1-Distill-Llama-8B": "Llama-3.1-8B",
};

/** Published by the authors, or counted on the stored checkpoints. */
const TOTALS: Readonly<Record<string, number>> = {
  "DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
  "DeepSeek-V3.2": 671_877_929_216,
  "GLM-4.5-Air": 106_852_245_504,
  "GLM-5": 743_911_199_232,
  "Kimi-K2-Instruct": 1_026_408_209_408,
  "Llama-3.1-405B": 405_853_388_800,
  "Moonlight-16B-A3B": 15_960_108_544,
  "OLMoE-1B-7B-0924": 6_919_161_856,
  "Qwen3-235B-A22B": 235_093_634_560,
  "deepseek-math-7b-base": 6_910_365_696,
};

type Config = Readonly<Record<string, number | null>>;

/**
 * 6 for each weight of a matrix that a token meets, the output head included and the input embedding not, and 3 T (width of
 * a key + width of a value) for each head, half of a full square of scores: twice that forward and four times backward.
 */
function byFormula(c: Config, context: number): { readonly trainPerToken: number; readonly cacheValues: number } {
  const of = (key: string): number => c[key] ?? 0;
  const [d, layers, heads] = [of("hidden_size"), of("num_hidden_layers"), of("num_attention_heads")];
  const latent = of("kv_lora_rank") > 0;
  const groups = c["num_key_value_heads"] ?? heads;
  const plain = c["head_dim"] ?? d / heads;
  const [key, value] = latent ? [of("qk_nope_head_dim") + of("qk_rope_head_dim"), of("v_head_dim")] : [plain, plain];
  const queries = of("q_lora_rank") > 0 ? of("q_lora_rank") * (d + heads * key) : d * heads * key;
  const down = d * (of("kv_lora_rank") + of("qk_rope_head_dim"));
  const up = of("kv_lora_rank") * heads * (of("qk_nope_head_dim") + value);
  const attention = queries + (latent ? down + up : d * groups * (key + value)) + heads * value * d;

  const experts = c["n_routed_experts"] ?? c["num_local_experts"] ?? c["num_experts"] ?? 0;
  const width = c["moe_intermediate_size"] ?? of("intermediate_size");
  const visited = of("num_experts_per_tok") + of("n_shared_experts");
  const sparse = experts === 0 ? 0 : layers - of("first_k_dense_replace");
  const networks =
    sparse * (d * experts + visited * 3 * d * width) + (layers - sparse) * 3 * d * of("intermediate_size");

  const weights = layers * attention + networks + of("vocab_size") * d;
  return {
    trainPerToken: 6 * weights + 3 * layers * heads * (key + value) * context,
    cacheValues: layers * (latent ? of("kv_lora_rank") + of("qk_rope_head_dim") : groups * (key + value)),
  };
}

const REFUSED = ["DeepSeek-V4-Flash", "DeepSeek-V4-Pro", "Kimi-K3"];

const names = readdirSync(join(fixtures, "configs"))
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.slice(0, -5));

describe("published configurations", () => {
  test("are all accounted for", () => {
    expect([...Object.keys(COUNTED), ...Object.keys(TOTALS), ...REFUSED].toSorted()).toEqual(names.toSorted());
  });

  test.each(Object.keys(COUNTED))("%s has the counts of the reference implementation", (name) => {
    const { params, cache } = factsOf(moduleOf(specOf(readJson("configs", `${name}.json`), name)));
    const wanted = counted.find(({ model }) => model.startsWith(COUNTED[name]!))!;
    expect(params).toMatchObject({
      total: wanted.total,
      activated: wanted.active_per_token_incl_embedding_and_head,
      mtp: wanted.mtp_unique ?? 0,
    });
    expect(cache.valuesPerToken).toBe(wanted.kv_cache_elements_per_token);
  });

  test.each(Object.entries(TOTALS))("%s has %i parameters", (name, total) => {
    expect(factsOf(moduleOf(specOf(readJson("configs", `${name}.json`), name))).params.total).toBe(total);
  });

  // Sparse attention has an indexer, which the formula knows nothing of.
  const plain = [...Object.keys(COUNTED), ...Object.keys(TOTALS)].filter(
    (name) => !["DeepSeek-V3.2", "GLM-5"].includes(name),
  );

  test.each(plain)("%s has the FLOPs and the cache of the formula", (name) => {
    const { flops, cache } = factsOf(moduleOf(specOf(readJson("configs", `${name}.json`), name)));
    const wanted = byFormula(readJson("configs", `${name}.json`) as Config, 4096);
    expect(flops.trainPerToken / wanted.trainPerToken).toBeCloseTo(1, 12);
    expect(flops.forwardPerToken * 3).toBe(flops.trainPerToken);
    // All of them are published in bf16.
    expect(cache).toEqual({ valuesPerToken: wanted.cacheValues, bytesPerToken: 2 * wanted.cacheValues });
  });

  test.each([
    ["DeepSeek-V3", 70_272],
    ["Llama-3.1-405B", 516_096],
  ])("%s keeps %i bytes of a token (arXiv 2505.09343, table 1)", (name, bytes) => {
    const { cache } = factsOf(moduleOf(specOf(readJson("configs", `${name}.json`), name)));
    expect(cache.bytesPerToken).toBe(bytes);
  });

  test.each([
    ["DeepSeek-V3", 250e9],
    ["DeepSeek-V2", 155e9],
  ])("%s needs %d FLOPs for a token in training (arXiv 2505.09343, table 2)", (name, published) => {
    const { flops } = factsOf(moduleOf(specOf(readJson("configs", `${name}.json`), name)));
    expect(Math.abs(flops.trainPerToken / published - 1)).toBeLessThan(0.005);
  });

  test("DeepSeek-V4 is refused with the keys that nothing knows", () => {
    expect(problemsOf(readJson("configs", "DeepSeek-V4-Flash.json"))).toEqual([
      'model_type: "deepseek_v4" is not supported; supported: llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, olmoe, ' +
        "glm4_moe, deepseek, deepseek_v2, deepseek_v3, deepseek_v32, kimi_k2, glm_moe_dsa",
      'expert_dtype: "fp4" is a key that dskc does not know',
      "hc_eps: 0.000001 is a key that dskc does not know",
      "hc_mult: 4 is a key that dskc does not know",
      "hc_sinkhorn_iters: 20 is a key that dskc does not know",
      "num_hash_layers: 3 is a key that dskc does not know",
      "o_groups: 8 is a key that dskc does not know",
      "o_lora_rank: 1024 is a key that dskc does not know",
      "swiglu_limit: 10 is a key that dskc does not know",
      "compress_rope_theta: 160000 is a key that dskc does not know",
      "compress_ratios: [0,0,4,128,4,128,4,128,4,128,4,128,4,128,4,128,4,128,4,12... is a key that dskc does not know",
    ]);
    expect(problemsOf(readJson("configs", "DeepSeek-V4-Pro.json"))).toHaveLength(11);
  });

  test("Kimi-K3 is refused", () => {
    const problems = problemsOf(readJson("configs", "Kimi-K3.json"));
    expect(problems[0]).toMatch(/^model_type: "kimi_k3" is not supported; supported: llama, /);
    expect(problems.slice(1).map((problem) => problem.split(":")[0])).toEqual([
      "ignore_index",
      "image_placeholder",
      "media_placeholder_token_id",
      "text_config",
      "vision_config",
    ]);
  });
});

describe("configurations of small models", () => {
  const small = readdirSync(join(fixtures, "models")).filter((folder) => /^[a-e]\d_/.test(folder));

  test.each(small)("%s imports and checks", (folder) => {
    const text = specOf(readJson("models", folder, "config.json"), folder);
    expect(factsOf(moduleOf(text)).params.total).toBeGreaterThan(10_000);
  });
});
