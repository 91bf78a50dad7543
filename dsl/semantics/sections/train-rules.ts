/** What a train section must fulfil as a whole. */
import type { Span } from "../../../compiler/diagnostics/source.ts";
import type { Context } from "./context.ts";
import type { Entries } from "./entries.ts";
import { callAt, numberAt, numberOf, placeOf } from "./look-up.ts";
import type { CheckedSection } from "./sections.ts";
import type { CallValue, Value } from "./types.ts";

/** What a train section must set, depending on the way it trains. */
export function trainNeeds(entries: Entries): readonly string[] {
  // Which way it trains is not known.
  if (entries.get("objective")?.value.kind === "error") return [];
  return entries.has("objective") ? ["prompts", "rollout", "reward"] : ["length", "batch", "loss"];
}

export function checkTrain(c: Context, section: CheckedSection): void {
  const { entries } = section;
  checkUseless(c, entries);
  if (section.complete) checkReads(c, section);
  checkLosses(c, entries);
  checkShares(c, entries.get("data")?.value);
  checkRollout(c, entries);
  checkStop(c, entries);
}

/** Entries that only the other way to train looks at. */
function checkUseless(c: Context, entries: Entries): void {
  if (entries.get("objective")?.value.kind === "error") return;
  const rewards = entries.has("objective");
  const why = rewards ? "beside an objective" : "without an objective";
  for (const name of rewards ? ["loss", "batch"] : ["prompts", "reward", "reference"]) {
    const entry = entries.get(name);
    if (entry?.from === "own") c.diagnostics.report("DSK6206", entry.span, { name, why });
  }
}

/** Values that bodies of the model read, such as `train.balance_rate`. */
function checkReads(c: Context, { decl, name, entries }: CheckedSection): void {
  const missing = [...(c.model?.trainNames ?? [])].filter(([key]) => !entries.has(key));
  if (missing.length === 0) return;
  const secondary = missing
    .filter(([, span]) => !span.file.path.startsWith("std/"))
    .map(([, span]) => ({ span, text: "read here" }));
  c.diagnostics.report(
    "DSK6203",
    decl.name.span,
    { model: c.model!.module.name, section: name, names: missing.map(([key]) => key) },
    { secondary, help: missing.map(([key]) => `\`${key} = 1e-3\``).join(", ") },
  );
}

function checkLosses(c: Context, entries: Entries): void {
  const loss = entries.get("loss");
  if (loss?.value.kind !== "sum" || loss.from !== "own" || c.model === undefined) return;
  const { module } = c.model;
  for (const { value } of loss.value.terms) {
    if (value.kind !== "call" || value.fn !== "mtp" || module.ahead.size > 0) continue;
    const help = "`use mtp = predict_ahead(depth: 1, with: ..., shares: [embed, head])` in the model";
    c.diagnostics.report("DSK6202", value.span, { model: module.name, what: "`mtp` has no loss" }, { help });
  }
}

function checkShares(c: Context, data: Value | undefined): void {
  if (data?.kind !== "call" || data.fn !== "mixture") return;
  const parts = data.args.get("parts");
  if (parts?.kind !== "list") return;
  const weights = parts.items.flatMap((part) => (part.kind === "sum" ? part.terms.map((term) => term.weight) : []));
  const sum = weights.reduce((a, b) => a + b, 0);
  if (Math.abs(sum - 1) > 1e-6) c.diagnostics.report("DSK6207", data.span, { sum: String(Number(sum.toFixed(6))) });
}

/** Answers of a rollout: `prompts` questions with `group` answers each, for every mini-batch. */
function checkRollout(c: Context, entries: Entries): void {
  const objective = callAt(entries, "objective");
  const count = numberAt(entries, "rollout.count");
  const minibatches = numberAt(entries, "rollout.minibatches");
  if (objective === undefined) return;
  checkClip(c, objective);
  const group = numberOf(objective.args.get("group"));
  if (group === 1) {
    const at = objective.args.get("group")!.span;
    c.diagnostics.report("DSK6205", at, { what: "the group", expected: "2 at least, to compare answers", found: "1" });
  }
  const prompts = numberAt(entries, "prompts");
  if (count === undefined || minibatches === undefined) return;
  if (prompts !== undefined && group !== undefined && prompts * group * minibatches !== count) {
    const expected = `${prompts * group * minibatches}: ${prompts} prompts x ${group} answers x ${minibatches} mini-batches`;
    const at = placeOf(entries, "rollout.count")!;
    c.diagnostics.report("DSK6205", at, { what: "`rollout.count`", expected, found: String(count) });
  }
}

function checkClip(c: Context, objective: CallValue): void {
  const clip = objective.args.get("clip");
  if (clip?.kind === "list" && clip.items.length !== 2) {
    const found = `a list of ${clip.items.length}`;
    c.diagnostics.report("DSK6205", clip.span, {
      what: "`clip`",
      expected: "one bound, or a lower and an upper one",
      found,
    });
  }
}

/** A schedule that changes after the end of the training never does. */
function checkStop(c: Context, entries: Entries): void {
  const stop = entries.get("stop")?.value;
  if (stop?.kind !== "number") return;
  for (const { value, from } of entries.values()) {
    if (from !== "own" || value.kind !== "schedule") continue;
    const late = value.schedule.pieces.find(({ until }) => until?.clock === stop.measure && until!.value > stop.value);
    if (late === undefined) continue;
    const text = (span: Span): string => span.file.text.slice(span.start, span.end);
    const boundary = `a change at ${late.until!.value.toLocaleString("en-US")} ${late.until!.clock}`;
    c.diagnostics.report(
      "DSK6106",
      value.span,
      { boundary, stop: text(stop.span) },
      {
        secondary: [{ span: stop.span, text: "the end" }],
      },
    );
  }
}
