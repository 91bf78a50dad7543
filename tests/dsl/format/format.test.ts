import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { formatFile } from "../../../dsl/format/format.ts";
import { parseFile } from "../../../dsl/syntax/parse.ts";
import { printAst } from "../../../dsl/syntax/print-ast.ts";
import { lexer } from "../../../dsl/syntax/tokens.ts";
import { program } from "../../support/random-dsk.ts";

function format(text: string): string {
  const diagnostics = new Diagnostics();
  const result = formatFile({ path: "x.dsk", text }, diagnostics);
  expect(diagnostics.all).toEqual([]);
  return result!;
}

function astOf(text: string): string {
  return printAst(parseFile({ path: "x.dsk", text }, new Diagnostics()).file);
}

/** The words of all comments: a doc comment that documents nothing may lose a slash. */
function commentsOf(text: string): string[] {
  const { groups } = lexer.tokenize(text);
  return [...(groups["docs"] ?? []), ...(groups["comments"] ?? [])]
    .map((t) => t.image.replace(/^\/\/+/, "").trim())
    .toSorted();
}

function checkFormat(text: string): void {
  const once = format(text);
  expect(format(once)).toBe(once);
  expect(astOf(once)).toBe(astOf(text));
  expect(commentsOf(once)).toEqual(commentsOf(text));
}

const files = ["dsl/std", "specs"].flatMap((dir) =>
  readdirSync(dir, { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".dsk"))
    .map((f) => join(dir, f)),
);

describe("the formatter", () => {
  test.each(files)("keeps %s", (file) => checkFormat(readFileSync(file, "utf8")));

  test("is stable, keeps the AST and every comment, on 5,000 random programs", () => {
    fc.assert(fc.property(program, checkFormat), { numRuns: 5_000, seed: 7 });
  }, 300_000);

  test("refuses text with syntax errors", () => {
    expect(formatFile({ path: "x.dsk", text: "block {" }, new Diagnostics())).toBeUndefined();
  });

  test("aligns names, values and comments", () => {
    expect(
      format(
        "block A[D]{dim F=1 /// one\ndim Long=22 // two\nparam w:[D,F]\nparam gate: f32[D]=zeros\nuse n=B[D] over F}",
      ),
    ).toBe(
      [
        "block A[D] {",
        "  dim F    = 1   /// one",
        "  dim Long = 22  // two",
        "  param w:    [D, F]",
        "  param gate: f32[D] = zeros",
        "  use   n = B[D] over F",
        "}",
        "",
      ].join("\n"),
    );
  });

  test("keeps short bodies on one line and breaks long calls", () => {
    const long = "a_rather_long_argument_name";
    expect(
      format(
        `model M { fn f(x: [T]) -> [T] { return x } fn g() -> [T] { return h(${[1, 2, 3, 4].map((i) => `${long}_${i}`).join(", ")}) }\n}`,
      ),
    ).toContain(`return h(\n      ${long}_1,\n      ${long}_2,\n      ${long}_3,\n      ${long}_4\n    )`);
  });
});
