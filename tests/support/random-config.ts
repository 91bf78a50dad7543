import fc from "fast-check";

/** A `config.json` of a small model whose sizes divide nothing well, and what it is scored on. */
export interface RandomModel {
  readonly config: Readonly<Record<string, unknown>>;
  readonly rows: readonly (readonly number[])[];
}

const VOCABULARY = 37;

const common = fc.record({
  hidden_size: fc.integer({ min: 9, max: 40 }),
  intermediate_size: fc.integer({ min: 5, max: 48 }),
  num_hidden_layers: fc.integer({ min: 1, max: 3 }),
  num_attention_heads: fc.integer({ min: 1, max: 5 }),
  tie_word_embeddings: fc.boolean(),
});

const always = {
  vocab_size: VOCABULARY,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  hidden_act: "silu",
  attention_bias: false,
  max_position_embeddings: 64,
};

/** Multi-head latent attention and fine-grained experts in groups. */
const deepseek = fc
  .record({
    sizes: common,
    latent: fc.record({
      q_lora_rank: fc.oneof(fc.constant(null), fc.integer({ min: 3, max: 20 })),
      kv_lora_rank: fc.integer({ min: 3, max: 20 }),
      qk_nope_head_dim: fc.integer({ min: 2, max: 19 }),
      qk_rope_head_dim: fc.constantFrom(2, 4, 6, 8),
      v_head_dim: fc.integer({ min: 2, max: 19 }),
    }),
    groups: fc.constantFrom(1, 2, 3, 4),
    perGroup: fc.integer({ min: 2, max: 4 }),
    groupsKept: fc.integer({ min: 1, max: 4 }),
    chosen: fc.integer({ min: 1, max: 4 }),
    experts: fc.record({
      moe_intermediate_size: fc.integer({ min: 3, max: 20 }),
      n_shared_experts: fc.integer({ min: 1, max: 2 }),
      first_k_dense_replace: fc.integer({ min: 0, max: 2 }),
      routed_scaling_factor: fc.constantFrom(1, 2.5),
      norm_topk_prob: fc.boolean(),
    }),
  })
  .map(({ sizes, latent, groups, perGroup, groupsKept, chosen, experts }) => {
    const kept = Math.min(groups, groupsKept);
    return {
      ...always,
      ...sizes,
      ...latent,
      ...experts,
      model_type: "deepseek_v3",
      architectures: ["DeepseekV3ForCausalLM"],
      num_key_value_heads: sizes.num_attention_heads,
      scoring_func: "sigmoid",
      topk_method: "noaux_tc",
      rope_interleave: true,
      moe_layer_freq: 1,
      n_routed_experts: groups * perGroup,
      n_group: groups,
      topk_group: kept,
      num_experts_per_tok: Math.min(chosen, kept * perGroup),
    };
  });

/** Grouped queries; experts in every layer. */
const mixtral = fc
  .record({
    sizes: common,
    shared: fc.constantFrom(1, 2, 3),
    head_dim: fc.constantFrom(2, 6, 10, 16),
    num_local_experts: fc.integer({ min: 2, max: 7 }),
    num_experts_per_tok: fc.integer({ min: 1, max: 2 }),
  })
  .map(({ sizes, shared, ...own }) => ({
    ...always,
    ...sizes,
    ...own,
    model_type: "mixtral",
    architectures: ["MixtralForCausalLM"],
    num_key_value_heads: sizes.num_attention_heads,
    num_attention_heads: sizes.num_attention_heads * shared,
    sliding_window: null,
  }));

const tokens = fc.array(fc.integer({ min: 0, max: VOCABULARY - 1 }), { minLength: 2, maxLength: 19 });

export const randomModel: fc.Arbitrary<RandomModel> = fc.record({
  config: fc.oneof({ weight: 3, arbitrary: deepseek }, { weight: 1, arbitrary: mixtral }),
  rows: fc.array(tokens, { minLength: 1, maxLength: 3 }),
});

/** Numbers in (-0.5, 0.5) / sqrt(fan in), the same for the same path. */
export function drawnWeights(path: string, shape: readonly number[]): Float32Array {
  let state = 2_166_136_261;
  for (const c of path) state = Math.imul(state ^ c.codePointAt(0)!, 16_777_619);
  const scale = shape.length < 2 ? 1 : 2 / Math.sqrt(shape.at(-2)!);
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    state = Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9;
    const drawn = ((state ^ (state >>> 13)) >>> 0) / 2 ** 32 - 0.5;
    // Vectors scale: they are around 1.
    return shape.length < 2 ? 1 + drawn / 2 : drawn * scale;
  });
}
