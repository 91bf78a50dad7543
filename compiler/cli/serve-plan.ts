/** What a `serve` section says about serving on one machine. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { callAt, numberAt, numberOf } from "../../dsl/semantics/sections/look-up.ts";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import type { Value } from "../../dsl/semantics/sections/types.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { UsageError } from "./io.ts";
import type { LoadedModel } from "./load-model.ts";

export interface ServePlan {
  /** A folder, where the section says one. */
  readonly weights: string | undefined;
  readonly host: string;
  readonly port: number;
  /** Longest prompt and answer together, in tokens. */
  readonly context: number;
  /** Positions of a page of the cache. */
  readonly pageSize: number;
  /** Tokens that the look-ahead modules guess; 0 for no guessing. */
  readonly draftTokens: number;
  readonly temperature: number;
  readonly topP: number;
  /** 0 for all. */
  readonly topK: number;
}

/** The context where nothing says another one. */
const CONTEXT = 4096;

/** The section of that name, the first one without a name, or none. @throws UsageError when there is no such section */
export function serveSection({ decl, serves }: LoadedModel, name: string | undefined): CheckedSection | undefined {
  if (name === undefined) return serves[0];
  const found = serves.find((section) => section.name === name);
  if (found !== undefined) return found;
  const names = serves.map((section) => section.name);
  const help = didYouMean(name, names);
  throw new UsageError(
    `\`${decl.name.text}\` has no serve section \`${name}\`${help === undefined ? "" : `; ${help}`}`,
  );
}

/** The plan of a section; that of no section is what the library's declarations say. `spec` is the path of the file. */
export function servePlan(section: CheckedSection | undefined, spec: string): ServePlan {
  const call = (path: string): ReturnType<typeof callAt> => section && callAt(section.entries, path);
  const number = (path: string, arg: string): number | undefined => numberOf(call(path)?.args.get(arg));
  const host = call("api")?.args.get("host");
  const greedy = call("sample")?.fn === "greedy";
  return {
    weights: section && weightsOf(section, spec),
    host: host?.kind === "text" ? host.value : "127.0.0.1",
    port: number("api", "port") ?? 8000,
    context: (section && numberAt(section.entries, "context")) ?? CONTEXT,
    pageSize: number("kv", "page") ?? 64,
    draftTokens: number("draft", "tokens") ?? 0,
    temperature: greedy ? 0 : (number("sample", "temperature") ?? 1),
    topP: number("sample", "top_p") ?? 1,
    topK: number("sample", "top_k") ?? 0,
  };
}

/** Runs are written where `dskc train` is called; a path may also start at the spec. */
function weightsOf({ entries }: CheckedSection, spec: string): string | undefined {
  const call = callAt(entries, "weights");
  const path = call?.args.get("folder") ?? call?.args.get("repository");
  if (path?.kind !== "text") return undefined;
  const beside = join(dirname(spec), path.value);
  return existsSync(path.value) || !existsSync(beside) ? path.value : beside;
}

/**
 * Whether the model was trained on conversations, by the train sections of its file; a file without any leaves it to the
 * tokenizer.
 */
export function isTrainedToTalk({ trains }: LoadedModel): boolean {
  return trains.length === 0 || trains.some(({ entries }) => readsConversations(entries.get("data")?.value));
}

function readsConversations(data: Value | undefined): boolean {
  if (data?.kind === "sum") return data.terms.some(({ value }) => readsConversations(value));
  if (data?.kind !== "call") return false;
  const parts = data.args.get("parts");
  const inside = parts?.kind === "list" ? parts.items : [];
  return data.fn === "chat" || data.fn === "questions" || inside.some(readsConversations);
}
