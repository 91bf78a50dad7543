/** `dskc build FILE`: a package of generated kernels, or with `--emit` the forms that a model takes on its way there. */
import { type Command, Option } from "commander";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import { parseFile } from "../../dsl/syntax/parse.ts";
import { printAst } from "../../dsl/syntax/print-ast.ts";
import { Diagnostics } from "../diagnostics/diagnostic.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { scoreProgram } from "../elaborate/score.ts";
import { printModule } from "../model-ir/print.ts";
import { PIPELINE, runPasses } from "../passes/pipeline.ts";
import { printProgram } from "../tensor-ir/print.ts";
import type { Program } from "../tensor-ir/types.ts";
import { FUSIONS, type Fusion } from "../lower/fusions.ts";
import { loweredSource, PRINTERS, type Target, TARGETS } from "../package/package.ts";
import { servingPrograms } from "../package/programs.ts";
import { storedForms } from "../package/weight-form.ts";
import { printKernels } from "../kernel-ir/print.ts";
import type { KernelModule } from "../kernel-ir/types.ts";
import { readSpec } from "./config-json.ts";
import { examples, print, UsageError } from "./io.ts";
import { STORE_HELP, weightForm } from "./weight-form.ts";
import { loadModel, type LoadedModel } from "./load-model.ts";
import { PROGRAMS, trainSection } from "./named-programs.ts";
import { report } from "./report.ts";
import { unifiedDiff } from "./unified-diff.ts";
import type { WriteOptions } from "./write-package.ts";

const FORMS = ["ast", "model", "tensor", "kernel", "code"] as const;

interface Options extends WriteOptions {
  readonly emit?: (typeof FORMS)[number];
  readonly model?: string;
  readonly program?: string;
  readonly after?: string;
  readonly diff?: boolean;
}

export function register(command: Command): void {
  command
    .argument("<file>", "a spec, or a config.json of Hugging Face")
    .option("-o, --out <dir>", "where the package goes; `MODEL-package` without this")
    .option("--check", "write nothing: exit 1 when the package on disk is another one")
    .option(
      "--tokenizer <dir>",
      "a folder with tokenizer.json that becomes part of the package; that of --weights without this",
    )
    .option("--weights <dir>", "a run or a checkpoint whose weights become part of it, laid out as kernels read them")
    .option("--store <form>", `${STORE_HELP}; what the first serve section says without this`, weightForm)
    .option("--split-steps", "steps of a training may be made in several calls")
    .addOption(
      new Option("--target <targets>", `what kernels are generated for: ${TARGETS.join(", ")}, or several`)
        .argParser(targets)
        .default(["cpu"], "cpu"),
    )
    .addOption(new Option("--emit <form>", "print a form instead").choices(FORMS))
    .option("--model <name>", "the model of the file; the first one without this")
    .addOption(
      new Option(
        "--program <name>",
        "the program to print: `score` for tensors, all of them for kernels and code",
      ).choices(Object.keys(PROGRAMS)),
    )
    .option(
      "--train <name>",
      "the train section of `train_step`, and the only one in the package; the first one, and all of them, without this",
    )
    .option("--after <pass>", "the program after this pass; without this, before all of them")
    .addOption(
      new Option("--without <fusions...>", "kernels without these fusions: each op of them is one of its own").choices(
        FUSIONS,
      ),
    )
    .option("--diff", "what the pass of --after changes, or with --emit kernel, the fusions of --without")
    .action(run);
  examples(
    command,
    ["dskc build model.dsk -o package", "kernels, programs and a typed index.ts"],
    ["dskc build model.dsk -o package --weights runs/Pretrain", "with weights and the tokenizer of a run"],
    ["dskc build model.dsk -o package --target cpu,webgpu", "with kernels for the CPU and for WebGPU"],
    ["dskc build model.dsk -o package --check", "whether the package is what the spec says"],
    ["dskc build model.dsk --emit code --program decode", "the kernels of one step of generation"],
    ["dskc build model.dsk --emit model", "the blocks and functions of a model"],
    ["dskc build model.dsk --emit tensor --program decode", "one step of generation"],
    ["dskc build model.dsk --emit tensor --after eliminate-common --diff", "what a pass does"],
    ["dskc build model.dsk --emit kernel --without fuse-epilogues --diff", "what a fusion does"],
  );
}

