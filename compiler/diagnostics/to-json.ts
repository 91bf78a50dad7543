/** Diagnostics for programs. The shape is stable: fields are added, never renamed. */
import type { Diagnostic, Label, Severity } from "./diagnostic.ts";
import { positionAt, type Position, type Span } from "./source.ts";

/** Lines and columns are 1-based, offsets 0-based; columns and offsets count UTF-16 units. */
interface JsonPosition extends Position {
  readonly offset: number;
}

interface JsonRange {
  readonly file: string;
  readonly start: JsonPosition;
  readonly end: JsonPosition;
}

export interface JsonDiagnostic extends JsonRange {
  readonly code: string;
  readonly name: string;
  readonly severity: Severity;
  readonly message: string;
  /** The first one belongs to the range of the diagnostic itself. */
  readonly labels: readonly (JsonRange & { readonly text: string })[];
  readonly notes: readonly string[];
  readonly help: string | null;
  /** An edit that mends the problem: replace the range by the text. */
  readonly fix: (JsonRange & { readonly title: string; readonly text: string }) | null;
}

function rangeOf({ file, start, end }: Span): JsonRange {
  return {
    file: file.path,
    start: { ...positionAt(file, start), offset: start },
    end: { ...positionAt(file, end), offset: end },
  };
}

export function toJson(diagnostic: Diagnostic): JsonDiagnostic {
  const { code, name, severity, message, primary, secondary, notes, help, fix } = diagnostic;
  const labelOf = (label: Label): JsonDiagnostic["labels"][number] => ({ ...rangeOf(label.span), text: label.text });
  return {
    code,
    name,
    severity,
    message,
    ...rangeOf(primary.span),
    labels: [labelOf(primary), ...secondary.map(labelOf)],
    notes,
    help: help ?? null,
    fix: fix === undefined ? null : { title: fix.title, ...rangeOf(fix.span), text: fix.text },
  };
}
