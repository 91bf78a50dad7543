/** From the arguments of a command to a checked model. */
import { type CheckedModel, checkFile } from "../../dsl/semantics/check.ts";
import type { CheckedSection } from "../../dsl/semantics/sections/sections.ts";
import { Diagnostics } from "../diagnostics/diagnostic.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { span } from "../diagnostics/source.ts";
import { readSpec } from "./config-json.ts";
import { remark, UsageError } from "./io.ts";
import { report } from "./report.ts";

export interface LoadedModel extends CheckedModel {
  /** What the file was checked with: for what commands find later. */
  readonly diagnostics: Diagnostics;
  /** The train sections for the model, in the order of the file. */
  readonly trains: readonly CheckedSection[];
  /** The serve sections. */
  readonly serves: readonly CheckedSection[];
}

/**
 * The model of a spec, of a config.json or of a folder with one: the one that `name` says, or the first. Undefined after
 * errors in the file, which are reported.
 * @throws UsageError when there is no such model
 */
export function loadModel(path: string, name: string | undefined): LoadedModel | undefined {
  const diagnostics = new Diagnostics();
  const source = readSpec(path);
  const { models, sections } = checkFile(source, diagnostics);
  if (!diagnostics.hasErrors && models.size === 0) {
    diagnostics.report("DSK2001", span(source, 0, 0), { file: path });
  }
  if (diagnostics.hasErrors) {
    report(diagnostics.all);
    return undefined;
  }
  const names = [...models.keys()];
  if (name === undefined && names.length > 1)
    remark(`${names[0]}; choose another one with --model: ${names.slice(1).join(", ")}`);
  const chosen = models.get(name ?? names[0]!);
  if (chosen !== undefined) {
    const own = sections.all.filter(({ model }) => model === chosen.decl.name.text);
    const ofKind = (kind: string): CheckedSection[] => own.filter((section) => section.kind === kind);
    return { ...chosen, diagnostics, trains: ofKind("train"), serves: ofKind("serve") };
  }
  const help = didYouMean(name!, names) ?? `models are ${names.join(", ")}`;
  throw new UsageError(`\`${path}\` has no model \`${name}\`; ${help}`);
}
