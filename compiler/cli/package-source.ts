/** From a checked model to its package. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import { loadTokenizer, TOKENIZER_FILES } from "../../runtime/data/tokenizer/load.ts";
import type { Tokenizer } from "../../runtime/data/tokenizer/tokenizer.ts";
import type { ModelStore } from "../../runtime/program/model.ts";
import { DEFAULT_SERVE_PLAN } from "../../runtime/serve/plan.ts";
import type { PackagedTraining, PackageTraining } from "../../runtime/train/plan.ts";
import { scoreProgram } from "../elaborate/score.ts";
import { masterOf } from "../elaborate/train-step.ts";
import type { Module } from "../model-ir/types.ts";
import { type IndexTraining, indexFiles } from "../package/index-file.ts";
import { modelFile } from "../package/model.ts";
import type { PackageSource } from "../package/package.ts";
import { servingPrograms, trainingPrograms } from "../package/programs.ts";
import { trainingPlan, unexecuted } from "../package/training-plan.ts";
import { type StoredForms, storedForms } from "../package/weight-form.ts";
import { stringAttr } from "../tensor-ir/attrs.ts";
import type { Program } from "../tensor-ir/types.ts";
import { InputError } from "./io.ts";
import type { LoadedModel } from "./load-model.ts";
import { tableOf } from "./name-table.ts";
import { packageServing } from "./serve-plan.ts";
import { trainPlan } from "./train-plan.ts";

export interface PackageOptions {
  /** Train sections that become part of it. */
  readonly trains: readonly CheckedSection[];
  /** Whether steps may be made in several calls. */
  readonly splits: boolean;
  /** A folder with tokenizer.json. */
  readonly tokenizer?: string | undefined;
  /** Whether it runs in browsers as well. */
  readonly browser?: boolean;
  /** How weights and caches are stored for answers; as the model declares them when not given. */
  readonly forms?: StoredForms;
}

/** A package with all that a model can do. @throws InputError for a tokenizer that cannot be read */
export function packageSource(
  loaded: LoadedModel,
  { trains, splits, tokenizer, browser = false, forms = storedForms(undefined) }: PackageOptions,
): PackageSource {
  const { module } = loaded;
  const made = trains.map((section) => packagedTraining(loaded, section, splits));
  const model = modelFile(module, tableOf(module));
  const training: PackageTraining = { format: 1, trainings: made.map((one) => one.training) };
  const serving = packageServing(loaded, forms.caches);
  const index = indexFiles({
    model,
    docs: loaded.decl.doc?.split("\n") ?? [],
    dims: sizesOf(module),
    trainings: made.map((one) => one.names),
    serving: serving.plans,
    defaults: serving.plans[0] ?? DEFAULT_SERVE_PLAN,
    tokenizer: tokenizer === undefined ? undefined : tokenizerOf(tokenizer, model.vocabulary),
    browser,
  });
  return {
    programs: [scoreProgram(module), ...servingPrograms(module), ...made.flatMap(({ programs }) => programs)],
    model,
    ...forms,
    files: new Map([
      ["training.json", `${JSON.stringify(training)}\n`],
      ["serve.json", `${JSON.stringify(serving)}\n`],
      ...(tokenizer === undefined ? [] : tokenizerFiles(tokenizer)),
      ...index,
    ]),
  };
}

/** Train sections of a model that can be executed, and why the others cannot. */
export function executable(loaded: LoadedModel): {
  readonly trains: readonly CheckedSection[];
  readonly refused: readonly string[];
} {
  const trains = loaded.trains.filter((section) => unexecuted(section, loaded).length === 0);
  const refused = loaded.trains.flatMap((section) => {
    const [first] = unexecuted(section, loaded);
    return first === undefined ? [] : [`\`train ${section.name}\` is left out: \`${first.name}\`: ${first.why}`];
  });
  return { trains, refused };
}

interface Made {
  readonly training: PackagedTraining;
  readonly programs: readonly Program[];
  readonly names: IndexTraining;
}

/** Its programs have the section before their names. */
function packagedTraining(
  { module, training, diagnostics, trainNames }: LoadedModel,
  section: CheckedSection,
  splits: boolean,
): Made {
  const trained = training();
  const step = trainPlan(section, trained);
  const plan = trainingPlan(section, { module, trainNames }, diagnostics);
  if (plan === undefined) throw new Error(`train ${section.name} cannot be executed`);
  const { programs, transient } = trainingPrograms(module, trained.module, step, splits);
  const nameOf = (name: string): string => `${section.name}.${name}`;
  const base = new Set(modelFile(module).stores.map(({ name }) => name));
  const { stores } = modelFile(trained.module, undefined, step, transient);
  return {
    training: {
      plan,
      programs: Object.fromEntries(programs.map(({ name }) => [name, nameOf(name)])),
      master: masterOf(step),
      stores: stores.filter(({ name }: ModelStore) => !base.has(name)),
    },
    programs: programs.map((program) => ({ ...program, name: nameOf(program.name) })),
    names: { name: section.name, losses: plan.losses.map(({ name }) => name), metrics: metricsOf(programs[0]!) },
  };
}

function metricsOf({ ops }: Program): string[] {
  return ops.flatMap(({ name, attrs }) => (name === "metric.emit" ? [stringAttr(attrs, "name")] : []));
}

/** The model's own dims. */
function sizesOf({ root, dims }: Module): Map<string, number> {
  return new Map(
    [...root.dims].flatMap(([name, label]) => {
      const size = dims.get(label);
      return typeof size === "number" ? [[name, size] as const] : [];
    }),
  );
}

function tokenizerOf(folder: string, vocabulary: number): Tokenizer {
  let tokenizer: Tokenizer;
  try {
    tokenizer = loadTokenizer(folder);
  } catch (error) {
    throw new InputError((error as Error).message);
  }
  if (tokenizer.size <= vocabulary) return tokenizer;
  throw new InputError(`the tokenizer of \`${folder}\` has ${tokenizer.size} tokens, the model ${vocabulary}`);
}

function tokenizerFiles(folder: string): [string, string][] {
  return TOKENIZER_FILES.flatMap((name): [string, string][] => {
    const path = join(folder, name);
    return existsSync(path) ? [[name, readFileSync(path, "utf8")]] : [];
  });
}
