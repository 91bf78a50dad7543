/** What an `expect` of a model can name; `compiler/analysis/facts.ts` counts them. */
export const FACT_NAMES = [
  "params.total",
  "params.activated",
  "params.activated_no_input_embedding",
  "params.activated_no_embeddings",
  "params.mtp",
  "params.embedding",
  "cache.values",
  "cache.bytes",
  "flops.forward",
  "flops.train",
  "weights.bytes",
] as const;
export type FactName = (typeof FACT_NAMES)[number];

export function isFact(name: string): name is FactName {
  return (FACT_NAMES as readonly string[]).includes(name);
}
