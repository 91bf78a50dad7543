/** How the parameters of the standard library's blocks are called and laid out in the checkpoints of Hugging Face. */

/** A parameter as a program knows it. */
export interface ParamShape {
  /** `trunk.7.mixer.wq_a` */
  readonly path: string;
  /** Sizes in the order of the program's type; of routed experts, their number comes first. */
  readonly sizes: readonly number[];
}

/** Where a parameter stands in a checkpoint. */
export interface Placement {
  /** One tensor, or one for each expert. */
  readonly names: readonly string[];
  /** The param's dims in the order in which a tensor has them, without the dim of the experts. */
  readonly order: readonly number[];
  /** The tensor holds this param as rows `from` to `to` of each of `heads` groups of `of` rows. */
  readonly rows?: { readonly heads: number; readonly from: number; readonly to: number; readonly of: number };
}

/** Pattern of the path, names in checkpoints (the first that exists counts), and how many leading dims are inputs. */
type Rule = readonly [RegExp, readonly string[], number | "as is"];

/** Linear layers are stored as [out, in]: dims of the outputs first. `$1` is the layer, `{e}` the expert. */
const RULES: readonly Rule[] = [
  [/^embed\.weight$/, ["model.embed_tokens.weight"], "as is"],
  [/^head\.weight$/, ["lm_head.weight"], "as is"],
  [/^norm\.weight$/, ["model.norm.weight"], "as is"],
  [/^trunk\.(\d+)\.norm_mixer\.weight$/, ["model.layers.$1.input_layernorm.weight"], "as is"],
  [/^trunk\.(\d+)\.norm_ffn\.weight$/, ["model.layers.$1.post_attention_layernorm.weight"], "as is"],
  [
    /^trunk\.(\d+)\.mixer\.q_norm\.weight$/,
    ["model.layers.$1.self_attn.q_a_layernorm.weight", "model.layers.$1.self_attn.q_norm.weight"],
    "as is",
  ],
  [/^trunk\.(\d+)\.mixer\.k_norm\.weight$/, ["model.layers.$1.self_attn.k_norm.weight"], "as is"],
  [/^trunk\.(\d+)\.mixer\.kv_norm\.weight$/, ["model.layers.$1.self_attn.kv_a_layernorm.weight"], "as is"],
  [/^trunk\.(\d+)\.mixer\.wq_a$/, ["model.layers.$1.self_attn.q_a_proj.weight"], 1],
  [/^trunk\.(\d+)\.mixer\.wq_b$/, ["model.layers.$1.self_attn.q_b_proj.weight"], 1],
  [/^trunk\.(\d+)\.mixer\.wkv_a$/, ["model.layers.$1.self_attn.kv_a_proj_with_mqa.weight"], 1],
  [/^trunk\.(\d+)\.mixer\.(?:wk_b|wv_b)$/, ["model.layers.$1.self_attn.kv_b_proj.weight"], 1],
  [/^trunk\.(\d+)\.mixer\.wq$/, ["model.layers.$1.self_attn.q_proj.weight"], 1],
  [/^trunk\.(\d+)\.mixer\.wk$/, ["model.layers.$1.self_attn.k_proj.weight"], 1],
  [/^trunk\.(\d+)\.mixer\.wv$/, ["model.layers.$1.self_attn.v_proj.weight"], 1],
  [/^trunk\.(\d+)\.mixer\.bq$/, ["model.layers.$1.self_attn.q_proj.bias"], "as is"],
  [/^trunk\.(\d+)\.mixer\.bk$/, ["model.layers.$1.self_attn.k_proj.bias"], "as is"],
  [/^trunk\.(\d+)\.mixer\.bv$/, ["model.layers.$1.self_attn.v_proj.bias"], "as is"],
  [/^trunk\.(\d+)\.mixer\.bq_a$/, ["model.layers.$1.self_attn.q_a_proj.bias"], "as is"],
  [/^trunk\.(\d+)\.mixer\.bkv_a$/, ["model.layers.$1.self_attn.kv_a_proj_with_mqa.bias"], "as is"],
  [/^trunk\.(\d+)\.mixer\.bo$/, ["model.layers.$1.self_attn.o_proj.bias"], "as is"],
  [/^trunk\.(\d+)\.ffn\.bias$/, ["model.layers.$1.mlp.gate.e_score_correction_bias"], "as is"],
  // A gate is a projection of a dense layer, or the router of a mixture.
  [
    /^trunk\.(\d+)\.ffn\.gate$/,
    [
      "model.layers.$1.mlp.gate_proj.weight",
      "model.layers.$1.mlp.gate.weight",
      "model.layers.$1.block_sparse_moe.gate.weight",
    ],
    1,
  ],
  [/^trunk\.(\d+)\.ffn\.(up|down)$/, ["model.layers.$1.mlp.$2_proj.weight"], 1],
  [/^trunk\.(\d+)\.ffn\.(gate|up|down)_b$/, ["model.layers.$1.mlp.$2_proj.bias"], "as is"],
  [/^trunk\.(\d+)\.ffn\.shared\.(gate|up|down)$/, ["model.layers.$1.mlp.shared_experts.$2_proj.weight"], 1],
  [
    /^trunk\.(\d+)\.ffn\.experts\.gate$/,
    ["model.layers.$1.mlp.experts.{e}.gate_proj.weight", "model.layers.$1.block_sparse_moe.experts.{e}.w1.weight"],
    1,
  ],
  [
    /^trunk\.(\d+)\.ffn\.experts\.up$/,
    ["model.layers.$1.mlp.experts.{e}.up_proj.weight", "model.layers.$1.block_sparse_moe.experts.{e}.w3.weight"],
    1,
  ],
  [
    /^trunk\.(\d+)\.ffn\.experts\.down$/,
    ["model.layers.$1.mlp.experts.{e}.down_proj.weight", "model.layers.$1.block_sparse_moe.experts.{e}.w2.weight"],
    1,
  ],
];

