/** Sliding windows: how many tokens each layer sees, itself included; 0 for all. */
import { type Config, isSize } from "./config.ts";

/**
 * `all`: every layer has `sliding_window`, `fallback` without the key. `all on request`: with `use_sliding_window`. `upper`:
 * with it those that `layer_types` names, or those from `max_window_layers` on.
 */
export type WindowRule =
  | { readonly kind: "none" }
  | { readonly kind: "all"; readonly fallback: number }
  | { readonly kind: "all on request" }
  | { readonly kind: "upper"; readonly from: number };

export function windowsOf(config: Config, rule: WindowRule, layers: number): (layer: number) => number {
  if (rule.kind === "none") return () => 0;
  if (rule.kind === "all") {
    const window = windowSize(config, rule.fallback);
    return () => window;
  }
  const slides = config.flag("use_sliding_window", false);
  const size = slides ? windowSize(config, 4096) : (config.take("sliding_window"), 0);
  const types = config.list("layer_types", isLayerType, "full_attention and sliding_attention, one a layer", layers);
  const sliding = types?.includes("sliding_attention") ?? false;
  config.must(!sliding || size > 0, "layer_types", "names sliding layers, but there is no window", "sliding_window");
  if (size === 0 || rule.kind === "all on request") {
    // Where all layers slide, the modeling code reads neither of the two.
    config.take("max_window_layers");
    const plain = types?.includes("full_attention") ?? false;
    config.must(size === 0 || !plain, "layer_types", "is not supported; supported: sliding layers only");
    return () => size;
  }
  const from =
    types === undefined ? config.count("max_window_layers", rule.from) : (config.take("max_window_layers"), 0);
  return (layer) => ((types === undefined ? layer >= from : types[layer] === "sliding_attention") ? size : 0);
}

function windowSize(config: Config, fallback: number): number {
  const value = config.take("sliding_window");
  if (value === undefined) return fallback;
  if (value === null) return 0;
  if (isSize(value)) return value;
  config.wrong("sliding_window", "is no positive whole number");
  return 0;
}

function isLayerType(value: unknown): value is "full_attention" | "sliding_attention" {
  return value === "full_attention" || value === "sliding_attention";
}
