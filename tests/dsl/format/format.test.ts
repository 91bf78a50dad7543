import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { formatFile } from "../../../dsl/format/format.ts";
import { parseFile } from "../../../dsl/syntax/parse.ts";
import { printAst } from "../../../dsl/syntax/print-ast.ts";
import { lexer } from "../../../dsl/syntax/tokens.ts";
import { commented, program } from "../../support/random-dsk.ts";

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

  test("the same with comments between any two words, and with line ends of Windows", () => {
    fc.assert(fc.property(commented, checkFormat), { numRuns: 600, seed: 8 });
    const windows = commented.map((text) => text.replaceAll("\n", "\r\n"));
    fc.assert(fc.property(windows, checkFormat), { numRuns: 100, seed: 9 });
  }, 300_000);

  test.each(files)("keeps a comment before any word of %s", (file) => {
    const text = readFileSync(file, "utf8");
    const comments = [" // note\n", "\n/// about it\n", " /// behind\n", "\n\n// alone\n\n"];
    for (const [i, { startOffset }] of lexer.tokenize(text).tokens.entries()) {
      // Some places of each file: all of them take minutes.
      if (i % 397 !== 5) continue;
      for (const comment of comments) checkFormat(text.slice(0, startOffset) + comment + text.slice(startOffset));
    }
  });

  test("a name is not made the unit of the number before it", () => {
    for (const text of [
      "target cpu { a = 3\n s = 4 }",
      "block A { fn f() { let a = 3\n B = 4Ki\n min = 4 } }",
      "train A { g { x = 3\n steps = 4 } }",
    ])
      checkFormat(text);
    checkFormat("target cpu { a = 3\n b = 4 }");
    expect(format("target cpu { a = 3\n b = 4 }")).toBe("target cpu { a = 3  b = 4 }\n");
  });

  test("declarations of one line each may stand close together, others stand apart", () => {
    const text =
      "block A { dim F = 1 }\nblock B { dim F = 2 }\nmodel C { dim F = 1\n dim G = 2 }\nblock D { dim F = 3 }\n";
    expect(format(text)).toBe(
      "block A { dim F = 1 }\nblock B { dim F = 2 }\nmodel C { dim F = 1  dim G = 2 }\nblock D { dim F = 3 }\n",
    );
    expect(format(text.replace("F = 1\n", `F = ${"1 + ".repeat(40)}1\n`)).match(/^$/gm)).toHaveLength(3);
    checkFormat(text);
  });

  test("paths keep their escapes", () => {
    checkFormat('edition 2026\nimport { A } from "a\\\\b \\"c\\""\n');
  });

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
