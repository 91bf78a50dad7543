/** From a folder of Hugging Face (DeepSeek-V3's names and config.json) to the tensors of llama.cpp's architecture `deepseek2`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "../../runtime/io/safetensors/encode.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { type GgufTensor, type GgufValue, writeGguf } from "./gguf.ts";

/** What of config.json is used. */
interface Config {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly q_lora_rank: number;
  readonly kv_lora_rank: number;
  readonly qk_nope_head_dim: number;
  readonly qk_rope_head_dim: number;
  readonly v_head_dim: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  readonly first_k_dense_replace: number;
  readonly moe_intermediate_size: number;
  readonly n_routed_experts: number;
  readonly n_shared_experts: number;
  readonly num_experts_per_tok: number;
  readonly n_group: number;
  readonly topk_group: number;
  readonly routed_scaling_factor: number;
  readonly norm_topk_prob: boolean;
}

type Dtype = GgufTensor["dtype"];

/** @param dtype of matrices; vectors, routers and their biases are F32, as llama.cpp's converter has them */
export function writeDeepseek2(folder: string, dtype: Dtype, path: string): void {
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Config;
  const weights = new Checkpoint(join(folder, "model.safetensors"));
  writeGguf(path, metadata(config), tensors(config, weights, dtype));
}

function metadata(config: Config): Record<string, GgufValue> {
  const numbers = {
    block_count: config.num_hidden_layers,
    context_length: 8192,
    vocab_size: config.vocab_size,
    embedding_length: config.hidden_size,
    feed_forward_length: config.intermediate_size,
    leading_dense_block_count: config.first_k_dense_replace,
    "attention.head_count": config.num_attention_heads,
    // With latents as keys and values all heads share one.
    "attention.head_count_kv": 1,
    "attention.q_lora_rank": config.q_lora_rank,
    "attention.kv_lora_rank": config.kv_lora_rank,
    "attention.key_length": config.kv_lora_rank + config.qk_rope_head_dim,
    "attention.value_length": config.kv_lora_rank,
    "attention.key_length_mla": config.qk_nope_head_dim + config.qk_rope_head_dim,
    "attention.value_length_mla": config.v_head_dim,
    "rope.dimension_count": config.qk_rope_head_dim,
    expert_count: config.n_routed_experts,
    expert_used_count: config.num_experts_per_tok,
    expert_shared_count: config.n_shared_experts,
    expert_feed_forward_length: config.moe_intermediate_size,
    expert_group_count: config.n_group,
    expert_group_used_count: config.topk_group,
    // Sigmoid.
    expert_gating_func: 2,
  };
  return {
    "general.architecture": ["text", "deepseek2"],
    "tokenizer.ggml.model": ["text", "none"],
    ...Object.fromEntries(Object.entries(numbers).map(([key, value]) => [`deepseek2.${key}`, ["u32", value]])),
    "deepseek2.expert_weights_scale": ["f32", config.routed_scaling_factor],
    "deepseek2.expert_weights_norm": ["bool", config.norm_topk_prob],
    "deepseek2.attention.layer_norm_rms_epsilon": ["f32", config.rms_norm_eps],
    "deepseek2.rope.freq_base": ["f32", config.rope_theta],
  };
}

function tensors(config: Config, weights: Checkpoint, dtype: Dtype): GgufTensor[] {
  const written: GgufTensor[] = [];
  const put = (name: string, values: Float32Array, shape: readonly number[], as: Dtype): void => {
    written.push({ name, dtype: as, shape, bytes: encode(values, as) });
  };
  const read = (name: string): Float32Array => Float32Array.from(weights.tensor(name).read());
  const copy = (to: string, from: string, as: Dtype = dtype): void => {
    const { shape } = weights.tensor(from);
    put(to, read(from), shape, shape.length === 1 ? "F32" : as);
  };
  copy("token_embd.weight", "model.embed_tokens.weight");
  copy("output_norm.weight", "model.norm.weight");
  copy("output.weight", "lm_head.weight");
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const [to, from] = [`blk.${layer}`, `model.layers.${layer}`];
    copy(`${to}.attn_norm.weight`, `${from}.input_layernorm.weight`);
    copy(`${to}.ffn_norm.weight`, `${from}.post_attention_layernorm.weight`);
    copy(`${to}.attn_q_a.weight`, `${from}.self_attn.q_a_proj.weight`);
    copy(`${to}.attn_q_a_norm.weight`, `${from}.self_attn.q_a_layernorm.weight`);
    // Pairs of the rotary part are neighbors here and there: nothing is permuted.
    copy(`${to}.attn_q_b.weight`, `${from}.self_attn.q_b_proj.weight`);
    copy(`${to}.attn_kv_a_mqa.weight`, `${from}.self_attn.kv_a_proj_with_mqa.weight`);
    copy(`${to}.attn_kv_a_norm.weight`, `${from}.self_attn.kv_a_layernorm.weight`);
    copy(`${to}.attn_output.weight`, `${from}.self_attn.o_proj.weight`);
    latent(config, read(`${from}.self_attn.kv_b_proj.weight`), (part, values, shape) => {
      put(`${to}.attn_${part}_b.weight`, values, shape, dtype);
    });
    const dense = layer < config.first_k_dense_replace;
    for (const part of ["gate", "up", "down"]) {
      if (dense) copy(`${to}.ffn_${part}.weight`, `${from}.mlp.${part}_proj.weight`);
      else copy(`${to}.ffn_${part}_shexp.weight`, `${from}.mlp.shared_experts.${part}_proj.weight`);
    }
    if (dense) continue;
    copy(`${to}.ffn_gate_inp.weight`, `${from}.mlp.gate.weight`, "F32");
    copy(`${to}.exp_probs_b.bias`, `${from}.mlp.gate.e_score_correction_bias`);
    for (const part of ["gate", "up", "down"]) {
      const experts = Array.from({ length: config.n_routed_experts }, (_, e) =>
        weights.tensor(`${from}.mlp.experts.${e}.${part}_proj.weight`),
      );
      const values = Float32Array.from(experts.flatMap((one) => [...one.read()]));
      put(`${to}.ffn_${part}_exps.weight`, values, [experts.length, ...experts[0]!.shape], dtype);
    }
  }
  return written;
}

/**
 * kv_b_proj [H (N | Vh), C] in two, as products with the query and with the result of attention want them: k_b [H, C, N], turned,
 * and v_b [H, Vh, C].
 */
function latent(
  { num_attention_heads: H, kv_lora_rank: C, qk_nope_head_dim: N, v_head_dim: Vh }: Config,
  both: Float32Array,
  put: (part: "k" | "v", values: Float32Array, shape: readonly number[]) => void,
): void {
  const [keys, values] = [new Float32Array(H * C * N), new Float32Array(H * Vh * C)];
  for (let h = 0; h < H; h++) {
    const head = both.subarray(h * (N + Vh) * C, (h + 1) * (N + Vh) * C);
    for (let n = 0; n < N; n++) for (let c = 0; c < C; c++) keys[(h * C + c) * N + n] = head[n * C + c]!;
    values.set(head.subarray(N * C), h * Vh * C);
  }
  put("k", keys, [H, C, N]);
  put("v", values, [H, Vh, C]);
}
