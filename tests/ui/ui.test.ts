import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { evaluateExpectations, factsOf } from "../../compiler/analysis/facts.ts";
import { CODES } from "../../compiler/diagnostics/codes.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { renderDiagnostic } from "../../compiler/diagnostics/render.ts";
import { checkFile } from "../../dsl/semantics/check.ts";

/*
 * Every `.dsk` file below this folder is checked, and what dskc says of it stands beside it in a `.txt` file, letter by
 * letter. `npm run golden` writes those files anew. Folders named `parts` hold what others import.
 */
const root = import.meta.dirname;
const cases = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".dsk") && !path.includes("parts"))
  .toSorted();

function messages(path: string): { readonly text: string; readonly codes: string[] } {
  const file = join(root, path);
  const diagnostics = new Diagnostics();
  const source = { path: relative(process.cwd(), file), text: readFileSync(file, "utf8") };
  for (const { module } of checkFile(source, diagnostics).models.values()) {
    evaluateExpectations(module, factsOf(module), diagnostics);
  }
  const text = diagnostics.all.map((d) => renderDiagnostic(d, { color: false })).join("\n\n");
  return { text: `${text}\n`, codes: diagnostics.all.map((d) => d.code) };
}

describe("messages", () => {
  test.each(cases)("%s", (path) => {
    const golden = join(root, path.replace(/\.dsk$/, ".txt"));
    const { text } = messages(path);
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(golden, text);
    expect(existsSync(golden), "run `npm run golden` and read what it wrote").toBe(true);
    expect(text).toBe(readFileSync(golden, "utf8"));
  });
});

/** Codes that no check of one file gives: limits with tests of their own, commands, notes, faults of dskc itself. */
const ELSEWHERE = ["DSK0013", "DSK0017", "DSK0018", "DSK2001", "DSK2107", "DSK6901", "DSK6902", "DSK9001"];

test("every code has a file", () => {
  const shown = new Set(cases.flatMap((path) => messages(path).codes));
  expect(Object.keys(CODES).filter((code) => !shown.has(code) && !ELSEWHERE.includes(code))).toEqual([]);
});
