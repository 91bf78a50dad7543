import type { Diagnostics } from "../diagnostics/diagnostic.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import type { Span } from "../diagnostics/source.ts";

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

/** Whether a name is one of them; reports one that is not. */
export function isFact(name: string, at: Span, diagnostics: Diagnostics): name is FactName {
  if ((FACT_NAMES as readonly string[]).includes(name)) return true;
  const help = didYouMean(name, FACT_NAMES) ?? `facts are ${FACT_NAMES.join(", ")}`;
  diagnostics.report("DSK2202", at, { name }, { help });
  return false;
}
