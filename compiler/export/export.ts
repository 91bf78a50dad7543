/** The config.json of a model: the inverse of compiler/import. */
import { ARCHITECTURES } from "../import/architectures.ts";
import { importConfig } from "../import/import.ts";
import { Diagnostics } from "../diagnostics/diagnostic.ts";
import { printModule } from "../model-ir/print.ts";
import type { Module } from "../model-ir/types.ts";
import { type CheckedModel, checkFile } from "../../dsl/semantics/check.ts";
import {
  deepSeekKeys,
  denseKeys,
  groupKeys,
  headKeys,
  type Keys,
  latentKeys,
  type Networks,
  networksOf,
  softmaxKeys,
  windowsOf,
} from "./keys.ts";
import { type Parts, partsOf } from "./parts.ts";

const DTYPES: Readonly<Record<string, string>> = { bf16: "bfloat16", f16: "float16", f32: "float32", f64: "float64" };

/**
 * The config.json that imports as this very model: same blocks, params, dims and functions. Undefined when no architecture
 * says the same, for models with blocks of their own.
 */
export function exportConfig(model: CheckedModel): Keys | undefined {
  const parts = partsOf(model);
  if (parts === undefined) return undefined;
  const wanted = comparable(model.module);
  return Object.keys(ARCHITECTURES)
    .map((type) => configOf(type, model.module, parts))
    .find((config) => meaning(config, model.module.name) === wanted);
}

/** The printed model that a config.json imports as. */
function meaning(config: Keys, name: string): string | undefined {
  const imported = importConfig(config, name);
  if ("problems" in imported) return undefined;
  const [model] = checkFile({ path: "config.json", text: imported.text }, new Diagnostics()).models.values();
  return model === undefined ? undefined : comparable(model.module);
}

/** The text of a model without its name and its claims, which say nothing about what it computes. */
function comparable(module: Module): string {
  return printModule({ ...module, expects: [] }).replaceAll(new RegExp(`\\b${module.name}\\b`, "g"), "Model");
}

function configOf(type: string, { dtype }: Module, parts: Parts): Keys {
  const architecture = ARCHITECTURES[type]!;
  const { layers, embed, norm, tied, deviation, ahead } = parts;
  const mixer = layers[0]!.use("mixer")!;
  return {
    architectures: [architecture.classes[0]!],
    model_type: type,
    vocab_size: embed.size("V"),
    hidden_size: embed.size("D"),
    num_hidden_layers: layers.length,
    rms_norm_eps: norm.number("eps"),
    tie_word_embeddings: tied,
    torch_dtype: DTYPES[dtype],
    initializer_range: deviation,
    ...(mixer.size("C") > 0 ? latentKeys(layers) : headKeys(layers)),
    ...biasKeys(type, parts),
    ...windowKeys(type, parts),
    ...ffnKeys(type, parts),
    ...(ahead === 0 ? {} : { num_nextn_predict_layers: ahead }),
  };
}

function biasKeys(type: string, { layers }: Parts): Keys {
  const mixer = layers[0]!.use("mixer")!;
  const biased = mixer.name.includes("Biased") && type !== "qwen2";
  return {
    ...(biased ? { attention_bias: true } : {}),
    ...(layers[0]!.use("ffn")!.name === "BiasedSwiGlu" ? { mlp_bias: true } : {}),
    ...(type === "glm4_moe" ? { use_qk_norm: mixer.use("q_norm")?.name === "RmsNorm" } : {}),
    // GLM's default is a half.
    ...(type === "glm4_moe" && mixer.use("rope")?.name !== "PartialRope" ? { partial_rotary_factor: 1 } : {}),
  };
}

function windowKeys(type: string, parts: Parts): Keys {
  const windows = windowsOf(parts);
  const size = Math.max(...windows);
  if (type === "mistral" || type === "mixtral") return { sliding_window: size === 0 ? null : size };
  if (size === 0) return {};
  const layers = windows.map((window) => (window === 0 ? "full_attention" : "sliding_attention"));
  return {
    use_sliding_window: true,
    sliding_window: size,
    max_window_layers: windows.indexOf(size),
    ...(type === "qwen3_moe" ? {} : { layer_types: layers }),
  };
}

function ffnKeys(type: string, parts: Parts): Keys {
  const networks = networksOf(parts);
  const { sparse, sparseAt } = networks;
  const dense = denseKeys(networks);
  const renormalize = { norm_topk_prob: sparse?.flag("renormalize") ?? false };
  switch (type) {
    case "mixtral":
      return { ...dense, ...softmaxKeys(networks, "num_local_experts") };
    case "olmoe":
      return { ...dense, ...softmaxKeys(networks, "num_experts"), ...renormalize };
    case "qwen3_moe":
      return {
        ...dense,
        ...softmaxKeys(networks, "num_experts"),
        ...renormalize,
        moe_intermediate_size: sparse?.size("F") ?? 0,
        decoder_sparse_step: 1,
        mlp_only_layers: parts.layers.flatMap((_, i) => (sparseAt[i] ? [] : [i])),
      };
    case "deepseek":
      return { ...dense, ...deepSeekKeys(networks) };
    case "deepseek_v2":
      return { ...dense, ...deepSeekKeys(networks), ...groupKeys(networks), ...methodV2(networks) };
    case "glm4_moe":
      return { ...dense, ...deepSeekKeys(networks), ...groupKeys(networks) };
    default:
      return type.startsWith("deepseek") || type === "kimi_k2" || type === "glm_moe_dsa"
        ? { ...dense, ...deepSeekKeys(networks), ...groupKeys(networks), ...METHOD_V3 }
        : dense;
  }
}

const METHOD_V3 = { topk_method: "noaux_tc", scoring_func: "sigmoid" };

function methodV2(networks: Networks): Keys {
  if (networks.sparse === undefined) return {};
  const greedy = groupKeys(networks)["n_group"] === 1;
  return { topk_method: greedy ? "greedy" : "group_limited_greedy", scoring_func: "softmax" };
}
