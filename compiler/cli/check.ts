/** `dskc check FILE...`: all errors of specs. */
import { setFlagsFromString } from "node:v8";
import type { Command } from "commander";
import { type CheckedFile, checkFile } from "../../dsl/semantics/check.ts";
import { noteExterns } from "../../dsl/semantics/externs.ts";
import { type CheckedSections, noteUnexecuted } from "../../dsl/semantics/sections/sections.ts";
import { evaluateExpectations, factsOf } from "../analysis/facts.ts";
import { type Diagnostic, Diagnostics } from "../diagnostics/diagnostic.ts";
import { unserved } from "../package/serve-plan.ts";
import { unexecuted } from "../package/training-plan.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import type { SourceFile } from "../diagnostics/source.ts";
import { examples, InputError, readSource, remark, UsageError } from "./io.ts";
import { type Format, FORMATS, inputDiagnostics, report, summary } from "./report.ts";

interface Options {
  readonly json?: boolean;
  readonly format?: Format;
  readonly verbose?: boolean;
  readonly color?: boolean;
}

export function register(command: Command): void {
  command
    .argument("<files...>", "specs to check; - is stdin")
    .option("--json", "print one JSON document")
    .option("--format <format>", `print as ${FORMATS.join(", ")}`, formatOf)
    .option("-v, --verbose", "show notes as well: what is checked, but not executed yet")
    .option("--color", "color the text; without this it is colored on a terminal")
    .option("--no-color", "never color the text")
    .action(run);
  examples(
    command,
    ["dskc check specs/deepseek-v3.dsk", "errors and warnings with their places"],
    ["dskc check --format github specs/*.dsk", "annotations for GitHub Actions"],
    ["dskc check --json - < model.dsk", "for programs"],
  );
}

/** Characters from which on a text pays for V8's optimizing compiler, without which this command starts. */
const LONG = 200_000;

function formatOf(text: string): Format {
  const format = FORMATS.find((name) => name === text);
  if (format !== undefined) return format;
  throw new UsageError(
    `there is no format \`${text}\`; ${didYouMean(text, FORMATS) ?? `choose ${FORMATS.join(", ")}`}`,
  );
}

function run(files: readonly string[], { json, format, verbose, color }: Options): void {
  if (json === true && format !== undefined && format !== "json") throw new UsageError("--json and --format differ");
  const all: Diagnostic[] = [];
  // Files that import each other share diagnostics of the imported one: each is told once.
  const told = new Set<string>();
  for (const file of new Set(files)) {
    for (const diagnostic of diagnosticsOf(file, verbose ?? false).all) {
      const { span } = diagnostic.primary;
      const key = `${diagnostic.code} ${span.file.path} ${span.start} ${span.end}`;
      if (told.has(key)) continue;
      told.add(key);
      all.push(diagnostic);
    }
  }
  const chosen = json === true ? "json" : (format ?? "text");
  report(all, { format: chosen, ...(color === undefined ? {} : { color }) });
  if (chosen === "text") remark(`${files.length === 1 ? files[0]! : `${files.length} files`}: ${summary(all)}`);
}

function diagnosticsOf(file: string, verbose: boolean): Diagnostics {
  const diagnostics = new Diagnostics();
  let source: SourceFile;
  try {
    source = readSource(file);
  } catch (error) {
    // The other files are checked all the same.
    if (error instanceof InputError) return inputDiagnostics(error);
    throw error;
  }
  if (source.text.length > LONG) setFlagsFromString("--opt");
  const { models, sections, scope } = checkFile(source, diagnostics);
  for (const { module } of models.values()) {
    if (module.expects.length > 0) evaluateExpectations(module, factsOf(module), diagnostics);
  }
  if (verbose) {
    noteAll(models, sections, diagnostics);
    noteExterns(scope.file, diagnostics);
  }
  return diagnostics;
}

/**
 * Tells what nothing executes: of a train section what has no place in a training plan, of a serve section what no server
 * heeds, of other sections each entry.
 */
function noteAll(models: CheckedFile["models"], sections: CheckedSections, diagnostics: Diagnostics): void {
  noteUnexecuted({ all: sections.all.filter(({ kind }) => kind !== "train" && kind !== "serve") }, diagnostics);
  if (diagnostics.hasErrors) return;
  for (const section of sections.all) {
    if (section.kind === "serve")
      for (const { name, span } of unserved(section)) diagnostics.report("DSK6901", span, { name });
    const model = section.kind === "train" ? models.get(section.model ?? "") : undefined;
    if (model === undefined) continue;
    for (const { name, span } of unexecuted(section, model)) diagnostics.report("DSK6901", span, { name });
  }
}
