/** Programs of a model by name, for commands that show one of them. */
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { evaluationProgram, scoreProgram } from "../elaborate/score.ts";
import { draftPrograms, serveProgram } from "../elaborate/serve.ts";
import { masterOf, trainStepProgram } from "../elaborate/train-step.ts";
import type { Program } from "../tensor-ir/types.ts";
import { UsageError } from "./io.ts";
import type { LoadedModel } from "./load-model.ts";
import { trainPlan } from "./train-plan.ts";

/** @throws UsageError from each of them where the model has no such program */
export const PROGRAMS: Readonly<Record<string, (model: LoadedModel, train: CheckedSection | undefined) => Program>> = {
  score: ({ module }) => scoreProgram(module),
  prefill: ({ module }) => serveProgram(module, "prefill"),
  decode: ({ module }) => serveProgram(module, "decode"),
  "draft.1": ({ module }) => {
    const [first] = draftPrograms(module);
    if (first === undefined) throw new UsageError(`${module.name} has no look-ahead module`);
    return first;
  },
  evaluate: ({ module, training }, section) => evaluationProgram(module, masterOf(trainPlan(section, training()))),
  train_step: ({ training }, section) => trainStepProgram(training().module, trainPlan(section, training())),
};

/** The train section of a name, or the first one that starts from text. @throws UsageError where there is none of that name */
export function trainSection({ trains, decl }: LoadedModel, name: string | undefined): CheckedSection | undefined {
  if (name === undefined) return trains.find(({ entries }) => entries.has("loss"));
  const found = trains.find((section) => section.name === name);
  if (found !== undefined) return found;
  const help = didYouMean(
    name,
    trains.map((section) => section.name),
  );
  throw new UsageError(
    `\`${decl.name.text}\` has no train section \`${name}\`${help === undefined ? "" : `; ${help}`}`,
  );
}
