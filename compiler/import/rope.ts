/** `rope_theta`, `rope_scaling` and, in newer files, `rope_parameters`: rotary positions. */
import type { Config } from "./config.ts";
import { use, type Value } from "./text.ts";

const TYPES = ["default", "linear", "llama3", "yarn"] as const;

export interface RopeNeeds {
  /** `rope_theta` of the architecture's configuration class. */
  readonly theta: number;
  /**
   * How YaRN stretches attention. `scores`: as DeepSeek's code does, cos and sin by mscale over mscale_all_dim, scores by the
   * square of the latter. `angles`: as transformers does for attention that leaves scores alone.
   */
  readonly yarn: "scores" | "angles";
  /** `partial_rotary_factor` without the key, for architectures that have it. */
  readonly rotary?: number | undefined;
}

export interface RopePlan {
  /** The share of a head that turns. */
  readonly rotary: number;
  /** The block as spec text. `half`: pairs are (i, i + R/2), otherwise neighbors. */
  readonly text: (dim: string, half: boolean) => string;
}

export function ropeOf(config: Config, needs: RopeNeeds): RopePlan {
  const scaling = config.object("rope_scaling");
  const parameters = config.object("rope_parameters");
  if (scaling !== undefined && parameters !== undefined) config.wrong("rope_scaling", "stands beside rope_parameters");
  const from = parameters ?? scaling;
  const theta = eitherPlace(config, from, "rope_theta", needs.theta);
  const rotary = needs.rotary === undefined ? 1 : eitherPlace(config, from, "partial_rotary_factor", needs.rotary);
  const [block, args] = from === undefined ? ["Rope", {}] : scaled(config, from, needs.yarn);
  from?.finish();
  return { rotary, text: (dim, half) => use(block, [dim], { theta, ...args, half }) };
}

/** Older files have the key outside, newer ones in `rope_parameters`. */
function eitherPlace(config: Config, from: Config | undefined, key: string, fallback: number): number {
  const outer = config.positive(key, fallback);
  const value = from?.positive(key, outer) ?? outer;
  config.must(value === outer || !config.has(key), key, `contradicts ${value} of rope_parameters`);
  return value;
}

function scaled(config: Config, from: Config, yarn: RopeNeeds["yarn"]): [string, Record<string, Value>] {
  switch (typeOf(from)) {
    case "default":
      return ["Rope", {}];
    case "linear":
      return ["LinearRope", { factor: from.positive("factor") }];
    case "llama3":
      return ["Llama3Rope", llama3(from)];
    case "yarn": {
      const trained = trainedLength(config, from, yarn);
      const scales = yarn === "scores" ? scoreScales(from) : angleScales(from);
      return ["YarnRope", { factor: from.positive("factor"), trained, ...ramp(from), ...scales }];
    }
  }
}

/** Older files say `type`, newer ones `rope_type`, some both. */
function typeOf(from: Config): (typeof TYPES)[number] {
  const old = from.choice("type", TYPES, "default");
  const type = from.choice("rope_type", TYPES, old);
  from.must(type === old || !from.has("type"), "type", `contradicts rope_type ${type}`, "rope_type");
  if (!from.has("type") && !from.has("rope_type") && from.has("factor")) from.wrong("rope_type", "is missing");
  return type;
}

function llama3(from: Config): Record<string, Value> {
  const low = from.positive("low_freq_factor");
  const high = from.positive("high_freq_factor");
  from.must(high > low, "high_freq_factor", `is not above low_freq_factor, ${low}`, "low_freq_factor");
  return { factor: from.positive("factor"), low, high, trained: from.size("original_max_position_embeddings") };
}

/** The length before the extension. Without the key, DeepSeek's code takes 4096, transformers the model's whole length. */
function trainedLength(config: Config, from: Config, yarn: RopeNeeds["yarn"]): number {
  const key = "original_max_position_embeddings";
  if (from.has(key) || yarn === "scores") return from.size(key, 4096);
  return config.size("max_position_embeddings");
}

function ramp(from: Config): Record<string, Value> {
  from.must(from.flag("truncate", true), "truncate", "is not supported; supported: true");
  return { beta_fast: from.positive("beta_fast", 32), beta_slow: from.positive("beta_slow", 1) };
}

function scoreScales(from: Config): Record<string, Value> {
  return { mscale: from.number("mscale", 1), mscale_all: from.number("mscale_all_dim", 0) };
}

/** transformers' `attention_factor`: given, or the ratio of both mscales, or YaRN's own number where one of them is 0. */
function angleScales(from: Config): Record<string, Value> {
  const mscale = from.number("mscale", 0);
  const mscaleAll = from.number("mscale_all_dim", 0);
  if (from.has("attention_factor") && from.take("attention_factor") !== null) {
    const wanted = from.positive("attention_factor");
    const factor = from.positive("factor");
    if (factor > 1) return { mscale: mscaleOf(wanted, factor), mscale_all: 0 };
    if (wanted !== 1) from.wrong("attention_factor", "is not supported beside a factor of at most 1; supported: 1");
  } else from.take("attention_factor");
  return mscale !== 0 && mscaleAll !== 0 ? { mscale, mscale_all: mscaleAll } : { mscale: 1, mscale_all: 0 };
}

/** The shortest m with 0.1 m ln(factor) + 1 = amplitude, to the last bit: export turns it back into the same amplitude. */
function mscaleOf(amplitude: number, factor: number): number {
  const exact = (amplitude - 1) / (0.1 * Math.log(factor));
  for (let digits = 1; digits < 17; digits++) {
    const short = Number(exact.toPrecision(digits));
    if (0.1 * short * Math.log(factor) + 1 === amplitude) return short;
  }
  return exact;
}
