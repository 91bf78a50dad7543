/** Feed-forward networks: dense, and mixtures of experts. */
import { type Config, isSize } from "./config.ts";
import type { FfnPlan } from "./plan.ts";
import { use } from "./text.ts";

/** A dense network of the width `intermediate_size`. */
export function denseOf(config: Config, biased = false): string {
  const width = config.size("intermediate_size");
  const act = config.choice("hidden_act", ["silu", "swish", "gelu"], "silu");
  if (act !== "gelu") return use(biased ? "BiasedSwiGlu" : "SwiGlu", ["D", width]);
  config.must(!biased, "mlp_bias", "is not supported beside hidden_act gelu");
  return use("GeGlu", ["D", width]);
}

/** Experts have only one activation. */
function gated(config: Config): void {
  config.choice("hidden_act", ["silu", "swish"], "silu");
}

/** How many experts a token visits, of how many. */
function routing(config: Config, experts: string): { E: number; K: number } {
  const E = config.size(experts);
  const K = config.size("num_experts_per_tok");
  config.must(K <= E, "num_experts_per_tok", `is more than ${experts}, ${E}`, experts);
  return { E, K };
}

/** The experts of Mixtral (`num_local_experts`) and OLMoE (`num_experts`), in every layer. */
export function softmaxMoeOf(config: Config, experts: string, renormalize: boolean): FfnPlan {
  gated(config);
  const { E, K } = routing(config, experts);
  const text = use("SoftmaxMoe", ["D"], { E, F: config.size("intermediate_size"), K, renormalize });
  return () => text;
}

/**
 * Qwen3-MoE: layer i has experts when it is not in `mlp_only_layers` and i + 1 is a multiple of `decoder_sparse_step`.
 * Newer versions of transformers write the number of experts under the name that Mixtral has for it.
 */
export function qwen3MoeOf(config: Config): FfnPlan {
  const step = config.size("decoder_sparse_step", 1);
  const plain = new Set(config.list("mlp_only_layers", isLayer, "layers"));
  const experts = config.has("num_local_experts") && !config.has("num_experts") ? "num_local_experts" : "num_experts";
  const any = config.count(experts) > 0;
  const dense = !any || step > 1 || plain.size > 0 ? denseOf(config) : (config.take("intermediate_size"), "");
  if (!any) {
    for (const key of ["num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob"]) config.take(key);
    return () => dense;
  }
  gated(config);
  const renormalize = config.flag("norm_topk_prob", false);
  const { E, K } = routing(config, experts);
  const sparse = use("SoftmaxMoe", ["D"], { E, F: config.size("moe_intermediate_size"), K, renormalize });
  return (layer) => (!plain.has(layer) && (layer + 1) % step === 0 ? sparse : dense);
}

function isLayer(value: unknown): value is number {
  return value === 0 || isSize(value);
}

/**
 * The DeepSeek line: layer i has experts from `first_k_dense_replace` on when it is a multiple of `moe_layer_freq`, a key
 * that GLM's code does not read. The layers of look-ahead modules count on from the last layer.
 * @param first `first_k_dense_replace` without the key; undefined when it must be there
 */
export function deepSeekOf(config: Config, router: Router, first: number | undefined, frequency = true): FfnPlan {
  const dense = denseOf(config);
  const from = config.count("first_k_dense_replace", first);
  const every = frequency ? config.size("moe_layer_freq", 1) : 1;
  if (config.take("n_routed_experts") === null) {
    for (const key of UNUSED_WITHOUT_EXPERTS) config.take(key);
    return () => dense;
  }
  gated(config);
  const sparse = router(config);
  return (layer) => (layer >= from && layer % every === 0 ? sparse : dense);
}

const UNUSED_WITHOUT_EXPERTS = [
  "moe_intermediate_size",
  "n_group",
  "n_shared_experts",
  "norm_topk_prob",
  "num_experts_per_tok",
  "routed_scaling_factor",
  "scoring_func",
  "topk_group",
  "topk_method",
];

/** The block of the layers with experts. */
export type Router = (config: Config) => string;

interface Experts {
  readonly E: number;
  readonly F: number;
  readonly K: number;
  /** The width of the shared experts together; none without. */
  readonly Fs: number | undefined;
}

