/** Keys that change nothing in the function a model computes. */
import type { Config } from "./config.ts";

/** Whatever they say. */
const WITHOUT_INFLUENCE = [
  "_name_or_path",
  "architectures",
  "attention_dropout",
  "attn_implementation",
  "_attn_implementation",
  "auto_map",
  "aux_loss_alpha",
  "bos_token_id",
  "decoder_start_token_id",
  "eos_token_id",
  "ep_size",
  "max_position_embeddings",
  "model_type",
  "output_attentions",
  "output_hidden_states",
  "output_router_logits",
  "pad_token_id",
  "return_dict",
  "router_aux_loss_coef",
  "seq_aux",
  "sep_token_id",
  "torchscript",
  "transformers_version",
  "unsloth_version",
  "use_cache",
];

/** As long as they say this: with it, the architectures that do not know the key compute what they compute without. */
const AS_LONG_AS: Readonly<Record<string, readonly unknown[]>> = {
  attention_bias: [false],
  clip_qkv: [null],
  head_dim: [null],
  indexer_rope_interleave: [null],
  layer_types: [null],
  max_window_layers: [null],
  mlp_bias: [false],
  n_group: [1, null],
  num_nextn_predict_layers: [0, null],
  partial_rotary_factor: [1],
  pretraining_tp: [1],
  routed_scaling_factor: [1],
  router_jitter_noise: [0],
  sliding_window: [null],
  topk_group: [1, null],
  topk_method: ["greedy"],
  use_mrope: [false],
  use_qk_norm: [false],
  use_sliding_window: [false],
};

/** Takes the keys without influence; reports values that would have one. */
export function takeNeutral(config: Config): void {
  for (const key of WITHOUT_INFLUENCE) config.take(key);
  for (const key of config.unread().filter((key) => Object.hasOwn(AS_LONG_AS, key))) {
    const values = AS_LONG_AS[key]!;
    if (!values.includes(config.take(key)))
      config.wrong(key, `is not supported; supported: ${values.map((value) => JSON.stringify(value)).join(", ")}`);
  }
  const quantization = config.object("quantization_config");
  if (quantization !== undefined) takeStorage(quantization);
}

/** DeepSeek's FP8 storage, which loading undoes: E4M3 with a scale for each 128 x 128 block. */
function takeStorage(quantization: Config): void {
  quantization.choice("quant_method", ["fp8"], "fp8");
  quantization.choice("fmt", ["e4m3"], "e4m3");
  quantization.choice("activation_scheme", ["dynamic"], "dynamic");
  quantization.choice("scale_fmt", ["ue8m0", "float"], "float");
  quantization.take("modules_to_not_convert");
  const blocks = quantization.take("weight_block_size");
  if (blocks === undefined) quantization.wrong("weight_block_size", "is missing");
  else if (JSON.stringify(blocks) !== "[128,128]")
    quantization.wrong("weight_block_size", "is not supported; supported: [128,128]");
  quantization.finish();
}
