/** From a checked serve section to what the runtime serves with. */
import { callAt, numberAt, numberOf, placeOf } from "../../dsl/semantics/sections/look-up.ts";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import type { Span } from "../diagnostics/source.ts";
import { DEFAULT_SERVE_PLAN, type ServePlan } from "../../runtime/serve/plan.ts";

export function servePlan({ name, entries }: CheckedSection): ServePlan {
  const usual = DEFAULT_SERVE_PLAN;
  const number = (path: string, arg: string): number | undefined => numberOf(callAt(entries, path)?.args.get(arg));
  const host = callAt(entries, "api")?.args.get("host");
  const greedy = callAt(entries, "sample")?.fn === "greedy";
  return {
    name,
    host: host?.kind === "text" ? host.value : usual.host,
    port: number("api", "port") ?? usual.port,
    context: numberAt(entries, "context") ?? usual.context,
    pageSize: number("kv", "page") ?? usual.pageSize,
    draftTokens: number("draft", "tokens") ?? usual.draftTokens,
    temperature: greedy ? 0 : (number("sample", "temperature") ?? usual.temperature),
    topP: number("sample", "top_p") ?? usual.topP,
    topK: number("sample", "top_k") ?? usual.topK,
  };
}

/** An entry of a serve section that no server heeds yet: answers do not depend on it. */
export interface Unserved {
  /** The path of the entry. */
  readonly name: string;
  readonly span: Span;
  readonly why: string;
}

/** What a section and its base say in vain. */
export function unserved({ entries }: CheckedSection): readonly Unserved[] {
  const places = [...entries].filter(([name, { from }]) => from !== "default" && /^(prefill|decode)\./.test(name));
  const all = places.map(([name]) => ({ name, why: "one machine serves" }));
  const dtype = callAt(entries, "kv")?.args.get("dtype");
  if (dtype?.kind === "word" && dtype.name === "e4m3")
    all.push({ name: "kv", why: "caches are kept as the model computes them: e4m3 needs scales" });
  return all.map(({ name, why }) => ({ name, span: placeOf(entries, name)!, why }));
}
