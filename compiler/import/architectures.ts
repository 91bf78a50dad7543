/**
 * The architectures that dskc imports. Defaults are those of their configuration classes, rules those of their modeling code
 * (transformers, and DeepSeek's own code where both differ).
 */
import { type GqaNeeds, gqaOf } from "./attention.ts";
import type { Config } from "./config.ts";
import { deepSeekOf, denseOf, noAuxRouter, plainRouter, qwen3MoeOf, softmaxMoeOf, softmaxRouter } from "./ffn.ts";
import { latentOf } from "./latent.ts";
import type { AttentionPlan, FfnPlan } from "./plan.ts";

export interface Architecture {
  /** The first one is the usual one. */
  readonly classes: readonly string[];
  /** The table of checkpoint names: `std.hf.llama`. */
  readonly checkpoint: "deepseek" | "llama" | "mixtral" | "moe";
  /** `rms_norm_eps` without the key; undefined when it must be there. */
  readonly eps: number | undefined;
  /** Whether `num_nextn_predict_layers` adds look-ahead modules. */
  readonly looksAhead?: true;
  readonly attention: (config: Config, layers: number, eps: number) => AttentionPlan;
  readonly ffn: (config: Config) => FfnPlan;
}

const NO_WINDOWS = { kind: "none" } as const;
const V3_ROUTER = noAuxRouter({ G: 8, keep: 4, scale: 2.5 });

function gqa(needs: GqaNeeds): Architecture["attention"] {
  return (config, layers, eps) => gqaOf(config, needs, layers, eps);
}

function dense(config: Config): FfnPlan {
  const text = denseOf(config);
  return () => text;
}

function v3(className: string, sparse = false): Architecture {
  return {
    classes: className === "DeepseekV3ForCausalLM" ? [className] : [className, "DeepseekV3ForCausalLM"],
    checkpoint: "deepseek",
    eps: 1e-6,
    looksAhead: true,
    attention: (config) => latentOf(config, { sparse }),
    ffn: (config) => deepSeekOf(config, V3_ROUTER, 3),
  };
}

/** By `model_type`. */
export const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: {
    classes: ["LlamaForCausalLM"],
    checkpoint: "llama",
    eps: 1e-6,
    attention: gqa({ theta: 10_000, bias: "all on request", norms: "none", windows: NO_WINDOWS }),
    ffn: (config) => {
      const text = denseOf(config, config.flag("mlp_bias", false));
      return () => text;
    },
  },
  mistral: {
    classes: ["MistralForCausalLM"],
    checkpoint: "llama",
    eps: 1e-6,
    attention: gqa({
      kvHeads: 8,
      theta: 10_000,
      bias: "none",
      norms: "none",
      windows: { kind: "all", fallback: 4096 },
    }),
    ffn: dense,
  },
  mixtral: {
    classes: ["MixtralForCausalLM"],
    checkpoint: "mixtral",
    eps: 1e-5,
    attention: gqa({ kvHeads: 8, theta: 1e6, bias: "none", norms: "none", windows: { kind: "all", fallback: 0 } }),
    ffn: (config) => softmaxMoeOf(config, "num_local_experts", true),
  },
  qwen2: {
    classes: ["Qwen2ForCausalLM"],
    checkpoint: "llama",
    eps: 1e-6,
    attention: gqa({ kvHeads: 32, theta: 10_000, bias: "inputs", norms: "none", windows: { kind: "upper", from: 28 } }),
    ffn: dense,
  },
  qwen3: {
    classes: ["Qwen3ForCausalLM"],
    checkpoint: "llama",
    eps: 1e-6,
    attention: gqa({
      kvHeads: 32,
      headDim: 128,
      theta: 10_000,
      bias: "all on request",
      norms: "heads",
      windows: { kind: "upper", from: 28 },
    }),
    ffn: dense,
  },
  qwen3_moe: {
    classes: ["Qwen3MoeForCausalLM"],
    checkpoint: "moe",
    eps: 1e-6,
    attention: gqa({
      kvHeads: 4,
      theta: 10_000,
      bias: "all on request",
      norms: "heads",
      windows: { kind: "all on request" },
    }),
    ffn: qwen3MoeOf,
  },
  olmoe: {
    classes: ["OlmoeForCausalLM"],
    checkpoint: "moe",
    eps: 1e-5,
    attention: gqa({ theta: 10_000, bias: "all on request", norms: "full", windows: NO_WINDOWS }),
    ffn: (config) => softmaxMoeOf(config, "num_experts", config.flag("norm_topk_prob", false)),
  },
  glm4_moe: {
    classes: ["Glm4MoeForCausalLM"],
    checkpoint: "moe",
    eps: 1e-5,
    looksAhead: true,
    attention: gqa({
      kvHeads: 8,
      theta: 10_000,
      bias: "inputs on request",
      norms: "heads on request",
      windows: NO_WINDOWS,
      rotary: 0.5,
    }),
    ffn: (config) => deepSeekOf(config, noAuxRouter({ G: 1, keep: 1, scale: 1 }), 1, false),
  },
  deepseek: {
    classes: ["DeepseekForCausalLM"],
    checkpoint: "deepseek",
    eps: 1e-6,
    attention: gqa({ headDim: "fixed", theta: 10_000, bias: "all on request", norms: "none", windows: NO_WINDOWS }),
    ffn: (config) => deepSeekOf(config, plainRouter, 0),
  },
  deepseek_v2: {
    classes: ["DeepseekV2ForCausalLM"],
    checkpoint: "deepseek",
    eps: 1e-6,
    attention: (config) => latentOf(config, { sparse: false }),
    ffn: (config) => deepSeekOf(config, softmaxRouter, 0),
  },
  deepseek_v3: v3("DeepseekV3ForCausalLM"),
  deepseek_v32: v3("DeepseekV32ForCausalLM", true),
  kimi_k2: v3("KimiK2ForCausalLM"),
  glm_moe_dsa: {
    classes: ["GlmMoeDsaForCausalLM"],
    checkpoint: "deepseek",
    eps: undefined,
    looksAhead: true,
    attention: (config) => latentOf(config, { sparse: true }),
    ffn: (config) => deepSeekOf(config, noAuxRouter({}), undefined, false),
  },
};
