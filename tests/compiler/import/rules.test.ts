import { describe, expect, test } from "vitest";
import { changed, type Keys, layersOf, moduleOf, problemsOf, readJson, specOf } from "./support.ts";

/** The layers of a variant of a small model, which must check. */
function layers(fixture: string, changes: Keys): string[] {
  const text = specOf(changed(fixture, changes));
  moduleOf(text);
  return layersOf(text);
}

/** The blocks in the mixer of the first layer. */
function mixer(fixture: string, changes: Keys): string {
  const [first] = layers(fixture, changes);
  return /mixer: (.*), ffn: /.exec(first!)![1]!;
}

function ffn(fixture: string, changes: Keys): string {
  const last = layers(fixture, changes).at(-1)!;
  return /, ffn: (.*?)(, eps: \S+)?\)$/.exec(last)![1]!;
}

describe("attention", () => {
  test("heads decide the block", () => {
    expect(mixer("d3_llama_mha", {})).toBe("Mha[D, H, N](rope: Rope[N](half: true))");
    expect(mixer("d3_llama_mha", { num_key_value_heads: undefined })).toMatch(/^Mha/);
    expect(mixer("d3_llama_mha", { num_key_value_heads: null })).toMatch(/^Mha/);
    expect(mixer("d3_llama_mha", { num_key_value_heads: 2 })).toMatch(/^Gqa/);
    expect(mixer("d3_llama_mha", { num_key_value_heads: 1 })).toMatch(/^Mqa/);
  });

  test("the width of a head is given or what the heads leave", () => {
    const size = (fixture: string, changes: Keys): string =>
      /dim N = (.*)/.exec(specOf(changed(fixture, changes)))![1]!;
    expect(size("d3_llama_mha", {})).toBe("16");
    expect(size("d3_llama_mha", { head_dim: 24 })).toBe("24");
    expect(size("d3_llama_mha", { head_dim: null })).toBe("16");
    expect(size("d7_qwen3", { head_dim: undefined })).toBe("128");
    expect(size("d6_qwen3_moe", { head_dim: undefined })).toBe("16");
    expect(problemsOf(changed("d3_llama_mha", { num_attention_heads: 5, num_key_value_heads: 5 }))).toEqual([
      "num_attention_heads: 5 does not divide hidden_size, 64",
    ]);
    expect(problemsOf(changed("d3_llama_mha", { num_key_value_heads: 3 }))).toEqual([
      "num_key_value_heads: 3 does not divide num_attention_heads, 4",
    ]);
    expect(size("m5_glm4_moe", { hidden_size: 32, head_dim: undefined })).toBe("8");
    expect(size("c1_moe16b", { head_dim: 16 })).toBe("16");
    expect(problemsOf(changed("c1_moe16b", { head_dim: 24 }))).toEqual([
      "head_dim: 24 is not supported; supported: 16",
    ]);
    expect(problemsOf(changed("d7_qwen3", { head_dim: 15 }))).toEqual([
      "head_dim: 15 rotates 15 of 15 dims of a head; supported: an even number of them",
    ]);
  });

  test("biases are where the modeling code has them", () => {
    const bias = { attention_bias: true };
    for (const fixture of ["d1_llama_gqa_llama3rope", "d3_llama_mha", "d7_qwen3", "d6_qwen3_moe", "c1_moe16b"])
      expect(mixer(fixture, bias)).toMatch(/^FullyBiasedGqa\[D, G, M, N\]/);
    expect(mixer("d4_qwen2_gqa", {})).toMatch(/^BiasedGqa/);
    expect(mixer("a1_v3_plain", bias)).toMatch(/^BiasedMla/);
    expect(mixer("b1_v2lite_greedy", bias)).toMatch(/^BiasedDirectMla/);
    expect(problemsOf(changed("d5_mixtral", bias))).toEqual([
      "attention_bias: true is not supported; supported: false",
    ]);
    expect(problemsOf(changed("d4_qwen2_gqa", bias))).toHaveLength(1);
  });

  test("norms of queries and keys have the model's eps", () => {
    expect(mixer("d7_qwen3", { rms_norm_eps: 1e-4 })).toContain(
      "q_norm: RmsNorm[N](eps: 1e-4), k_norm: RmsNorm[N](eps: 1e-4)",
    );
  });

  test("the norms inside of latent attention have not", () => {
    const changes = { rms_norm_eps: 1e-3 };
    expect(layers("a1_v3_plain", changes)[0]).toMatch(/, eps: 0\.001\)$/);
    expect(mixer("a1_v3_plain", changes)).toBe("Mla[D, H](Q: 24, C: 16, N: 16, R: R, Vh: 16, rope: Rope[R])");
  });

  test("latent attention checks what its widths make", () => {
    expect(mixer("a1_v3_plain", { head_dim: 8, qk_head_dim: 24 })).toBe(
      "Mla[D, H](Q: 24, C: 16, N: 16, R: R, Vh: 16, rope: Rope[R])",
    );
    expect(problemsOf(changed("a1_v3_plain", { head_dim: 16, num_key_value_heads: 2 }))).toEqual([
      "num_key_value_heads: 2 is not num_attention_heads, 4: latent attention has no key-value heads",
      "head_dim: 16 is not 8, which the other widths make",
    ]);
    expect(problemsOf(changed("a1_v3_plain", { q_lora_rank: undefined }))).toEqual(["q_lora_rank: is missing"]);
  });

  test("an indexer makes attention sparse, and turns halves unless told otherwise", () => {
    const sparse = {
      model_type: "deepseek_v32",
      architectures: ["DeepseekV32ForCausalLM"],
      index_n_heads: 2,
      index_head_dim: 12,
      index_topk: 5,
    };
    expect(mixer("a1_v3_plain", sparse)).toBe(
      "SparseMla[D, H](Q: 24, C: 16, N: 16, R: R, Vh: 16, rope: Rope[R], J: 2, I: 12, keep: 5, " +
        "index_rope: Rope[R](half: true))",
    );
    expect(mixer("a1_v3_plain", { ...sparse, indexer_rope_interleave: true })).toContain("index_rope: Rope[R])");
    expect(specOf(changed("a1_v3_plain", { ...sparse, attention_bias: true }))).toContain("extends BiasedMla[D, H]");
    expect(problemsOf(changed("a1_v3_plain", { ...sparse, index_topk: undefined }))).toEqual([
      "index_topk: is missing",
    ]);
    expect(problemsOf(changed("a1_v3_plain", { index_topk: 5 }))).toEqual([
      "index_topk: 5 is a key that dskc does not know",
    ]);
  });
});

