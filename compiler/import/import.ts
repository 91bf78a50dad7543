/** Hugging Face's config.json as a spec. */
import { formatFile } from "../../dsl/format/format.ts";
import { plain, shown } from "../../runtime/io/json.ts";
import { Diagnostics } from "../diagnostics/diagnostic.ts";
import { type Architecture, ARCHITECTURES } from "./architectures.ts";
import { Config, isObject, type Json } from "./config.ts";
import { takeNeutral } from "./neutral.ts";
import { isTaken, type ModelPlan, specText } from "./spec.ts";

/** More layers than this are a slip, not a model. */
const MOST_LAYERS = 10_000;

const DTYPES: Readonly<Record<string, string>> = { bfloat16: "bf16", float16: "f16", float32: "f32", float64: "f64" };

export type Imported = { readonly text: string } | { readonly problems: readonly string[] };

/**
 * The formatted spec of the model that a config.json describes, or why there is none: each problem names a key, with its
 * value where it has one. A key that is neither read nor known to have no influence is a problem.
 * @param json the parsed file
 * @param name what the model is called: `DeepSeek-V2-Lite` becomes `DeepSeekV2Lite`
 */
export function importConfig(json: unknown, name: string): Imported {
  if (!isObject(json)) return { problems: ["a config.json holds one JSON object"] };
  const type = json["model_type"];
  const known = typeof type === "string" && Object.hasOwn(ARCHITECTURES, type);
  if (!known) return { problems: unknownType(json) };
  const { config, plan } = read(json, type, name);
  if (config.problems.length > 0) return { problems: [...new Set(config.problems)] };
  const path = `${plan.name}.dsk`;
  const text = formatFile({ path, text: specText(plan) }, new Diagnostics());
  if (text === undefined) throw new Error(`the imported spec of ${name} has syntax errors`);
  return { text };
}

/** An architecture that is not there, and the keys that none of those there are knows. */
function unknownType(json: Json): string[] {
  const types = Object.keys(ARCHITECTURES);
  const unread = types.map((type) => new Set(read(json, type, "").unread));
  const unknown = Object.keys(json).filter((key) => unread.every((keys) => keys.has(key)));
  const given = Object.hasOwn(json, "model_type") ? `${shown(json["model_type"])} is not supported` : "is missing";
  return [
    `model_type: ${given}; supported: ${types.join(", ")}`,
    ...unknown.map((key) => `${plain(key)}: ${shown(json[key])} is a key that dskc does not know`),
  ];
}

interface Reading {
  readonly config: Config;
  readonly plan: ModelPlan;
  readonly unread: readonly string[];
}

function read(json: Json, type: string, name: string): Reading {
  const config = new Config(json);
  const architecture = ARCHITECTURES[type]!;
  checkClass(config, architecture);
  const eps = config.positive("rms_norm_eps", architecture.eps);
  const layers = config.size("num_hidden_layers");
  if (layers > MOST_LAYERS) config.wrong("num_hidden_layers", `is not supported; supported: up to ${MOST_LAYERS}`);
  const plan: ModelPlan = {
    name: modelName(name),
    doc: `${name.replace(/\s+/g, " ")}, imported from its config.json (${type}).`,
    vocabulary: config.size("vocab_size"),
    hidden: config.size("hidden_size"),
    layers,
    eps,
    tied: config.flag("tie_word_embeddings", false),
    dtype: dtypeOf(config),
    deviation: config.positive("initializer_range", 0.02),
    checkpoint: architecture.checkpoint,
    attention: architecture.attention(config, layers, eps),
    ffn: architecture.ffn(config),
    ahead: architecture.looksAhead === true ? aheadOf(config) : 0,
  };
  const kinds = Array.from({ length: plan.ahead }, (_, k) => plan.ffn(layers + k));
  const why = "adds modules of different kinds, which is not supported";
  config.must(new Set(kinds).size <= 1, "num_nextn_predict_layers", why, "num_hidden_layers");
  takeNeutral(config);
  const unread = config.unread();
  config.finish();
  return { config, plan, unread };
}

/** A model with another head, or another model's code, is not this architecture. */
function checkClass(config: Config, { classes }: Architecture): void {
  const key = "architectures";
  const given = config.list(key, (item): item is string => typeof item === "string", "class names");
  if (given === undefined || given.length === 0) return;
  if (!given.every((name) => classes.includes(name)))
    config.wrong(key, `is not supported for this model_type; supported: ${classes.join(", ")}`);
}

function aheadOf(config: Config): number {
  const key = "num_nextn_predict_layers";
  if (!config.given(key)) return 0;
  const count = config.count(key);
  if (count <= MOST_LAYERS) return count;
  config.wrong(key, `is not supported; supported: up to ${MOST_LAYERS}`);
  return 0;
}

/** `dtype` in newer files, `torch_dtype` in older ones. */
function dtypeOf(config: Config): string | undefined {
  const keys = ["dtype", "torch_dtype"].filter((key) => config.given(key));
  const found = keys.map((key) => {
    const value = config.take(key);
    if (typeof value === "string" && Object.hasOwn(DTYPES, value)) return DTYPES[value];
    config.wrong(key, `is not supported; supported: ${Object.keys(DTYPES).join(", ")}`);
    return undefined;
  });
  if (found.length === 2 && found[0] !== found[1]) config.wrong("torch_dtype", "contradicts dtype");
  return found[0];
}

/** A name in CamelCase: `glm-4.5-air` is `Glm45Air`. */
function modelName(name: string): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== "");
  const joined = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
  const sound = /^[A-Z]/.test(joined) ? joined : `Model${joined}`;
  return isTaken(sound) ? `${sound}Model` : sound;
}
