/** Diagnostics as SARIF 2.1.0 (OASIS), which code hosts and editors show beside the source. */
import type { Diagnostic, Label } from "./diagnostic.ts";
import { positionAt, type SourceFile, type Span } from "./source.ts";

function uriOf(file: SourceFile): string {
  const path = encodeURI(file.path.replaceAll("\\", "/")).replaceAll("#", "%23").replaceAll("?", "%3F");
  return path.startsWith("/") ? `file://${path}` : path;
}

function regionOf({ file, start, end }: Span): object {
  const from = positionAt(file, start);
  const to = positionAt(file, end);
  return {
    startLine: from.line,
    startColumn: from.column,
    endLine: to.line,
    endColumn: to.column,
    charOffset: start,
    charLength: end - start,
  };
}

function locationOf({ span, text }: Label): object {
  return {
    physicalLocation: { artifactLocation: { uri: uriOf(span.file) }, region: regionOf(span) },
    ...(text === "" ? {} : { message: { text } }),
  };
}

function fixesOf({ fix }: Diagnostic): object {
  if (fix === undefined) return {};
  const replacement = { deletedRegion: regionOf(fix.span), insertedContent: { text: fix.text } };
  const change = { artifactLocation: { uri: uriOf(fix.span.file) }, replacements: [replacement] };
  return { fixes: [{ description: { text: fix.title }, artifactChanges: [change] }] };
}

/** One run with all diagnostics; rules are listed in the order of their first result. */
export function toSarif(all: readonly Diagnostic[], version: string): object {
  const codes = [...new Map(all.map((d) => [d.code, d.name]))];
  const ruleIndex = new Map(codes.map(([code], index) => [code, index]));
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: { driver: { name: "dskc", version, rules: codes.map(([id, name]) => ({ id, name })) } },
        columnKind: "utf16CodeUnits",
        results: all.map((diagnostic) => ({
          ruleId: diagnostic.code,
          ruleIndex: ruleIndex.get(diagnostic.code),
          level: diagnostic.severity,
          message: {
            text: [
              diagnostic.message,
              ...diagnostic.notes,
              ...(diagnostic.help === undefined ? [] : [`help: ${diagnostic.help}`]),
            ].join("\n"),
          },
          locations: [locationOf(diagnostic.primary)],
          relatedLocations: diagnostic.secondary.map((label, id) => ({ id, ...locationOf(label) })),
          ...fixesOf(diagnostic),
        })),
      },
    ],
  };
}
