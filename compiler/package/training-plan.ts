/** From a checked train section to what the runtime trains with. */
import type { CheckedModel } from "../../dsl/semantics/check.ts";
import type { Entries } from "../../dsl/semantics/sections/entries.ts";
import { callAt, numberAt, numberOf, placeOf, scheduleOf } from "../../dsl/semantics/sections/look-up.ts";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import type { CallValue, Value } from "../../dsl/semantics/sections/types.ts";
import type { TrainingPlan } from "../../runtime/train/plan.ts";
import type { Piece, Schedule } from "../../runtime/train/schedule.ts";
import type { Diagnostics } from "../diagnostics/diagnostic.ts";
import type { Span } from "../diagnostics/source.ts";
import { dataSource } from "./data-source.ts";

/** Entries that change what is trained, and that nothing acts on yet. */
const UNEXECUTED: Readonly<Record<string, string>> = {
  objective: "there is no training from rewards",
  rollout: "there is no training from rewards",
  reward: "there is no training from rewards",
  freeze: "all params are trained",
};

type PlannedModel = Pick<CheckedModel, "module" | "trainNames">;

/**
 * The plan of a sound train section. What the runtime cannot do yet is reported with its place (DSK6902), all of it; then
 * there is no plan.
 */
export function trainingPlan(
  section: CheckedSection,
  model: PlannedModel,
  diagnostics: Diagnostics,
): TrainingPlan | undefined {
  const { plan, refusals } = planOrRefusals(section, model);
  for (const { name, span, why } of refusals) diagnostics.report("DSK6902", span, { name, why });
  return plan;
}

/** What of a sound train section the runtime cannot do yet. */
export function unexecuted(section: CheckedSection, model: PlannedModel): readonly Refusal[] {
  return planOrRefusals(section, model).refusals;
}

interface Refusal {
  /** The path of the entry. */
  readonly name: string;
  readonly span: Span;
  readonly why: string;
}

interface Planned {
  readonly plan: TrainingPlan | undefined;
  readonly refusals: readonly Refusal[];
}

function planOrRefusals(section: CheckedSection, { module, trainNames }: PlannedModel): Planned {
  const { name, entries, decl } = section;
  const refused = new Refusals(entries);
  for (const [path, why] of Object.entries(UNEXECUTED)) if (refused.own(path)) refused.add(path, why);
  if (refused.all.length > 0) return { plan: undefined, refusals: refused.all };
  refusePrecision(entries, refused);
  const data = dataSource(entries.get("data")!.value, (span, why) => refused.at("data", span, why));
  const length = numberAt(entries, "length");
  if (length === undefined) refused.add("length", "it may not change during a training");
  const losses = lossesOf(entries, refused);
  const optimizer = callAt(entries, "optimizer")!;
  const clip = numberOf(optimizer.args.get("clip"));
  if (refused.all.length > 0 || data === undefined || length === undefined) {
    return { plan: undefined, refusals: refused.all };
  }
  const plan: TrainingPlan = {
    format: 1,
    name,
    model: section.model!,
    ...(decl.from === undefined ? {} : { from: decl.from.text }),
    data,
    length,
    batch: batchOf(entries.get("batch")!.value),
    stop: stopOf(entries.get("stop")!.value),
    seed: numberAt(entries, "seed")!,
    scalars: scalarsOf(entries, [...trainNames.keys()], losses),
    losses,
    lookAhead: losses.some((loss) => loss.name === "mtp") ? depthOf(module) : 0,
    optimizer: { name: optimizer.fn, options: Object.fromEntries(optimizerConstants(optimizer)) },
    ...(clip === undefined ? {} : { clip }),
  };
  return { plan, refusals: [] };
}

class Refusals {
  readonly all: Refusal[] = [];
  readonly #entries: Entries;

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  /** Whether the section or its base sets the entry, or something in the group. */
  own(path: string): boolean {
    return [...this.#entries].some(
      ([key, { from }]) => from !== "default" && (key === path || key.startsWith(`${path}.`)),
    );
  }

