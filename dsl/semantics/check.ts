import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type { SourceFile, Span } from "../../compiler/diagnostics/source.ts";
import type { Block, Module } from "../../compiler/model-ir/types.ts";
import type { TensorType } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import type { Checker } from "./checker.ts";
import { checkExterns } from "./externs.ts";
import { Loader, type FileScope } from "./load.ts";
import { checkModel, optimizerBlock } from "./model.ts";
import { type CheckedSections, checkSections } from "./sections/sections.ts";
import { checkAlone } from "./standalone.ts";
import { withinStack } from "./too-deep.ts";

export interface CheckedModel {
  readonly decl: ast.ModelDecl;
  /** The model as it scores and serves. */
  readonly module: Module;
  /** The model as it trains: `training()` is true. */
  readonly training: () => TrainingModel;
  /** Keys of the train section that the model reads (`train.balance_rate`), with a place that reads them. */
  readonly trainNames: ReadonlyMap<string, Span>;
  /** The plain arguments of a block of the module, defaults included: `theta`, `eps`, `renormalize`. */
  readonly plainArguments: (block: Block) => ReadonlyMap<string, number | boolean>;
}

export interface TrainingModel {
  readonly module: Module;
  /**
   * An optimizer block of `std/optim` (`AdamW`, `Sgd`) for a parameter of this type; its labels are of the module's dim
   * table. Undefined when there is no such block.
   */
  readonly optimizer: (
    name: string,
    args: ReadonlyMap<string, number | boolean>,
    type: TensorType,
  ) => Block | undefined;
}

export interface CheckedFile {
  readonly scope: FileScope;
  /** The models without errors, in order. */
  readonly models: ReadonlyMap<string, CheckedModel>;
  readonly sections: CheckedSections;
}

/** Parses a file and what it imports, and checks all of it. Errors go to `diagnostics`; never throws for any text. */
export function checkFile(source: SourceFile, diagnostics: Diagnostics): CheckedFile {
  const loader = new Loader(diagnostics);
  const scope = loader.load(source);
  const models = new Map<string, CheckedModel>();
  const seen = new Set<ast.FnItem>();
  for (const decl of scope.models.values()) {
    const result = withinStack(decl.name, diagnostics, () => checkModel(decl, scope, loader, diagnostics, false));
    if (result === undefined) continue;
    // The training variant may reach other code: `when(training(), ...)`.
    let training: TrainingModel | undefined;
    const train = (): TrainingModel | undefined => (training ??= trainingModel(decl, scope, loader, diagnostics, seen));
    for (const item of result.checker.seen) seen.add(item);
    // Parts of a torn file may be missing from its models.
    if (result.module === undefined || scope.file.torn) continue;
    if (usesTraining(scope)) train();
    models.set(decl.name.text, {
      decl,
      module: result.module,
      training: () => {
        const found = train();
        if (found === undefined) throw new Error(`the training variant of ${decl.name.text} has errors`);
        return found;
      },
      trainNames: result.checker.trainNames,
      plainArguments: (block) => plainArguments(result.checker, block),
    });
  }
  for (const file of userFiles(loader)) {
    checkExterns(file.file, diagnostics);
    for (const { decl, scope: own } of file.blocks.values())
      if (own === file) withinStack(decl.name, diagnostics, () => checkAlone(decl, file, seen, loader, diagnostics));
  }
  const sections = checkSections(scope.file, models, loader.std, diagnostics);
  if (!diagnostics.hasErrors) {
    for (const name of scope.unused.values())
      diagnostics.report(
        "DSK1007",
        name.span,
        { name: name.text },
        { fix: { title: "remove it", span: name.span, text: "" } },
      );
  }
  return { scope, models, sections };
}

function plainArguments(checker: Checker, block: Block): Map<string, number | boolean> {
  const instance = [...checker.instances.values()].find((i) => i.block === block);
  const plain = new Map<string, number | boolean>();
  for (const [name, arg] of instance?.levels[0]?.args ?? []) {
    const value = arg.get();
    if (value.kind === "number" || (value.kind === "bool" && value.value !== undefined)) plain.set(name, value.value!);
  }
  return plain;
}

function trainingModel(
  decl: ast.ModelDecl,
  scope: FileScope,
  loader: Loader,
  diagnostics: Diagnostics,
  seen: Set<ast.FnItem>,
): TrainingModel | undefined {
  const { checker, module } = checkModel(decl, scope, loader, diagnostics, true);
  for (const item of checker.seen) seen.add(item);
  if (module === undefined) return undefined;
  return { module, optimizer: (name, args, type) => optimizerBlock(checker, name, args, type) };
}

/** Only a file that says `training()` itself can have errors that show in the training variant alone. */
function usesTraining(scope: FileScope): boolean {
  return scope.file.source.text.includes("training()");
}

/** Files that are not part of the standard library. */
function userFiles(loader: Loader): FileScope[] {
  return loader.files.filter((f) => !f.file.source.path.startsWith("std/"));
}
