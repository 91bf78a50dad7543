/** What the serve sections of a file say. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { callAt } from "../../dsl/semantics/sections/look-up.ts";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import type { Value } from "../../dsl/semantics/sections/types.ts";
import type { PackageServing } from "../../runtime/serve/plan.ts";
import { cacheFacts } from "../analysis/cache.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import type { CacheForm } from "../lower/stored-weights.ts";
import { servePlan, unserved } from "../package/serve-plan.ts";
import { remark, UsageError } from "./io.ts";
import type { LoadedModel } from "./load-model.ts";

/**
 * What `serve.json` says.
 * @param caches what floats of the caches are stored in
 */
export function packageServing(loaded: LoadedModel, caches: CacheForm | undefined): PackageServing {
  const { module, serves } = loaded;
  const bytes = (ahead: boolean): number => cacheFacts(module, ahead, caches).bytesPerToken;
  return {
    format: 1,
    cacheRowBytes: { own: bytes(false), withDrafts: bytes(true) },
    talks: isTrainedToTalk(loaded),
    plans: serves.map(servePlan),
  };
}

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

/** Says which entries of a section make no difference, those for the same reason together. */
export function remarkUnserved(section: CheckedSection): void {
  const all = unserved(section);
  for (const reason of new Set(all.map(({ why }) => why))) {
    // Of a group, its name.
    const groups = all.filter(({ why }) => why === reason).map(({ name }) => `\`${name.split(".")[0]}\``);
    const names = [...new Set(groups)];
    const verb = names.length === 1 ? "makes" : "make";
    remark(`\`serve ${section.name}\`: ${names.join(" and ")} ${verb} no difference: ${reason}`);
  }
}

/** The folder that a section names. Runs are written where `dskc train` is called; a path may also start at the spec. */
export function weightsOfSection({ entries }: CheckedSection, spec: string): string | undefined {
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
