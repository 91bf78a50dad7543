/** How commands show diagnostics. */
import type { Diagnostic } from "../diagnostics/diagnostic.ts";
import { renderDiagnostics, wantsColor } from "../diagnostics/render.ts";
import { toGithub } from "../diagnostics/to-github.ts";
import { toJson } from "../diagnostics/to-json.ts";
import { toSarif } from "../diagnostics/to-sarif.ts";
import { version } from "./installation.ts";
import { print, printJson, remark } from "./io.ts";

export const FORMATS = ["text", "json", "sarif", "github"] as const;
export type Format = (typeof FORMATS)[number];

export interface ReportOptions {
  readonly format?: Format;
  /** Undefined: colors on a terminal only. */
  readonly color?: boolean;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** `2 errors and 1 warning`, or `no problems`. */
export function summary(all: readonly Diagnostic[]): string {
  const parts = (["error", "warning"] as const).flatMap((severity) => {
    const count = all.filter((d) => d.severity === severity).length;
    return count === 0 ? [] : [counted(count, severity)];
  });
  return parts.length === 0 ? "no problems" : parts.join(" and ");
}

/**
 * Shows diagnostics: as text on stderr, in the other formats as data on stdout. Sets the exit code to 1 when there is an
 * error among them.
 */
export function report(all: readonly Diagnostic[], { format = "text", color }: ReportOptions = {}): void {
  const count = (severity: string): number => all.filter((d) => d.severity === severity).length;
  switch (format) {
    case "json":
      printJson({ errors: count("error"), warnings: count("warning"), diagnostics: all.map(toJson) });
      break;
    case "sarif":
      printJson(toSarif(all, version()));
      break;
    case "github":
      for (const diagnostic of all) print(toGithub(diagnostic));
      break;
    case "text":
      if (all.length > 0) {
        remark(`${renderDiagnostics(all, { color: color ?? wantsColor(process.stderr, process.env) })}\n`);
      }
  }
  if (count("error") > 0) process.exitCode = 1;
}