/** @param shared `n_shared_experts` without the key; undefined where it must be there: DeepSeek's code and transformers differ for V2 */
function expertsOf(config: Config, shared: number | undefined): Experts {
  const { E, K } = routing(config, "n_routed_experts");
  const F = config.size("moe_intermediate_size");
  const count = config.take("n_shared_experts") === null ? 0 : config.count("n_shared_experts", shared);
  const why = `is too much: ${count} times moe_intermediate_size, ${F}`;
  config.must(Number.isSafeInteger(count * F), "n_shared_experts", why, "moe_intermediate_size");
  return { E, F, K, Fs: count === 0 ? undefined : count * F };
}

interface Groups {
  readonly G: number;
  /** The groups that a token reaches. */
  readonly keep: number;
}

function groupsOf(config: Config, { E, K }: Experts, fallback: Partial<Groups>): Groups {
  const G = config.size("n_group", fallback.G);
  const keep = config.size("topk_group", fallback.keep);
  config.must(E % G === 0, "n_group", `does not divide n_routed_experts, ${E}`, "n_routed_experts");
  config.must(keep <= G, "topk_group", `is more than n_group, ${G}`, "n_group");
  const open = (E / G) * keep;
  const why = `leaves ${open} experts, fewer than num_experts_per_tok, ${K}`;
  config.must(open >= K, "topk_group", why, "n_group", "n_routed_experts", "num_experts_per_tok");
  return { G, keep };
}

/**
 * DeepSeek-V3's router: sigmoid, a bias that steers the choice, groups ranked by their two best experts.
 * @param defaults of keys that may be missing
 */
export function noAuxRouter(defaults: Partial<Groups & { readonly scale: number }>): Router {
  return (config) => {
    config.choice("scoring_func", ["sigmoid"], "sigmoid");
    config.choice("topk_method", ["noaux_tc"], "noaux_tc");
    const experts = expertsOf(config, 1);
    const { E, F, K, Fs } = experts;
    const { G, keep } = groupsOf(config, experts, defaults);
    // A group is ranked by its two best experts.
    config.must(E >= 2 * G, "n_group", "leaves fewer than two experts to a group", "n_routed_experts");
    const scale = config.number("routed_scaling_factor", defaults.scale);
    const renormalize = config.flag("norm_topk_prob", true);
    if (Fs === undefined) return use("DeepSeekRoutedMoe", ["D"], { E, F, K, G, keep, scale, renormalize });
    const shared = Fs === F ? {} : { Fs };
    return use("DeepSeekMoe", ["D"], { E, F, K, G, ...shared, keep, scale, renormalize });
  };
}

/** DeepSeek-V2's router: softmax, groups ranked by their best expert; probabilities are renormalized or scaled, not both. */
export const softmaxRouter: Router = (config) => {
  config.choice("scoring_func", ["softmax"], "softmax");
  const limited = config.choice("topk_method", ["greedy", "group_limited_greedy"], "greedy") === "group_limited_greedy";
  const experts = expertsOf(config, undefined);
  const scale = config.number("routed_scaling_factor", 1);
  if (!limited) {
    config.take("n_group");
    config.take("topk_group");
  }
  const groups = limited ? groupsOf(config, experts, { G: 1, keep: 1 }) : { G: 1, keep: 1 };
  return softmaxBlock(config, experts, groups, scale);
};

/** DeepSeekMoE's router: no groups, no scale. */
export const plainRouter: Router = (config) => {
  config.choice("scoring_func", ["softmax"], "softmax");
  return softmaxBlock(config, expertsOf(config, 0), { G: 1, keep: 1 }, 1);
};

function softmaxBlock(config: Config, { E, F, K, Fs }: Experts, { G, keep }: Groups, scale: number): string {
  // One expert is never renormalized: its weight would always be 1.
  const renormalize = config.flag("norm_topk_prob", false) && K > 1;
  if (Fs === undefined) return use("DeepSeekRoutedMoeV2", ["D"], { E, F, K, G, keep, scale, renormalize });
  const shared = Fs === 2 * F ? {} : { Fs };
  if (G === 1) return use("DeepSeekMoeV1", ["D"], { E, F, K, ...shared, scale, renormalize });
  return use("DeepSeekMoeV2", ["D"], { E, F, K, G, ...shared, keep, scale, renormalize });
}
