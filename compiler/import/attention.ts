/** Multi-head, multi-query and grouped-query attention. */
import type { Config } from "./config.ts";
import type { AttentionPlan, Dim } from "./plan.ts";
import { ropeOf } from "./rope.ts";
import { type Value, use } from "./text.ts";
import { type WindowRule, windowsOf } from "./windows.ts";

/** What sets an architecture's attention apart, as its modeling code has it. */
export interface GqaNeeds {
  /** Key-value heads without the key; undefined for as many as there are heads. */
  readonly kvHeads?: number;
  /**
   * Head width without the key; undefined for hidden_size / num_attention_heads, `fixed` where the code knows no other
   * width.
   */
  readonly headDim?: number | "fixed";
  readonly theta: number;
  /** Projections with biases: never, on request of `attention_bias` all four or but the output, or always but the output. */
  readonly bias: "none" | "all on request" | "inputs on request" | "inputs";
  /** Norms of queries and keys: per head, over all heads together, or per head on request of `use_qk_norm`. */
  readonly norms: "none" | "heads" | "full" | "heads on request";
  readonly windows: WindowRule;
  /** `partial_rotary_factor` without the key, for architectures that have it. */
  readonly rotary?: number;
}

export function gqaOf(config: Config, needs: GqaNeeds, layers: number, eps: number): AttentionPlan {
  const heads = config.size("num_attention_heads");
  const groups =
    config.take("num_key_value_heads") === null ? heads : config.size("num_key_value_heads", needs.kvHeads ?? heads);
  const why = `does not divide num_attention_heads, ${heads}`;
  config.must(heads % groups === 0, "num_key_value_heads", why, "num_attention_heads");
  const width = headWidth(config, needs.headDim, heads);

  const { rotary, text } = ropeOf(config, { theta: needs.theta, yarn: "angles", rotary: needs.rotary });
  const rotated = rotatedWidth(config, rotary, width);
  const partial = rotated !== width;
  const rope = partial ? use("PartialRope", ["N"], { rope: text("R", true) }) : text("N", true);

  const biased = biasOf(config, needs.bias);
  const norms = normsOf(config, needs.norms, eps);
  const windowAt = windowsOf(config, needs.windows, layers);
  const plain = biased === "Gqa" && norms === undefined && (groups === heads || groups === 1);
  const block = !plain ? biased : groups === heads ? "Mha" : "Mqa";
  const shape = plain ? ["D", "H", "N"] : ["D", "G", "M", "N"];
  const dims: Dim[] = plain
    ? [{ name: "H", size: heads }]
    : [
        { name: "G", size: groups, doc: "key-value heads" },
        { name: "M", size: Math.max(Math.floor(heads / groups), 1), doc: "query heads on each" },
      ];
  dims.push({ name: "N", size: width });
  if (partial) dims.push({ name: "R", size: rotated, doc: "rotated width" });
  return { dims, mixer: (layer) => use(block, shape, { rope, ...norms, window: windowAt(layer) as Value }) };
}

function headWidth(config: Config, fallback: GqaNeeds["headDim"], heads: number): number {
  const hidden = config.size("hidden_size");
  if (typeof fallback === "number") return config.size("head_dim", fallback);
  const given = config.given("head_dim");
  if (given && fallback !== "fixed") return config.size("head_dim");
  config.must(hidden % heads === 0, "num_attention_heads", `does not divide hidden_size, ${hidden}`, "hidden_size");
  const width = Math.max(Math.floor(hidden / heads), 1);
  if (given) config.must(config.size("head_dim") === width, "head_dim", `is not supported; supported: ${width}`);
  return width;
}

/** Rotations turn pairs: the width must be even. */
function rotatedWidth(config: Config, factor: number, width: number): number {
  const rotated = Math.trunc(width * factor);
  if (rotated >= 2 && rotated <= width && rotated % 2 === 0) return rotated;
  const key = factor === 1 ? "head_dim" : "partial_rotary_factor";
  const why = `rotates ${rotated} of ${width} dims of a head; supported: an even number of them`;
  config.must(false, key, why, "hidden_size", "num_attention_heads");
  return width;
}

function biasOf(config: Config, bias: GqaNeeds["bias"]): string {
  if (bias === "inputs") return "BiasedGqa";
  if (bias === "none" || !config.flag("attention_bias", false)) return "Gqa";
  return bias === "all on request" ? "FullyBiasedGqa" : "BiasedGqa";
}

function normsOf(config: Config, norms: GqaNeeds["norms"], eps: number): Record<string, string> | undefined {
  if (norms === "none" || (norms === "heads on request" && !config.flag("use_qk_norm", false))) return undefined;
  if (norms === "full")
    return {
      q_norm: use("HeadsRmsNorm", ["G", "M", "N"], { eps }),
      k_norm: use("KeyHeadsRmsNorm", ["G", "N"], { eps }),
    };
  const norm = use("RmsNorm", ["N"], { eps });
  return { q_norm: norm, k_norm: norm };
}