async function run(file: string, options: Options): Promise<void> {
  const { emit, model, program, train, after, diff } = options;
  const without = new Set(options.without ?? []);
  checkPass(options);
  if (emit === "ast") {
    const diagnostics = new Diagnostics();
    const parsed = parseFile(readSpec(file), diagnostics);
    report(diagnostics.all);
    if (!diagnostics.hasErrors) print(printAst(parsed.file));
    return;
  }
  const loaded = loadModel(file, model);
  if (loaded === undefined) return;
  const section = trainSection(loaded, train);
  const kernels = (off: ReadonlySet<Fusion>): KernelModule =>
    loweredSource({
      programs: program === undefined ? allPrograms(loaded, section) : [PROGRAMS[program]!(loaded, section)],
      lower: { without: off },
      ...storedForms(loaded.serves[0], options.store),
    });
  switch (emit) {
    case "model":
      return print(printModule(loaded.module));
    case "tensor":
      return print(tensorText(PROGRAMS[program ?? "score"]!(loaded, section), after, diff));
    case "kernel":
      return print(kernelText(kernels, without, diff));
    case "code":
      return print(
        options.target
          .flatMap((target) => [...PRINTERS[target](kernels(without).kernels)])
          .map(([name, text]) => `// ---- ${name}\n${text}`)
          .join("\n"),
      );
    case undefined: {
      const { writePackage } = await import("./write-package.ts");
      return writePackage(loaded, options);
    }
  }
}

/** `cpu,webgpu` */
function targets(text: string): Target[] {
  const names = text.split(",").map((name) => name.trim());
  const wrong = names.find((name) => !(TARGETS as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new UsageError(
      `there is no target \`${wrong}\`; ${didYouMean(wrong, TARGETS) ?? `targets are ${TARGETS.join(", ")}`}`,
    );
  return TARGETS.filter((target) => names.includes(target));
}

/** What a package can do: score, generate and, with a train section that starts from text, train. */
function allPrograms(loaded: LoadedModel, section: CheckedSection | undefined): Program[] {
  const { module } = loaded;
  const step = section === undefined ? [] : [PROGRAMS["train_step"]!(loaded, section)];
  return [scoreProgram(module), ...servingPrograms(module), ...step];
}

function tensorText(program: Program, after: string | undefined, diff: boolean | undefined): string {
  if (after === undefined) return printProgram(program);
  const result = printProgram(runPasses(program, { after }));
  if (!diff) return result;
  const previous = PIPELINE[PIPELINE.findIndex(({ name }) => name === after) - 1];
  const before = previous === undefined ? program : runPasses(program, { after: previous.name });
  return unifiedDiff(printProgram(before), result, [`before ${after}`, `after ${after}`]);
}

function kernelText(
  kernels: (without: ReadonlySet<Fusion>) => KernelModule,
  without: ReadonlySet<Fusion>,
  diff: boolean | undefined,
): string {
  const result = printKernels(kernels(without));
  if (!diff) return result;
  const names = [...without].join(", ");
  return unifiedDiff(result, printKernels(kernels(new Set())), [`without ${names}`, `with ${names}`]);
}

function checkPass({ emit, after, diff, without }: Options): void {
  if (diff && emit === "kernel" && without === undefined)
    throw new UsageError("--diff needs --without: the fusions that are looked at");
  if (diff && emit !== "kernel" && after === undefined)
    throw new UsageError("--diff needs --after: the pass that is looked at");
  const names = PIPELINE.map(({ name }) => name);
  if (after === undefined || names.includes(after)) return;
  throw new UsageError(
    `there is no pass \`${after}\`; ${didYouMean(after, names) ?? `passes are ${names.join(", ")}`}`,
  );
}