describe("windows", () => {
  test("Mistral slides by default, in every layer", () => {
    const mistral = {
      model_type: "mistral",
      architectures: ["MistralForCausalLM"],
      attention_bias: undefined,
      mlp_bias: undefined,
    };
    expect(mixer("d3_llama_mha", mistral)).toContain("window: 4_096");
    expect(mixer("d3_llama_mha", { ...mistral, sliding_window: 7 })).toContain("window: 7");
    expect(mixer("d3_llama_mha", { ...mistral, sliding_window: null })).not.toContain("window");
  });

  test("Mixtral does not", () => {
    expect(mixer("d5_mixtral", { sliding_window: undefined })).not.toContain("window");
    expect(mixer("d5_mixtral", { sliding_window: 9 })).toContain("window: 9");
  });

  const windows = (fixture: string, changes: Keys): string[] =>
    layers(fixture, changes).map((layer) => `${layer.split(" ")[0]} ${/window: \d+/.exec(layer)?.[0] ?? "all"}`);

  test("Qwen slides from max_window_layers on, if it uses windows at all", () => {
    const slides = { use_sliding_window: true, sliding_window: 8 };
    expect(windows("d4_qwen2_gqa", { ...slides, max_window_layers: 1 })).toEqual(["1 all", "2 window: 8"]);
    expect(windows("d4_qwen2_gqa", { ...slides, max_window_layers: 0 })).toEqual(["3 window: 8"]);
    expect(windows("d4_qwen2_gqa", { ...slides, max_window_layers: undefined })).toEqual(["3 all"]);
    expect(windows("d4_qwen2_gqa", { ...slides, use_sliding_window: false })).toEqual(["3 all"]);
    expect(windows("d4_qwen2_gqa", { ...slides, use_sliding_window: undefined })).toEqual(["3 all"]);
  });

  test("Qwen3-MoE slides everywhere, if it uses windows at all", () => {
    const slides = { use_sliding_window: true, sliding_window: 8 };
    expect(windows("d6_qwen3_moe", slides)).toEqual(["2 window: 8"]);
    expect(windows("d6_qwen3_moe", { ...slides, max_window_layers: 1 })).toEqual(["2 window: 8"]);
    expect(windows("d6_qwen3_moe", { sliding_window: 8, max_window_layers: 1 })).toEqual(["2 all"]);
    const types = ["full_attention", "sliding_attention"];
    expect(problemsOf(changed("d6_qwen3_moe", { ...slides, layer_types: types }))).toEqual([
      'layer_types: ["full_attention","sliding_attention"] is not supported; supported: sliding layers only',
    ]);
  });

  test("layer_types say it layer by layer", () => {
    const types = ["sliding_attention", "full_attention", "sliding_attention"];
    const slides = { use_sliding_window: true, sliding_window: 8, layer_types: types };
    expect(windows("d4_qwen2_gqa", slides)).toEqual(["1 window: 8", "1 all", "1 window: 8"]);
    expect(problemsOf(changed("d4_qwen2_gqa", { ...slides, use_sliding_window: false }))).toHaveLength(1);
    expect(problemsOf(changed("d4_qwen2_gqa", { ...slides, layer_types: types.slice(1) }))[0]).toMatch(
      /^layer_types: .* is no list of full_attention and sliding_attention, one a layer$/,
    );
  });
});

