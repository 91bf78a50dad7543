/** Keys that change nothing in the function a model computes. */
import type { Config } from "./config.ts";

/** Whatever they say. */
const WITHOUT_INFLUENCE = [
  "_name_or_path",
  "architectures",
  "attention_dropout",
  "attn_implementation",
  "_attn_implementation",
  "_attn_implementation_autoset",
  "auto_map",
  "aux_loss_alpha",
  "bos_token_id",
  "decoder_start_token_id",
  "eos_token_id",
  "ep_size",
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

/** What older versions of transformers write into every file when they write all they have: how to train, split and sample. */
const OF_EVERY_MODEL = [
  "bad_words_ids",
  "begin_suppress_tokens",
  "chunk_size_feed_forward",
  "cls_token_id",
  "diversity_penalty",
  "do_sample",
  "early_stopping",
  "encoder_no_repeat_ngram_size",
  "exponential_decay_length_penalty",
  "finetuning_task",
  "forced_bos_token_id",
  "forced_eos_token_id",
  "id2label",
  "is_decoder",
  "label2id",
  "length_penalty",
  "mask_token_id",
  "max_length",
  "min_length",
  "no_repeat_ngram_size",
  "num_beam_groups",
  "num_beams",
  "num_return_sequences",
  "output_scores",
  "prefix",
  "problem_type",
  "remove_invalid_values",
  "repetition_penalty",
  "return_dict_in_generate",
  "suppress_tokens",
  "task_specific_params",
  "temperature",
  "tf_legacy_loss",
  "tokenizer_class",
  "top_k",
  "top_p",
  "typical_p",
  "unk_token_id",
  "use_bfloat16",
];

/** As long as they say this: with it, the architectures that do not know the key compute what they compute without. */
const AS_LONG_AS: Readonly<Record<string, readonly unknown[]>> = {
  add_cross_attention: [false],
  attention_bias: [false],
  clip_qkv: [null],
  cross_attention_hidden_size: [null],
  head_dim: [null],
  indexer_rope_interleave: [null],
  is_encoder_decoder: [false],
  layer_types: [null],
  max_window_layers: [null],
  mlp_bias: [false],
  moe_layer_freq: [1],
  n_group: [1, null],
  num_nextn_predict_layers: [0, null],
  partial_rotary_factor: [1],
  pretraining_tp: [1],
  pruned_heads: [{}],
  routed_scaling_factor: [1],
  router_jitter_noise: [0],
  sliding_window: [null],
  tie_encoder_decoder: [false],
  topk_group: [1, null],
  topk_method: ["greedy"],
  use_mrope: [false],
  use_qk_norm: [false],
  use_sliding_window: [false],
};

/** Takes the keys without influence; reports values that would have one. */
export function takeNeutral(config: Config): void {
  for (const key of [...WITHOUT_INFLUENCE, ...OF_EVERY_MODEL]) config.take(key);
  config.size("max_position_embeddings", 1);
  for (const key of config.unread().filter((key) => Object.hasOwn(AS_LONG_AS, key))) {
    const values = AS_LONG_AS[key]!.map((value) => JSON.stringify(value));
    if (!values.includes(JSON.stringify(config.take(key))))
      config.wrong(key, `is not supported; supported: ${values.join(", ")}`);
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
