/** How commands show diagnostics. */
import { type Diagnostic, Diagnostics } from "../diagnostics/diagnostic.ts";
import { renderDiagnostics, wantsColor } from "../diagnostics/render.ts";
import { span } from "../diagnostics/source.ts";
import { toGithub } from "../diagnostics/to-github.ts";
import { toJson } from "../diagnostics/to-json.ts";
import { toSarif } from "../diagnostics/to-sarif.ts";
import { version } from "./installation.ts";
import { type InputError, print, printJson, remark } from "./io.ts";

export const FORMATS = ["text", "json", "sarif", "github"] as const;
export type Format = (typeof FORMATS)[number];

/** How errors of the input are shown by a command that prints something else when there are none. */
let otherwise: Format = "text";

/** `--json` of a command: what it prints is for a program, be it errors. */
export function forPrograms(): void {
  otherwise = "json";
}

export interface ReportOptions {
  /** Undefined: errors as the command line asks for it, warnings alone as text. */
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
export function report(all: readonly Diagnostic[], { format, color }: ReportOptions = {}): void {
  const count = (severity: string): number => all.filter((d) => d.severity === severity).length;
  switch (format ?? (count("error") > 0 ? otherwise : "text")) {
    case "json": {
      const document = { errors: count("error"), warnings: count("warning"), diagnostics: all.map(toJson) };
      // Events of a training are lines of JSON: errors are one of them.
      if (format === undefined) print(JSON.stringify(document));
      else printJson(document);
      break;
    }
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

/** Input without a diagnostic of its own, as an error of the whole file. */
export function inputDiagnostics({ message, path }: InputError): Diagnostics {
  const diagnostics = new Diagnostics();
  diagnostics.report("DSK0018", span({ path: path ?? "", text: "" }, 0, 0), { what: message });
  return diagnostics;
}

/** Tells of input that cannot be used, and sets the exit code. */
export function reportInput(error: InputError): void {
  if (otherwise === "text") remark(`dskc: ${error.message}`);
  else report(inputDiagnostics(error).all);
  process.exitCode = 1;
}
