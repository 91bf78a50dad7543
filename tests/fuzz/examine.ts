import { evaluateExpectations, factsOf } from "../../compiler/analysis/facts.ts";
import { type Diagnostic, Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { renderDiagnostics } from "../../compiler/diagnostics/render.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import { toGithub } from "../../compiler/diagnostics/to-github.ts";
import { toJson } from "../../compiler/diagnostics/to-json.ts";
import { toSarif } from "../../compiler/diagnostics/to-sarif.ts";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { printModule } from "../../compiler/model-ir/print.ts";
import { verifyModule } from "../../compiler/model-ir/verify.ts";
import { verifyProgram } from "../../compiler/tensor-ir/verify.ts";
import { formatFile } from "../../dsl/format/format.ts";
import { checkFile } from "../../dsl/semantics/check.ts";
import { noteUnexecuted } from "../../dsl/semantics/sections/sections.ts";

function checkSpan({ file, start, end }: Span): void {
  const inside = Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end;
  if (!inside || end > file.text.length) {
    throw new Error(`a span from ${start} to ${end} in a text of ${file.text.length} characters`);
  }
}

/**
 * Does with a text what `dskc check --verbose` does in all its formats, `dskc fmt`, and for models without errors what
 * `dskc inspect` and `dskc build` do. Throws when a span lies outside its file, a fix does, a message is empty, or any part
 * throws.
 */
export function examine(text: string, path = "fuzz.dsk"): readonly Diagnostic[] {
  const diagnostics = new Diagnostics();
  const { scope, models, sections } = checkFile({ path, text }, diagnostics);
  const lost = [...scope.models.keys()].filter((name) => !models.has(name));
  if (lost.length > 0 && !diagnostics.hasErrors) throw new Error(`model ${lost.join(", ")} is gone without an error`);
  for (const { module } of models.values()) {
    if (module.expects.length > 0) evaluateExpectations(module, factsOf(module), diagnostics);
  }
  noteUnexecuted(sections, diagnostics);
  const { all } = diagnostics;
  for (const { message, primary, secondary, fix } of all) {
    if (message.trim() === "" || /\bundefined\b|\[object /.test(message)) throw new Error(`a message: ${message}`);
    for (const { span } of [primary, ...secondary]) checkSpan(span);
    if (fix !== undefined) checkSpan(fix.span);
  }
  renderDiagnostics(all, { color: true });
  JSON.stringify([all.map(toJson), toSarif(all, "0"), all.map(toGithub)]);

  const formatting = new Diagnostics();
  const formatted = formatFile({ path, text }, formatting);
  if (formatted === undefined && !formatting.hasErrors) throw new Error("not formatted, without an error");
  if (formatted !== undefined && formatFile({ path, text: formatted }, formatting) !== formatted)
    throw new Error("formatting twice gives another text");

  if (!diagnostics.hasErrors) {
    for (const { module } of models.values()) {
      factsOf(module);
      printModule(module);
      const faults = [...verifyModule(module), ...verifyProgram(scoreProgram(module))];
      if (faults.length > 0) throw new Error(faults.join("\n"));
    }
  }
  return all;
}
