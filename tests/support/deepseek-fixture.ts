/** The weights of the DeepSeek-V3 fixtures as values of a program, and their batches as its inputs. */
import type { PlacedStore } from "../../compiler/model-ir/places.ts";
import type { Given } from "../../compiler/reference/border.ts";
import type { DimTable } from "../../compiler/tensor-ir/types.ts";
import type { FixtureTensor } from "./fixture.ts";

/** The tensors of a checkpoint by name. */
export type Checkpoint = (name: string) => FixtureTensor;

/** The end of a path, the end of the checkpoint's name, and the order of our dims there; reversed when none is given. */
const NAMES: readonly (readonly [RegExp, string, (readonly number[])?])[] = [
  [/^embed\.weight$/, "model.embed_tokens.weight", [0, 1]],
  [/^head\.weight$/, "lm_head.weight", [0, 1]],
  [/^norm\.weight$/, "model.norm.weight"],
  [/^mtp\.0\.norm\.weight$/, "model.layers.3.shared_head.norm.weight"],
  [/norm_mixer\.weight$/, "input_layernorm.weight"],
  [/norm_ffn\.weight$/, "post_attention_layernorm.weight"],
  [/norm_embed\.weight$/, "enorm.weight"],
  [/norm_hidden\.weight$/, "hnorm.weight"],
  [/join$/, "eh_proj.weight"],
  [/mixer\.q_norm\.weight$/, "self_attn.q_a_layernorm.weight"],
  [/mixer\.kv_norm\.weight$/, "self_attn.kv_a_layernorm.weight"],
  [/mixer\.wq_a$/, "self_attn.q_a_proj.weight"],
  [/mixer\.wq_b$/, "self_attn.q_b_proj.weight", [1, 2, 0]],
  [/mixer\.wkv_a$/, "self_attn.kv_a_proj_with_mqa.weight"],
  [/mixer\.wk_b$/, "self_attn.kv_b_proj.weight", [1, 2, 0]],
  [/mixer\.wv_b$/, "self_attn.kv_b_proj.weight", [1, 2, 0]],
  [/mixer\.wo$/, "self_attn.o_proj.weight", [2, 0, 1]],
  [/ffn\.bias$/, "mlp.gate.e_score_correction_bias"],
  [/ffn\.shared\.(gate|up|down)$/, "mlp.shared_experts.$1_proj.weight"],
  [/ffn\.experts\.(gate|up|down)$/, "mlp.experts.*.$1_proj.weight", [0, 2, 1]],
  [/(?<=\.0\.)ffn\.(gate|up|down)$/, "mlp.$1_proj.weight"],
  [/ffn\.gate$/, "mlp.gate.weight"],
];

/** The values of a store in a checkpoint. */
export function fromCheckpoint({ path, store }: PlacedStore, dims: DimTable, checkpoint: Checkpoint): Given {
  const [pattern, name, order] = NAMES.find(([ending]) => ending.test(path))!;
  const place = path.replace(/^trunk\./, "model.layers.").replace(/^mtp\.0\.(layer\.)?/, "model.layers.3.");
  const full = pattern.source.startsWith("^") ? name : place.replace(pattern, name);
  const routed = full.includes("*");
  const labels = routed ? ["E", ...store.type.dims] : store.type.dims;
  const sizes = labels.map((label) => dims.get(label)!);
  const kept = { dims: (order ?? labels.map((_, i) => labels.length - 1 - i)).map((i) => labels[i]!) };
  if (routed) {
    const experts = Array.from({ length: sizes[0]! }, (_, e) => checkpoint(full.replace("*", `${e}`)).data);
    return { ...kept, data: experts.flat() };
  }
  const { data, shape } = checkpoint(full);
  if (!full.endsWith("kv_b_proj.weight")) return { ...kept, data };
  // Of each head, the rows of the keys come first, then those of the values.
  const [latent, heads, width] = sizes as [number, number, number];
  const rows = shape[0]! / heads;
  const first = path.endsWith("wk_b") ? 0 : rows - width;
  const part = Array.from({ length: heads }, (_, h) =>
    data.slice((h * rows + first) * latent, (h * rows + first + width) * latent),
  );
  return { ...kept, data: part.flat() };
}

/** Whole sequences, one after the other: inputs of `score` and `train_step`. */
export function packed({ data, shape }: FixtureTensor): Map<string, Given> {
  const [, length] = shape as [number, number];
  const at = (ahead: number): number[] => data.map((_, i) => ((i % length) + ahead < length ? data[i + ahead]! : -1));
  return new Map(
    Object.entries({
      tokens: at(0),
      pos: data.map((_, i) => i % length),
      seq: data.map((_, i) => Math.floor(i / length)),
      "target.1": at(1),
      "target.2": at(2),
      "ahead.1": at(1),
    }).map(([name, values]) => [name, { data: values }]),
  );
}
