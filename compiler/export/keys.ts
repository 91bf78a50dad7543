/** The keys of config.json for the parts of a model, as the readers in compiler/import understand them. */
import type { Part, Parts } from "./parts.ts";

export type Keys = Readonly<Record<string, unknown>>;

/** Multi-head, multi-query and grouped-query attention. */
export function headKeys(layers: readonly Part[]): Keys {
  const mixer = layers[0]!.use("mixer")!;
  const grouped = mixer.size("G") > 0;
  const heads = grouped ? mixer.size("G") * mixer.size("M") : mixer.size("H");
  const groups = grouped ? mixer.size("G") : mixer.name === "Mqa" ? 1 : heads;
  const rope = mixer.use("rope");
  const partial = rope?.name === "PartialRope" ? rope.use("rope") : undefined;
  return {
    num_attention_heads: heads,
    num_key_value_heads: groups,
    head_dim: mixer.size("N"),
    ...(partial === undefined ? {} : { partial_rotary_factor: partial.size("R") / mixer.size("N") }),
    ...ropeKeys(partial ?? rope, true),
  };
}

/** Latent attention, with the indexer of DeepSeek-V3.2 where there is one. */
export function latentKeys(layers: readonly Part[]): Keys {
  const mixer = layers[0]!.use("mixer")!;
  const rope = mixer.use("rope");
  const index = mixer.use("index_rope");
  return {
    num_attention_heads: mixer.size("H"),
    num_key_value_heads: mixer.size("H"),
    q_lora_rank: mixer.size("Q") === 0 ? null : mixer.size("Q"),
    kv_lora_rank: mixer.size("C"),
    qk_nope_head_dim: mixer.size("N"),
    qk_rope_head_dim: mixer.size("R"),
    v_head_dim: mixer.size("Vh"),
    rope_interleave: rope?.flag("half") !== true,
    ...ropeKeys(rope, false),
    ...(index === undefined
      ? {}
      : {
          index_n_heads: mixer.size("J"),
          index_head_dim: mixer.size("I"),
          index_topk: mixer.number("keep"),
          indexer_rope_interleave: !index.flag("half"),
        }),
  };
}

/**
 * @param angles attention that leaves scores alone: YaRN stretches cos and sin by one number
 */
function ropeKeys(rope: Part | undefined, angles: boolean): Keys {
  if (rope === undefined) return {};
  const theta = { rope_theta: rope.number("theta") };
  const factor = rope.number("factor");
  switch (rope.name) {
    case "LinearRope":
      return { ...theta, rope_scaling: { rope_type: "linear", factor } };
    case "Llama3Rope":
      return {
        ...theta,
        rope_scaling: {
          rope_type: "llama3",
          factor,
          low_freq_factor: rope.number("low"),
          high_freq_factor: rope.number("high"),
          original_max_position_embeddings: rope.number("trained"),
        },
      };
    case "YarnRope": {
      const [mscale, all] = [rope.number("mscale"), rope.number("mscale_all")];
      // Both at rest are what transformers takes when neither is given; other values of the first are a factor of its own.
      const own = angles && all === 0;
      const scales = own
        ? mscale === 1
          ? {}
          : { attention_factor: 0.1 * mscale * Math.log(factor) + 1 }
        : { mscale, mscale_all_dim: all };
      return {
        ...theta,
        rope_scaling: {
          // DeepSeek's own code reads `type`, newer transformers either.
          type: "yarn",
          factor,
          original_max_position_embeddings: rope.number("trained"),
          beta_fast: rope.number("beta_fast"),
          beta_slow: rope.number("beta_slow"),
          ...scales,
        },
      };
    }
    default:
      return theta;
  }
}

/** Dense layers, and those with experts. */
export interface Networks {
  readonly dense: Part | undefined;
  readonly sparse: Part | undefined;
  /** Whether a layer has experts, by index; look-ahead modules count as one more layer. */
  readonly sparseAt: readonly boolean[];
}

export function networksOf({ layers, aheadLayer }: Parts): Networks {
  const ffns = [...layers, ...(aheadLayer === undefined ? [] : [aheadLayer])].map((layer) => layer.use("ffn")!);
  const isSparse = (ffn: Part): boolean => ffn.size("E") > 0;
  return {
    dense: ffns.find((ffn) => !isSparse(ffn)),
    sparse: ffns.find(isSparse),
    sparseAt: ffns.map(isSparse),
  };
}

export function denseKeys({ dense, sparse }: Networks): Keys {
  return {
    intermediate_size: (dense ?? sparse)!.size("F"),
    hidden_act: dense?.name === "GeGlu" ? "gelu" : "silu",
  };
}

/** Softmax routers of Mixtral, Qwen3-MoE and OLMoE. */
export function softmaxKeys({ sparse }: Networks, experts: string): Keys {
  if (sparse === undefined) return { [experts]: 0 };
  return { [experts]: sparse.size("E"), num_experts_per_tok: sparse.size("K") };
}

/** The routers of the DeepSeek line. */
export function deepSeekKeys({ sparse, sparseAt }: Networks): Keys {
  if (sparse === undefined) return { n_routed_experts: null, first_k_dense_replace: sparseAt.length };
  const [E, F] = [sparse.size("E"), sparse.size("F")];
  const first = sparseAt.indexOf(true);
  const every = frequencyOf(sparseAt, first);
  const shared = sparse.use("shared");
  return {
    n_routed_experts: E,
    num_experts_per_tok: sparse.size("K"),
    moe_intermediate_size: F,
    n_shared_experts: shared === undefined ? 0 : shared.size("F") / F,
    first_k_dense_replace: first,
    ...(every === 1 ? {} : { moe_layer_freq: every }),
    norm_topk_prob: sparse.flag("renormalize"),
  };
}

/** The `moe_layer_freq` that gives these layers experts; 1 when none does. */
function frequencyOf(sparseAt: readonly boolean[], first: number): number {
  for (let every = 1; every <= sparseAt.length; every++)
    if (sparseAt.every((sparse, i) => sparse === (i >= first && i % every === 0))) return every;
  return 1;
}

export function groupKeys({ sparse }: Networks): Keys {
  if (sparse === undefined) return {};
  const groups = Math.max(sparse.name === "DeepSeekMoeV1" ? 1 : sparse.size("G"), 1);
  const keep = groups === 1 ? 1 : sparse.number("keep");
  return { n_group: groups, topk_group: keep, routed_scaling_factor: sparse.number("scale") };
}

/** How many tokens the layers see: 0 for all. */
export function windowsOf({ layers }: Parts): readonly number[] {
  return layers.map((layer) => layer.use("mixer")!.number("window"));
}