  add(path: string, why: string): void {
    const within = [...this.#entries.keys()].find((key) => key === path || key.startsWith(`${path}.`))!;
    this.at(path, placeOf(this.#entries, within)!, why);
  }

  at(name: string, span: Span, why: string): void {
    this.all.push({ name, span, why });
  }
}

/** Products in bf16 or f16 are left to the device: more bits are never wrong. */
function refusePrecision(entries: Entries, refused: Refusals): void {
  const gemm = callAt(entries, "precision.gemm");
  const format = gemm?.args.get("format");
  const activations = gemm?.args.get("activations");
  if (format?.kind === "word" && format.name !== "e4m3") refused.add("precision.gemm", "eight-bit numbers are e4m3");
  if (activations?.kind === "call" && numberOf(activations.args.get("rows")) !== 1)
    refused.add("precision.gemm", "tiles of activations have one row");
}

function batchOf(value: Value): TrainingPlan["batch"] {
  const measure = value.kind === "number" || value.kind === "schedule" ? value.measure : undefined;
  return { unit: measure === "tokens" ? "tokens" : "sequences", size: plain(scheduleOf(value)!) };
}

function stopOf(value: Value): TrainingPlan["stop"] {
  if (value.kind !== "number") throw new Error("a training without an end");
  const { measure, value: amount } = value;
  if (measure !== "tokens" && measure !== "steps" && measure !== "epochs") throw new Error(`an end in ${measure}`);
  return { clock: measure, value: amount };
}

function lossesOf(entries: Entries, refused: Refusals): TrainingPlan["losses"] {
  const loss = entries.get("loss")!.value;
  if (loss.kind !== "sum") throw new Error("a training without a loss");
  const terms = loss.terms.flatMap(({ weight, value }) =>
    value.kind === "call" ? [{ factor: weight, call: value }] : [],
  );
  terms.forEach(({ call }, index) => {
    const first = terms.findIndex((other) => other.call.fn === call.fn);
    if (first < index) refused.at("loss", call.span, `\`${call.fn}\` stands in it twice`);
  });
  return terms.map(({ factor, call: { fn, args } }) => {
    const weight = args.get("weight");
    if (weight?.kind !== "schedule") return { name: fn, weight: factor * (numberOf(weight) ?? 1) };
    return { name: fn, weight: scaled(plain(weight.schedule), factor) };
  });
}

/** The inputs of `train_step` that are numbers, but for `step` and `seed`, which count. */
function scalarsOf(
  entries: Entries,
  names: readonly string[],
  losses: TrainingPlan["losses"],
): TrainingPlan["scalars"] {
  const at = (path: string): Schedule => plain(scheduleOf(entries.get(path)!.value)!);
  const scalars: Record<string, Schedule> = { lr: at("lr") };
  for (const name of names) scalars[`train.${name}`] = at(name);
  for (const { name, weight } of losses) if (typeof weight !== "number") scalars[`train.loss.${name}`] = weight;
  return scalars;
}

function depthOf({ root, ahead }: CheckedModel["module"]): number {
  const depths = [...ahead.keys()].map((use) => {
    const target = root.uses.get(use);
    return target?.kind === "ahead" ? target.depth : 0;
  });
  return Math.max(0, ...depths);
}

/** Without keys that are undefined: as JSON gives it back. */
function plain({ by, pieces }: Schedule): Schedule {
  return {
    by,
    pieces: pieces.map(({ until, shape }): Piece => (until === undefined ? { shape } : { until, shape })),
  };
}

function scaled({ by, pieces }: Schedule, factor: number): Schedule {
  const scale = ({ until, shape }: Piece): Piece => ({
    ...(until === undefined ? {} : { until }),
    shape: { ...shape, from: shape.from * factor, to: shape.to * factor },
  });
  return { by, pieces: pieces.map(scale) };
}

/** The constants of an optimizer as its block names them; a list is numbered: `betas` are `beta1` and `beta2`. */
export function optimizerConstants(call: CallValue | undefined): ReadonlyMap<string, number | boolean> {
  const constants = new Map<string, number | boolean>();
  for (const [key, value] of call?.args ?? []) {
    if (key === "clip") continue;
    if (value.kind === "list") value.items.forEach((item, i) => constants.set(`beta${i + 1}`, numberOf(item)!));
    else if (value.kind === "number" || value.kind === "bool") constants.set(key, value.value);
  }
  return constants;
}
