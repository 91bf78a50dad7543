/** Multi-head latent attention of DeepSeek-V2 and those after it, and the sparse attention of V3.2. */
import type { Config } from "./config.ts";
import type { AttentionPlan } from "./plan.ts";
import { ropeOf } from "./rope.ts";
import { use } from "./text.ts";

export interface LatentNeeds {
  /** With the indexer of V3.2. */
  readonly sparse: boolean;
}

/** The norms inside always have an eps of 1e-6, as in DeepSeek's code, whatever `rms_norm_eps` says. */
export function latentOf(config: Config, { sparse }: LatentNeeds): AttentionPlan {
  const heads = config.size("num_attention_heads");
  const why = `is not num_attention_heads, ${heads}: latent attention has no key-value heads`;
  const groups = config.given("num_key_value_heads") ? config.size("num_key_value_heads") : heads;
  config.must(groups === heads, "num_key_value_heads", why, "num_attention_heads");
  const direct = config.has("q_lora_rank") && config.take("q_lora_rank") === null;
  const latent = direct ? {} : { Q: config.size("q_lora_rank") };
  const content = config.size("qk_nope_head_dim");
  const rotated = config.size("qk_rope_head_dim");
  config.must(rotated % 2 === 0, "qk_rope_head_dim", "is odd");
  // Derived widths, as newer files store them.
  same(config, "head_dim", rotated);
  same(config, "qk_head_dim", content + rotated);
  const sizes = { ...latent, C: config.size("kv_lora_rank"), N: content, R: rotated, Vh: config.size("v_head_dim") };

  const like = direct ? "DirectMla" : "Mla";
  const base = config.flag("attention_bias", false) ? `Biased${like}` : like;
  const half = !config.flag("rope_interleave", true);
  const rope = ropeOf(config, { theta: 10_000, yarn: "scores" }).text;
  const dims = [{ name: "H", size: heads }];
  // All as in DeepSeek-V3: the block's own rotary width and YaRN.
  if (!sparse && rotated === 64 && rope("R", half) === "YarnRope[R]") {
    const text = use(base, ["D", "H"], sizes, like);
    return { dims, mixer: () => text };
  }

  const args = { ...sizes, R: "R", rope: rope("R", half) };
  dims.push({ name: "R", size: rotated });
  if (!sparse) {
    const text = use(base, ["D", "H"], args, like);
    return { dims, mixer: () => text };
  }
  if (direct) config.wrong("q_lora_rank", "is not supported beside an indexer, which reads the query latent");
  // The indexer turns halves unless it is told otherwise, whatever the attention around it does.
  const index_rope = rope("R", !config.flag("indexer_rope_interleave", false));
  const index = { J: config.size("index_n_heads"), I: config.size("index_head_dim"), keep: config.size("index_topk") };
  config.must(index.I > rotated, "index_head_dim", `is not above qk_rope_head_dim, ${rotated}`, "qk_rope_head_dim");
  const text = use("SparseMla", ["D", "H"], { ...args, ...index, index_rope }, like);
  return { dims, mixer: () => text, declaration: sparseBlock(base) };
}

function same(config: Config, key: string, size: number): void {
  const why = `is not ${size}, which the other widths make`;
  config.must(config.size(key, size) === size, key, why, "qk_nope_head_dim", "qk_rope_head_dim");
}

function sparseBlock(base: string): string {
  return `/// DeepSeek sparse attention (V3.2-Exp report, Eq. 1): a small indexer scores every earlier token, attention sees the best
/// \`keep\`.
block SparseMla[D, H](rope: Block, index_rope: Block, keep: Number = 2_048) extends ${base}[D, H](rope: rope) {
  dim J = 64   /// indexer heads
  dim I = 128  /// indexer width
  param wq_i: [Q, J, I]
  param wk_i: [D, I]
  param w_i: [D, J]
  use k_i_norm = LayerNorm[I]
  cache key_i: [I]

  fn visible(x: [T, D], q_lat: [T, Q], pos: i32[T]) -> bool[T, S] {
    let k_i = key_i.append(index_rope.first(k_i_norm(x @ wk_i), pos))
    let hit[T, S, J] = relu(index_rope.first(q_lat @ wq_i, pos) @ k_i)
    let index[T, S] = hit @ (x @ w_i) * (J * I) ^ -0.5
    return top[S](index, keep, where: causal(pos))
  }
}`;
}
