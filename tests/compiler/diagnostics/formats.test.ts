import { expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { span, type SourceFile } from "../../../compiler/diagnostics/source.ts";
import { toGithub } from "../../../compiler/diagnostics/to-github.ts";
import { toJson } from "../../../compiler/diagnostics/to-json.ts";
import { toSarif } from "../../../compiler/diagnostics/to-sarif.ts";

const file: SourceFile = { path: "specs/a b.dsk", text: "block A {\n  nrom\n}\n" };
const norm = span(file, 12, 16);
const diagnostics = new Diagnostics();
diagnostics.report(
  "DSK1001",
  norm,
  { name: "nrom" },
  {
    label: "here",
    secondary: [{ span: span(file, 6, 7), text: "in `A`" }],
    notes: ["100%, or\nless"],
    help: "did you mean `norm`?",
    fix: { title: "write `norm`", span: norm, text: "norm" },
  },
);
diagnostics.report("DSK1007", span(file, 0, 18), { name: "A" });
const [first, second] = diagnostics.all.toReversed();

test("JSON", () => {
  expect(toJson(first!)).toEqual({
    code: "DSK1001",
    name: "unknown-name",
    severity: "error",
    message: "nothing is called `nrom` here",
    file: "specs/a b.dsk",
    start: { line: 2, column: 3, offset: 12 },
    end: { line: 2, column: 7, offset: 16 },
    labels: [
      {
        text: "here",
        file: "specs/a b.dsk",
        start: { line: 2, column: 3, offset: 12 },
        end: { line: 2, column: 7, offset: 16 },
      },
      {
        text: "in `A`",
        file: "specs/a b.dsk",
        start: { line: 1, column: 7, offset: 6 },
        end: { line: 1, column: 8, offset: 7 },
      },
    ],
    notes: ["100%, or\nless"],
    help: "did you mean `norm`?",
    fix: {
      title: "write `norm`",
      file: "specs/a b.dsk",
      start: { line: 2, column: 3, offset: 12 },
      end: { line: 2, column: 7, offset: 16 },
      text: "norm",
    },
  });
  expect(toJson(second!)).toMatchObject({ severity: "warning", help: null, fix: null, notes: [] });
});

test("GitHub annotations are one line each, with escapes", () => {
  expect(toGithub(first!)).toBe(
    "::error file=specs/a b.dsk,line=2,endLine=2,col=3,endColumn=7,title=DSK1001 unknown-name::" +
      "nothing is called `nrom` here%0A100%25, or%0Aless%0Ahelp: did you mean `norm`?",
  );
  expect(toGithub(second!)).toBe(
    "::warning file=specs/a b.dsk,line=1,endLine=3,title=DSK1007 unused-import::`A` is imported and never used",
  );
});

test("SARIF 2.1.0", () => {
  const region = { startLine: 2, startColumn: 3, endLine: 2, endColumn: 7, charOffset: 12, charLength: 4 };
  const artifactLocation = { uri: "specs/a%20b.dsk" };
  expect(toSarif([first!], "1.2.3")).toEqual({
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: { driver: { name: "dskc", version: "1.2.3", rules: [{ id: "DSK1001", name: "unknown-name" }] } },
        columnKind: "utf16CodeUnits",
        results: [
          {
            ruleId: "DSK1001",
            ruleIndex: 0,
            level: "error",
            message: { text: "nothing is called `nrom` here\n100%, or\nless\nhelp: did you mean `norm`?" },
            locations: [{ physicalLocation: { artifactLocation, region }, message: { text: "here" } }],
            relatedLocations: [
              {
                id: 0,
                physicalLocation: {
                  artifactLocation,
                  region: { startLine: 1, startColumn: 7, endLine: 1, endColumn: 8, charOffset: 6, charLength: 1 },
                },
                message: { text: "in `A`" },
              },
            ],
            fixes: [
              {
                description: { text: "write `norm`" },
                artifactChanges: [
                  { artifactLocation, replacements: [{ deletedRegion: region, insertedContent: { text: "norm" } }] },
                ],
              },
            ],
          },
        ],
      },
    ],
  });
});