/** The output projection sums over heads and their width: all dims but the last are inputs. */
const OUTPUT = /^trunk\.(\d+)\.mixer\.wo$/;

/** Where a parameter stands among the tensors that a checkpoint has; the names that were tried when it has none. */
export function placeParam(
  { path, sizes }: ParamShape,
  shapeOf: (name: string) => readonly number[] | undefined,
): Placement | { readonly tried: readonly string[] } {
  const output = OUTPUT.exec(path);
  const rule: Rule | undefined =
    output === null
      ? RULES.find(([pattern]) => pattern.test(path))
      : [OUTPUT, ["model.layers.$1.self_attn.o_proj.weight"], sizes.length - 1];
  if (rule === undefined) return { tried: [] };
  const [pattern, templates, inputs] = rule;
  const tried = templates.map((template) => path.replace(pattern, template));
  const template = tried.find((name) => shapeOf(name.replace("{e}", "0")) !== undefined);
  if (template === undefined) return { tried };
  const routed = template.includes("{e}");
  const rank = sizes.length - (routed ? 1 : 0);
  const dims = Array.from({ length: rank }, (_, i) => i);
  const order = inputs === "as is" ? dims : [...dims.slice(inputs), ...dims.slice(0, inputs)];
  if (routed) return { names: Array.from({ length: sizes[0]! }, (_, e) => template.replace("{e}", `${e}`)), order };
  if (!template.endsWith("kv_b_proj.weight")) return { names: [template], order };
  // Of each head, the rows of the keys come first, then those of the values.
  const [, heads, width] = sizes as [number, number, number];
  const of = shapeOf(template)![0]! / heads;
  const from = path.endsWith("wk_b") ? 0 : of - width;
  return { names: [template], order, rows: { heads, from, to: from + width, of } };
}
