/** Diagnostics as workflow commands of GitHub Actions, which shows them beside the changed lines. */
import type { Diagnostic } from "./diagnostic.ts";
import { positionAt } from "./source.ts";

function escapeText(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapeProperty(text: string): string {
  return escapeText(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}

/** `::error file=a.dsk,line=3,...::message`: one line, whatever the message holds. */
export function toGithub(diagnostic: Diagnostic): string {
  const { file, start, end } = diagnostic.primary.span;
  const from = positionAt(file, start);
  const to = positionAt(file, end);
  // GitHub ignores columns of an annotation that spans lines.
  const columns = from.line === to.line ? [`col=${from.column}`, `endColumn=${to.column}`] : [];
  const properties = [
    `file=${escapeProperty(file.path)}`,
    `line=${from.line}`,
    `endLine=${to.line}`,
    ...columns,
    `title=${escapeProperty(`${diagnostic.code} ${diagnostic.name}`)}`,
  ];
  const help = diagnostic.help === undefined ? [] : [`help: ${diagnostic.help}`];
  const message = [diagnostic.message, ...diagnostic.notes, ...help].join("\n");
  const command = diagnostic.severity === "note" ? "notice" : diagnostic.severity;
  return `::${command} ${properties.join(",")}::${escapeText(message)}`;
}
