/** `dskc build FILE --emit FORM`: the forms that a model takes on its way. */
import { type Command, Option } from "commander";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import { parseFile } from "../../dsl/syntax/parse.ts";
import { printAst } from "../../dsl/syntax/print-ast.ts";
import { Diagnostics } from "../diagnostics/diagnostic.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { scoreProgram } from "../elaborate/score.ts";
import { draftPrograms, serveProgram } from "../elaborate/serve.ts";
import { trainStepProgram } from "../elaborate/train-step.ts";
import { printModule } from "../model-ir/print.ts";
import { PIPELINE, runPasses } from "../passes/pipeline.ts";
import { printProgram } from "../tensor-ir/print.ts";
import type { Program } from "../tensor-ir/types.ts";
import { readSpec } from "./config-json.ts";
import { examples, print, UsageError } from "./io.ts";
import { loadModel, type LoadedModel } from "./load-model.ts";
import { report } from "./report.ts";
import { trainPlan } from "./train-plan.ts";
import { unifiedDiff } from "./unified-diff.ts";

const FORMS = ["ast", "model", "tensor"] as const;

/** Programs of a module by name. */
const PROGRAMS: Readonly<Record<string, (model: LoadedModel, train: CheckedSection | undefined) => Program>> = {
  score: ({ module }) => scoreProgram(module),
  prefill: ({ module }) => serveProgram(module, "prefill"),
  decode: ({ module }) => serveProgram(module, "decode"),
  "draft.1": ({ module }) => {
    const [first] = draftPrograms(module);
    if (first === undefined) throw new UsageError(`${module.name} has no look-ahead module`);
    return first;
  },
  train_step: ({ training }, section) => trainStepProgram(training().module, trainPlan(section, training())),
};

interface Options {
  readonly emit: (typeof FORMS)[number];
  readonly model?: string;
  readonly program: string;
  readonly train?: string;
  readonly after?: string;
  readonly diff?: boolean;
}

export function register(command: Command): void {
  command
    .argument("<file>", "a spec, or a config.json of Hugging Face")
    .addOption(new Option("--emit <form>", "the form to print").choices(FORMS).makeOptionMandatory())
    .option("--model <name>", "the model of the file; the first one without this")
    .addOption(
      new Option("--program <name>", "the program of `--emit tensor`").choices(Object.keys(PROGRAMS)).default("score"),
    )
    .option("--train <name>", "the train section of `train_step`; the first one of the model without this")
    .option("--after <pass>", "the program after this pass; without this, before all of them")
    .option("--diff", "what the pass of --after changes")
    .action(run);
  examples(
    command,
    ["dskc build model.dsk --emit model", "the blocks and functions of a model"],
    ["dskc build model.dsk --emit tensor --program decode", "one step of generation"],
    ["dskc build model.dsk --emit tensor --after eliminate-common --diff", "what a pass does"],
  );
}

function run(file: string, { emit, model, program, train, after, diff }: Options): void {
  checkPass(after, diff);
  if (emit === "ast") {
    const diagnostics = new Diagnostics();
    const parsed = parseFile(readSpec(file), diagnostics);
    report(diagnostics.all);
    if (!diagnostics.hasErrors) print(printAst(parsed.file));
    return;
  }
  const loaded = loadModel(file, model);
  if (loaded === undefined) return;
  if (emit === "model") print(printModule(loaded.module));
  else print(tensorText(PROGRAMS[program]!(loaded, trainSection(loaded, train)), after, diff));
}

function tensorText(program: Program, after: string | undefined, diff: boolean | undefined): string {
  if (after === undefined) return printProgram(program);
  const result = printProgram(runPasses(program, { after }));
  if (!diff) return result;
  const previous = PIPELINE[PIPELINE.findIndex(({ name }) => name === after) - 1];
  const before = previous === undefined ? program : runPasses(program, { after: previous.name });
  return unifiedDiff(printProgram(before), result, [`before ${after}`, `after ${after}`]);
}

function checkPass(after: string | undefined, diff: boolean | undefined): void {
  if (diff && after === undefined) throw new UsageError("--diff needs --after: the pass that is looked at");
  const names = PIPELINE.map(({ name }) => name);
  if (after === undefined || names.includes(after)) return;
  throw new UsageError(
    `there is no pass \`${after}\`; ${didYouMean(after, names) ?? `passes are ${names.join(", ")}`}`,
  );
}

function trainSection({ trains, decl }: LoadedModel, name: string | undefined): CheckedSection | undefined {
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
