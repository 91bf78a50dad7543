/** Diagnostics for people: a framed piece of source with labels, and what to do about it. */
import pc from "picocolors";
import type { Diagnostic } from "./diagnostic.ts";
import { drawSnippet, type Paint, type SnippetLabel } from "./snippet.ts";
import { positionAt, type SourceFile } from "./source.ts";

export interface RenderOptions {
  readonly color: boolean;
}

/** Color is for people: only on a terminal, and not where NO_COLOR (no-color.org) is set. */
export function wantsColor(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && (env["NO_COLOR"] ?? "") === "";
}

function labelsByFile(diagnostic: Diagnostic): Map<SourceFile, SnippetLabel[]> {
  const files = new Map<SourceFile, SnippetLabel[]>();
  const add = (label: SnippetLabel): void => {
    const labels = files.get(label.span.file) ?? [];
    labels.push(label);
    files.set(label.span.file, labels);
  };
  add({ ...diagnostic.primary, primary: true });
  for (const label of diagnostic.secondary) add({ ...label, primary: false });
  return files;
}

/** One diagnostic as lines of text, without a line break at the end. */
export function renderDiagnostic(diagnostic: Diagnostic, { color }: RenderOptions): string {
  const colors = pc.createColors(color);
  const tint = { error: colors.red, warning: colors.yellow, note: colors.cyan }[diagnostic.severity];
  const paint: Paint = { frame: colors.blue, primary: tint, secondary: colors.blue };
  const head = tint(`${diagnostic.severity}[${diagnostic.code} ${diagnostic.name}]`);
  const out = [colors.bold(`${head}: ${diagnostic.message}`)];

  const files = labelsByFile(diagnostic);
  const last = Math.max(
    ...[...files].flatMap(([file, labels]) => labels.map((l) => positionAt(file, l.span.end).line)),
  );
  const gutter = String(last).length;
  const pad = " ".repeat(gutter);
  for (const [file, labels] of files) {
    const { line, column } = positionAt(file, labels[0]!.span.start);
    out.push(`${paint.frame(`${pad} ┌─`)} ${file.path}:${line}:${column}`, paint.frame(`${pad} │`));
    out.push(...drawSnippet(file, labels, gutter, paint));
  }

  const remark = (kind: string, text: string): void => {
    const indent = `\n${pad}   ${" ".repeat(kind.length + 2)}`;
    out.push(`${paint.frame(`${pad} =`)} ${colors.bold(`${kind}:`)} ${text.replaceAll("\n", indent)}`);
  };
  for (const note of diagnostic.notes) remark("note", note);
  const help = diagnostic.help ?? diagnostic.fix?.title;
  if (help !== undefined) remark("help", help);
  return out.join("\n");
}

/** Nobody reads more than this, and a file of another kind can have an error in each line. */
const MOST = 1_000;

/** Diagnostics with an empty line between two of them, and a line that counts those beyond the first 1,000. */
export function renderDiagnostics(all: readonly Diagnostic[], options: RenderOptions): string {
  const shown = all.slice(0, MOST).map((diagnostic) => renderDiagnostic(diagnostic, options));
  const more = all.length > MOST ? [`${all.length - MOST} more; --json lists all of them`] : [];
  return [...shown, ...more].join("\n\n");
}