describe("rope", () => {
  test("theta is a default of the class", () => {
    expect(mixer("d3_llama_mha", { rope_theta: undefined })).toContain("Rope[N](half: true)");
    expect(mixer("d5_mixtral", { rope_theta: undefined })).toContain("Rope[N](theta: 1_000_000, half: true)");
    expect(mixer("d3_llama_mha", { rope_theta: 12_345.5 })).toContain("theta: 12345.5");
  });

  test("newer files nest everything in rope_parameters", () => {
    const nested = { rope_theta: undefined, rope_scaling: undefined };
    const rope_parameters = { rope_type: "default", rope_theta: 5e5 };
    expect(mixer("d3_llama_mha", { ...nested, rope_parameters })).toContain("Rope[N](theta: 500_000, half: true)");
    expect(problemsOf(changed("d3_llama_mha", { rope_scaling: undefined, rope_parameters }))).toEqual([
      "rope_theta: 10000 contradicts 500000 of rope_parameters",
    ]);
  });

  test("positions are stretched", () => {
    const linear = { rope_scaling: { type: "linear", factor: 4 } };
    expect(mixer("d3_llama_mha", linear)).toContain("LinearRope[N](factor: 4, half: true)");
    expect(mixer("a1_v3_plain", linear)).toContain("LinearRope[R](factor: 4)");
    const llama3 = {
      rope_type: "llama3",
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    expect(mixer("d3_llama_mha", { rope_scaling: llama3 })).toContain("Llama3Rope[N](theta: 10_000, factor: 32)");
    expect(problemsOf(changed("d3_llama_mha", { rope_scaling: { ...llama3, factor: undefined } }))).toEqual([
      "rope_scaling.factor: is missing",
    ]);
  });

  test("YaRN multiplies angles where transformers does, scores where DeepSeek does", () => {
    const yarn = { type: "yarn", factor: 4, original_max_position_embeddings: 64 };
    expect(mixer("d3_llama_mha", { rope_scaling: yarn })).toContain(
      "YarnRope[N](factor: 4, trained: 64, mscale_all: 0, half: true)",
    );
    expect(mixer("a1_v3_plain", { rope_scaling: yarn })).toContain(
      "YarnRope[R](factor: 4, trained: 64, mscale_all: 0)",
    );
    const both = { ...yarn, mscale: 0.7, mscale_all_dim: 0.5 };
    expect(mixer("d3_llama_mha", { rope_scaling: both })).toContain("mscale: 0.7, mscale_all: 0.5");
    expect(mixer("a1_v3_plain", { rope_scaling: both })).toContain("mscale: 0.7, mscale_all: 0.5");
    expect(mixer("d3_llama_mha", { rope_scaling: { ...yarn, attention_factor: 1 } })).toContain(
      "mscale: 0, mscale_all: 0",
    );
    // The shortest number that gives the same amplitude.
    expect(
      mixer("d3_llama_mha", { rope_scaling: { ...yarn, attention_factor: 0.1 * 0.707 * Math.log(4) + 1 } }),
    ).toContain("mscale: 0.707, mscale_all: 0");
    const short = { type: "yarn", factor: 4 };
    expect(mixer("d3_llama_mha", { rope_scaling: short })).toContain("trained: 256");
    expect(mixer("a1_v3_plain", { rope_scaling: short })).toContain("YarnRope[R](factor: 4, mscale_all: 0)");
  });

  test("what has no block is refused by key and value", () => {
    expect(problemsOf(changed("d3_llama_mha", { rope_scaling: { rope_type: "dynamic", factor: 2 } }))).toEqual([
      'rope_scaling.rope_type: "dynamic" is not supported; supported: default, linear, llama3, yarn',
      "rope_scaling.factor: 2 is a key that dskc does not know",
    ]);
    expect(problemsOf(changed("d3_llama_mha", { rope_scaling: { factor: 2 } }))).toContain(
      "rope_scaling.rope_type: is missing",
    );
    expect(
      problemsOf(changed("a1_v3_plain", { rope_scaling: { type: "yarn", factor: 2, attention_factor: 1.1 } })),
    ).toEqual(["rope_scaling.attention_factor: 1.1 is a key that dskc does not know"]);
  });

  test("DeepSeek's pairs are neighbors unless the file says halves", () => {
    expect(mixer("a1_v3_plain", { rope_interleave: undefined })).toContain("rope: Rope[R])");
    expect(mixer("a1_v3_plain", { rope_interleave: false })).toContain("rope: Rope[R](half: true))");
  });
});

describe("feed-forward networks", () => {
  test("DeepSeek's layers with experts come by frequency", () => {
    const shape = (changes: Keys): string[] =>
      layers("a1_v3_plain", { num_hidden_layers: 7, ...changes }).map((layer) =>
        layer.replace(/^(\d+) .*ffn: (\w+).*/, "$1 $2"),
      );
    expect(shape({})).toEqual(["1 SwiGlu", "6 DeepSeekMoe"]);
    expect(shape({ first_k_dense_replace: undefined })).toEqual(["3 SwiGlu", "4 DeepSeekMoe"]);
    expect(shape({ first_k_dense_replace: 0 })).toEqual(["7 DeepSeekMoe"]);
    expect(shape({ moe_layer_freq: 2 })).toEqual([
      "2 SwiGlu",
      "1 DeepSeekMoe",
      "1 SwiGlu",
      "1 DeepSeekMoe",
      "1 SwiGlu",
      "1 DeepSeekMoe",
    ]);
    expect(shape({ n_routed_experts: null })).toEqual(["7 SwiGlu"]);
    // GLM's code does not know the key.
    expect(problemsOf({ ...readJson("configs", "GLM-4.5-Air.json"), moe_layer_freq: 2 })).toEqual([
      "moe_layer_freq: 2 is not supported; supported: 1",
    ]);
  });

  test("Qwen3-MoE's by step and by list", () => {
    const shape = (changes: Keys): string[] =>
      layers("d6_qwen3_moe", { num_hidden_layers: 5, ...changes }).map((layer) =>
        layer.replace(/^(\d+) .*ffn: (\w+).*/, "$1 $2"),
      );
    expect(shape({})).toEqual(["5 SoftmaxMoe"]);
    expect(shape({ decoder_sparse_step: 2 })).toEqual([
      "1 SwiGlu",
      "1 SoftmaxMoe",
      "1 SwiGlu",
      "1 SoftmaxMoe",
      "1 SwiGlu",
    ]);
    expect(shape({ mlp_only_layers: [0, 3] })).toEqual(["1 SwiGlu", "2 SoftmaxMoe", "1 SwiGlu", "1 SoftmaxMoe"]);
    expect(shape({ num_experts: 0 })).toEqual(["5 SwiGlu"]);
    expect(shape({ num_experts: undefined, num_local_experts: 8 })).toEqual(["5 SoftmaxMoe"]);
    expect(problemsOf(changed("d6_qwen3_moe", { num_experts: undefined, mlp_only_layers: [0.5] }))).toEqual([
      "mlp_only_layers: [0.5] is no list of layers",
      "num_experts: is missing",
    ]);
  });

  test("shared experts are one network of their width together", () => {
    expect(ffn("a1_v3_plain", {})).toBe("DeepSeekMoe[D](E: 8, F: 16, K: 3, G: 4, keep: 2, scale: 2.5)");
    expect(ffn("a1_v3_plain", { n_shared_experts: 3 })).toContain("Fs: 48");
    expect(ffn("a1_v3_plain", { n_shared_experts: 0 })).toMatch(/^DeepSeekRoutedMoe\[D\]/);
    expect(ffn("a1_v3_plain", { n_shared_experts: null })).toMatch(/^DeepSeekRoutedMoe\[D\]/);
    expect(ffn("b1_v2lite_greedy", {})).toBe("DeepSeekMoeV1[D](E: 8, F: 16, K: 3)");
    expect(ffn("b1_v2lite_greedy", { n_shared_experts: 1 })).toContain("Fs: 16");
    expect(ffn("b1_v2lite_greedy", { n_shared_experts: null })).toBe(
      "DeepSeekRoutedMoeV2[D](E: 8, F: 16, K: 3, G: 1, keep: 1, scale: 1)",
    );
  });

  test("weights are renormalized or scaled", () => {
    expect(ffn("a1_v3_plain", { norm_topk_prob: false })).toContain("scale: 2.5, renormalize: false");
    expect(ffn("b2_v2_group_limited", { norm_topk_prob: true })).toContain("scale: 16, renormalize: true");
    // One expert: DeepSeek's softmax gate scales.
    expect(ffn("b1_v2lite_greedy", { norm_topk_prob: true, num_experts_per_tok: 1 })).not.toContain("renormalize");
    expect(ffn("d6_qwen3_moe", { norm_topk_prob: undefined })).toContain("renormalize: false");
    expect(ffn("d5_mixtral", {})).toBe("SoftmaxMoe[D](E: 8, F: 32, K: 2)");
  });

  test("routers that do not exist are refused by value", () => {
    expect(problemsOf(changed("a1_v3_plain", { scoring_func: "softmax", topk_method: "greedy" }))).toEqual([
      'scoring_func: "softmax" is not supported; supported: sigmoid',
      'topk_method: "greedy" is not supported; supported: noaux_tc',
    ]);
    expect(problemsOf(changed("a1_v3_plain", { n_group: 3 }))).toEqual([
      "n_group: 3 does not divide n_routed_experts, 8",
    ]);
    expect(problemsOf(changed("a1_v3_plain", { topk_group: 5 }))).toEqual(["topk_group: 5 is more than n_group, 4"]);
    expect(problemsOf(changed("a1_v3_plain", { topk_group: 1 }))).toEqual([
      "topk_group: 1 leaves 2 experts, fewer than num_experts_per_tok, 3",
    ]);
    expect(problemsOf(changed("d5_mixtral", { num_experts_per_tok: 9 }))).toEqual([
      "num_experts_per_tok: 9 is more than num_local_experts, 8",
    ]);
  });

  test("biases and activations", () => {
    expect(ffn("d3_llama_mha", { mlp_bias: true })).toBe("BiasedSwiGlu[D, 96]");
    expect(ffn("d3_llama_mha", { hidden_act: "swish" })).toBe("SwiGlu[D, 96]");
    expect(problemsOf(changed("d3_llama_mha", { hidden_act: "relu2" }))).toEqual([
      'hidden_act: "relu2" is not supported; supported: silu, swish, gelu',
    ]);
    expect(problemsOf(changed("d5_mixtral", { hidden_act: "gelu" }))).toEqual([
      'hidden_act: "gelu" is not supported; supported: silu, swish',
    ]);
  });
});

describe("the model", () => {
  test("tied embeddings", () => {
    const text = specOf(changed("d3_llama_mha", { tie_word_embeddings: true }));
    expect(text).toContain("use head = embed.transposed");
    expect(specOf(changed("d3_llama_mha", { tie_word_embeddings: undefined }))).toContain("Embedding[V, D].transposed");
    const ahead = { tie_word_embeddings: true, num_nextn_predict_layers: 2 };
    moduleOf(specOf(changed("a1_v3_plain", ahead)));
  });

  test("look-ahead modules are layers behind the last one", () => {
    const text = (changes: Keys): string => specOf(changed("a1_v3_plain", changes)).replace(/\s+/g, " ");
    expect(text({ num_nextn_predict_layers: 2 })).toMatch(
      /predict_ahead\( depth: 2, with: Decoder\[D\]\( mixer: Mla.*DeepSeekMoe/,
    );
    // Layers 0 to 2 are dense, the module is layer 3.
    expect(text({ num_nextn_predict_layers: 1, first_k_dense_replace: 3 })).toMatch(
      /predict_ahead\(.*ffn: DeepSeekMoe/,
    );
    expect(text({ num_nextn_predict_layers: 0 })).not.toContain("predict_ahead");
    expect(text({ num_nextn_predict_layers: null })).not.toContain("predict_ahead");
    expect(problemsOf(changed("d3_llama_mha", { num_nextn_predict_layers: 1 }))).toEqual([
      "num_nextn_predict_layers: 1 is not supported; supported: 0, null",
    ]);
  });

  test("look-ahead modules of different kinds are refused: a spec gives all of them one block", () => {
    const two = { num_nextn_predict_layers: 2, num_hidden_layers: 3, first_k_dense_replace: 0 };
    specOf(changed("a1_v3_plain", { ...two, moe_layer_freq: 1 }));
    const why = "num_nextn_predict_layers: 2 adds modules of different kinds, which is not supported";
    expect(problemsOf(changed("a1_v3_plain", { ...two, moe_layer_freq: 2 }))).toEqual([why]);
    expect(problemsOf(changed("a1_v3_plain", { ...two, first_k_dense_replace: 4 }))).toEqual([why]);
  });

  test("settings", () => {
    const text = specOf(changed("d3_llama_mha", { torch_dtype: "float16", initializer_range: 0.006 }));
    expect(text).toContain("dtype      = f16\n  init       = normal(0.006)\n  checkpoint = std.hf.llama\n");
    expect(specOf(changed("d3_llama_mha", { torch_dtype: undefined }))).not.toContain("dtype");
    expect(specOf(changed("d3_llama_mha", { torch_dtype: undefined, dtype: "bfloat16" }))).toContain(
      "dtype      = bf16",
    );
    expect(problemsOf(changed("d3_llama_mha", { torch_dtype: "int8" }))).toEqual([
      'torch_dtype: "int8" is not supported; supported: bfloat16, float16, float32, float64',
    ]);
  });

  test("eps has the default of the class", () => {
    expect(specOf(changed("d5_mixtral", { rms_norm_eps: undefined }))).toContain("RmsNorm[D](eps: 1e-5)");
    expect(specOf(changed("d1_llama_gqa_llama3rope", { rms_norm_eps: undefined }))).toContain(
      "use norm = RmsNorm[D]\n",
    );
  });

  test("names become identifiers", () => {
    const named = (name: string): string => /^model (\S+)/m.exec(specOf(changed("d3_llama_mha", {}), name))![1]!;
    expect(["DeepSeek-V2-Lite", "glm-4.5-air", "3B", "Rope", "D", "", "日本"].map(named)).toEqual([
      "DeepSeekV2Lite",
      "Glm45Air",
      "Model3B",
      "RopeModel",
      "DModel",
      "Model",
      "Model",
    ]);
  });
});

describe("refusals", () => {
  test("what transformers writes into every file changes nothing", () => {
    const all = {
      is_decoder: false,
      is_encoder_decoder: false,
      pruned_heads: {},
      id2label: { "0": "LABEL_0" },
      temperature: 1.0,
      tokenizer_class: null,
      unk_token_id: 0,
    };
    expect(specOf(changed("d3_llama_mha", all))).toBe(specOf(changed("d3_llama_mha", {})));
    expect(
      problemsOf(changed("d3_llama_mha", { ...all, pruned_heads: { "0": [1] }, is_encoder_decoder: true })),
    ).toEqual([
      "is_encoder_decoder: true is not supported; supported: false",
      'pruned_heads: {"0":[1]} is not supported; supported: {}',
    ]);
  });

  test("unknown keys, all of them", () => {
    expect(problemsOf(changed("d3_llama_mha", { logit_scale: 2, extra: { a: 1 } }))).toEqual([
      "logit_scale: 2 is a key that dskc does not know",
      'extra: {"a":1} is a key that dskc does not know',
    ]);
  });

  test("keys that would change something", () => {
    const odd = { clip_qkv: 8, pretraining_tp: 2, use_mrope: true, router_jitter_noise: 0.1 };
    expect(problemsOf(changed("d3_llama_mha", odd)).map((problem) => problem.split(" is ")[0])).toEqual([
      "clip_qkv: 8",
      "pretraining_tp: 2",
      "use_mrope: true",
      "router_jitter_noise: 0.1",
    ]);
  });

  test("values of the wrong kind, and missing ones", () => {
    expect(
      problemsOf(changed("d3_llama_mha", { hidden_size: "64", vocab_size: undefined, num_hidden_layers: 2.5 })),
    ).toEqual([
      "num_hidden_layers: 2.5 is no positive whole number",
      "vocab_size: is missing",
      'hidden_size: "64" is no positive whole number',
    ]);
    expect(problemsOf(changed("d3_llama_mha", { num_hidden_layers: 1e9 }))).toHaveLength(1);
    expect(problemsOf(changed("d3_llama_mha", { max_position_embeddings: "long" }))).toHaveLength(1);
    expect(problemsOf(changed("d3_llama_mha", { tie_word_embeddings: "yes" }))).toHaveLength(1);
  });

  test("storage other than DeepSeek's FP8", () => {
    const fp8 = { quant_method: "fp8", fmt: "e4m3", activation_scheme: "dynamic", weight_block_size: [128, 128] };
    specOf(changed("a1_v3_plain", { quantization_config: { ...fp8, scale_fmt: "ue8m0" } }));
    expect(
      problemsOf(changed("a1_v3_plain", { quantization_config: { ...fp8, weight_block_size: [64, 64] } })),
    ).toEqual(["quantization_config.weight_block_size: [64,64] is not supported; supported: [128,128]"]);
    expect(problemsOf(changed("a1_v3_plain", { quantization_config: { quant_method: "gptq", bits: 4 } }))).toEqual([
      'quantization_config.quant_method: "gptq" is not supported; supported: fp8',
      "quantization_config.weight_block_size: is missing",
      "quantization_config.bits: 4 is a key that dskc does not know",
    ]);
  });

  test("classes that are not the architecture's", () => {
    expect(problemsOf(changed("d3_llama_mha", { architectures: ["LlamaForSequenceClassification"] }))).toEqual([
      'architectures: ["LlamaForSequenceClassification"] is not supported for this model_type; supported: LlamaForCausalLM',
    ]);
    expect(problemsOf(changed("d3_llama_mha", { model_type: undefined }))[0]).toMatch(
      /^model_type: is missing; supported: llama, /,
    );
  });

  test("sizes that no model has", () => {
    expect(problemsOf(changed("a1_v3_plain", { num_nextn_predict_layers: 1e9 }))).toEqual([
      "num_nextn_predict_layers: 1000000000 is not supported; supported: up to 10000",
    ]);
    expect(problemsOf(changed("a1_v3_plain", { n_shared_experts: 1e15, moe_intermediate_size: 16 }))).toEqual([
      "n_shared_experts: 1000000000000000 is too much: 1000000000000000 times moe_intermediate_size, 16",
    ]);
    // Whole numbers of any size are sizes: nothing is built for each of them.
    for (const huge of [{ n_routed_experts: 1e9 }, { vocab_size: 1e12 }, { intermediate_size: 1e15 }])
      specOf(changed("a3_v3_halfrope_ungrouped", huge));
  });

  test("a default that DeepSeek's code and transformers do not share", () => {
    expect(problemsOf(changed("b1_v2lite_greedy", { n_shared_experts: undefined }))).toEqual([
      "n_shared_experts: is missing",
    ]);
  });

  test("names and values that no line has room for", () => {
    const deep = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`) as unknown;
    const odd = {
      rope_theta: Infinity,
      hidden_size: deep,
      "a\u001b[31m\nb": 1,
      ["k".repeat(1_000)]: "v".repeat(1_000),
    };
    expect(problemsOf(changed("d3_llama_mha", odd))).toEqual([
      "hidden_size: [...] is no positive whole number",
      "rope_theta: Infinity is no positive number",
      "a\\u001b[31m\\nb: 1 is a key that dskc does not know",
      `${"k".repeat(197)}...: "${"v".repeat(56)}... is a key that dskc does not know`,
    ]);
  });

  test("what is no object", () => {
    for (const value of [null, 1, "x", [], undefined])
      expect(problemsOf(value)).toEqual(["a config.json holds one JSON object"]);
  });
});
