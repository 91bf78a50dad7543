/** Writes the package of a model, or tells what is another one on disk. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import { tokenizerBeside } from "../../runtime/data/tokenizer/load.ts";
import { keptBy } from "../../runtime/device/stores.ts";
import { asideOf } from "../../runtime/io/replace-file.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { WEIGHTS } from "../../runtime/package/read.ts";
import { ANSWERING } from "../../runtime/package/source.ts";
import type { PackagePrograms } from "../../runtime/program/launch.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import type { Fusion } from "../lower/fusions.ts";
import type { WeightForm } from "../lower/stored-weights.ts";
import { packageFiles, type Target, writeFiles } from "../package/package.ts";
import { trainingPlan } from "../package/training-plan.ts";
import { storedForms } from "../package/weight-form.ts";
import { writeShardIndex } from "../package/shard-index.ts";
import { writeWeights } from "../package/weights.ts";
import { InputError, remark, ticking, writing } from "./io.ts";
import type { LoadedModel } from "./load-model.ts";
import { compiled, compiledCubins } from "./open-session.ts";
import { executable, packageSource } from "./package-source.ts";
import { report } from "./report.ts";
import { remarkUnserved } from "./serve-plan.ts";

export interface WriteOptions {
  readonly out?: string;
  readonly check?: boolean;
  /** The only train section; all that can be executed without it. */
  readonly train?: string;
  readonly tokenizer?: string;
  readonly weights?: string;
  readonly splitSteps?: boolean;
  readonly without?: readonly Fusion[];
  readonly store?: WeightForm;
  readonly target: readonly Target[];
}

export async function writePackage(loaded: LoadedModel, options: WriteOptions): Promise<void> {
  const directory = options.out ?? `${loaded.module.name.toLowerCase()}-package`;
  const trains = trainsOf(loaded, options.train);
  if (trains === undefined) return;
  const source = packageSource(loaded, {
    trains,
    splits: options.splitSteps ?? false,
    tokenizer: options.tokenizer ?? tokenizerBeside(options.weights),
    browser: options.target.includes("webgpu"),
    forms: storedForms(loaded.serves[0], options.store),
  });
  const files = packageFiles({
    ...source,
    targets: options.target,
    lower: { without: new Set(options.without ?? []) },
  });
  if (options.check === true) return check(directory, files);
  for (const section of loaded.serves) remarkUnserved(section);
  const write = (): void => {
    for (const path of leftOver(directory, files)) rmSync(join(directory, path));
    writeFiles(directory, files);
  };
  if (options.weights === undefined) writing(directory, write);
  else withWeights(resolve(directory), { files, model: source.model, weights: options.weights }, write);
  if (options.target.includes("cpu")) await compiled(directory);
  if (options.target.includes("cuda")) await compiledCubins(directory);
  remark(`wrote ${files.size} files to \`${directory}\``);
}

/** Undefined for a section that was asked for and cannot be executed, which is reported. */
function trainsOf(loaded: LoadedModel, name: string | undefined): readonly CheckedSection[] | undefined {
  const { trains, refused } = executable(loaded);
  if (name === undefined) {
    for (const why of refused) remark(why);
    return trains;
  }
  const chosen = loaded.trains.find((section) => section.name === name)!;
  if (trains.includes(chosen)) return [chosen];
  trainingPlan(chosen, loaded, loaded.diagnostics);
  report(loaded.diagnostics.all);
  return undefined;
}

/** @throws InputError that names what differs */
function check(directory: string, files: ReadonlyMap<string, string>): void {
  const changed = [
    ...[...files].flatMap(([path, text]) => {
      const file = join(directory, path);
      if (!existsSync(file)) return [`${path} is missing`];
      return readFileSync(file, "utf8") === text ? [] : [`${path} differs`];
    }),
    ...leftOver(directory, files).map((path) => `${path} belongs to no kernel`),
  ];
  if (changed.length === 0) return;
  const shown = changed.slice(0, 20).map((line) => `  ${line}`);
  const more = changed.length > 20 ? [`  and ${changed.length - 20} more`] : [];
  throw new InputError([`\`${directory}\` is not what the spec gives:`, ...shown, ...more].join("\n"));
}

/** Kernels that the package does not have any more: sources would be compiled with the others, libraries loaded. */
function leftOver(directory: string, files: ReadonlyMap<string, string>): string[] {
  const kernels = join(directory, "kernels");
  if (!existsSync(kernels)) return [];
  const compiles = [...files.keys()].some((path) => path.endsWith(".cc"));
  const own = compiles ? /\.(cc|h|wgsl|json|cuh?)$/ : /\.(cc|h|wgsl|json|cuh?|so)$/;
  return readdirSync(kernels, { recursive: true, encoding: "utf8" })
    .filter((name) => own.test(name) && !files.has(`kernels/${name}`))
    .map((name) => `kernels/${name}`);
}

/** Makes weights beside a package before anything else is written: bad ones leave everything as it was. */
function withWeights(directory: string, source: MadeFrom, write: () => void): void {
  const { programs } = JSON.parse(source.files.get("program.json")!) as PackagePrograms;
  const { stores } = keptBy(programs.filter(({ name }) => ANSWERING.test(name)));
  const made: string[] = [];
  try {
    writing(directory, () => {
      const first = mkdirSync(dirname(directory), { recursive: true });
      if (first !== undefined) made.push(first);
      const aside = asideOf(directory);
      made.push(aside);
      writeWeights(aside, source.model, stores, source.weights, ticking());
      writeShardIndex(aside);
      write();
      rmSync(join(directory, WEIGHTS), { recursive: true, force: true });
      renameSync(aside, join(directory, WEIGHTS));
    });
  } catch (error) {
    for (const path of made) rmSync(path, { recursive: true, force: true });
    throw error instanceof CheckpointError ? new InputError(error.message) : error;
  }
}

interface MadeFrom {
  readonly files: ReadonlyMap<string, string>;
  readonly model: ModelFile;
  /** A checkpoint or a run. */
  readonly weights: string;
}
