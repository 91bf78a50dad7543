import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import type * as ast from "../../../dsl/syntax/ast.ts";
import { parseFile } from "../../../dsl/syntax/parse.ts";
import { printAst } from "../../../dsl/syntax/print-ast.ts";
import { program } from "../../support/random-dsk.ts";

function parse(text: string): { file: ast.File; messages: string[]; diagnostics: Diagnostics } {
  const diagnostics = new Diagnostics();
  const { file } = parseFile({ path: "x.dsk", text }, diagnostics);
  const messages = diagnostics.all.map((d) => {
    const { start, end } = d.primary.span;
    return `${d.code} ${d.message} @${JSON.stringify(text.slice(start, end))}`;
  });
  return { file, messages, diagnostics };
}

/** The AST of an expression, as text. */
function expression(text: string): string {
  const { file, messages } = parse(`train A { x = ${text} }`);
  expect(messages).toEqual([]);
  const entry = (file.decls[0] as ast.SectionDecl).body.entries[0] as { value: ast.Expr };
  return show(entry.value);
}

function show(expr: ast.Expr): string {
  switch (expr.kind) {
    case "binary":
      return `(${show(expr.left)} ${expr.op} ${show(expr.right)})`;
    case "unary":
      return `(${expr.op}${show(expr.operand)})`;
    case "paren":
      return show(expr.inner);
    case "member":
      return `${show(expr.object)}.${expr.name.text}`;
    case "index":
      return `${show(expr.object)}[${expr.dims.map((d) => (d.kind === "rest" ? ".." : show(d.value))).join(" ")}]`;
    case "call":
      return `${show(expr.callee)}{${expr.args.map((a) => `${a.name?.text ?? ""}:${show(a.value)}`).join(" ")}}`;
    case "quantity":
      return `${expr.value}${expr.unit === undefined ? "" : `<${expr.unit}>`}`;
    case "name":
      return expr.name;
    default:
      return expr.kind;
  }
}

describe("expressions", () => {
  test.each([
    ["a + b * c", "(a + (b * c))"],
    ["a * b @ c", "(a * (b @ c))"],
    ["a @ b @ c", "((a @ b) @ c)"],
    ["a @ b ^ 2", "(a @ (b ^ 2))"],
    ["-x ^ 2", "(-(x ^ 2))"],
    ["N ^ -0.5", "(N ^ (-0.5))"],
    ["2 ^ 3 ^ 4", "(2 ^ (3 ^ 4))"],
    ["a - -b", "(a - (-b))"],
    ["a < b + c", "(a < (b + c))"],
    ["a < b & c > d | e", "(((a < b) & (c > d)) | e)"],
    ["softmax[S](x, where: m)", "softmax[S]{:x where:m}"],
    ["Embedding[V, ..].transposed", "Embedding[V ..].transposed"],
    ["256 nodes * 8 gpus(h800)", "(256<nodes> * 8<gpus>{:h800})"],
    ["x.top(K).y", "x.top{:K}.y"],
  ])("%s", (text, tree) => expect(expression(text)).toBe(tree));

  test.each([
    ["1_536", "1536"],
    ["4Ki", "4096"],
    ["14.8T tokens", "14800000000000<tokens>"],
    ["2.2e-4", "0.00022"],
    ["30%", "30<%>"],
    ["80 GiB", "80<GiB>"],
    ["80GiB", "80<GiB>"],
    ["450 GB/s", "450<GB/s>"],
  ])("the number %s", (text, value) => expect(expression(text)).toBe(value));

  test("a unit stands on the line of its number", () => {
    const { file } = parse("train A {\n  seed = 7\n  tokens = 8\n}");
    expect((file.decls[0] as ast.SectionDecl).body.entries).toHaveLength(2);
  });

  test("words of the language are names where nothing else is meant", () => {
    expect(
      parse(
        "block A[D] { state of: [D] fn f(cache: [D], end: [D]) -> [D] { let data = cache + end return data } dtype = x }",
      ).messages,
    ).toEqual([]);
  });

  test("docs belong to the item that follows, or stands before them on the line", () => {
    const { file } = parse("/// one\n/// two\nblock A {\n  dim N = 1 /// three\n  dim M = 2\n}");
    const block = file.decls[0] as ast.BlockDecl;
    expect([block.doc, ...block.items.map((i) => (i as ast.DimItem).doc)]).toEqual(["one\ntwo", "three", undefined]);
  });
});

describe("errors", () => {
  test.each([
    ["block A { param w [D] }", ['DSK0010 expected `:`, found `[` @"["']],
    ["block A { dim N 3 }", ['DSK0010 expected `=`, found `3` @"3"']],
    ["block A {\n  dim N =\n  dim M = 2\n}", ['DSK0010 expected a value, found `dim` @""']],
    ["block A { fn f() { return 1 +* 2 } }", ['DSK0010 expected a value, found `*` @"*"']],
    ["block A { fn f() { return (1 + 2 } }", ['DSK0010 expected `)`, found `}` @"}"']],
    ["block let { }", ['DSK0012 `let` is a word of the language and cannot be a name @"let"']],
    ["train A { x = 12abc }", ['DSK0004 `12abc` is not a number @"12abc"']],
    ["train A { x = 1__0 }", ['DSK0004 `1__0` is not a number @"1__0"']],
    ["train A { x = 1e999 }", ['DSK0005 `1e999` is too large @"1e999"']],
    ['train A { x = "abc\n}', ['DSK0002 a string ends on the line where it begins @"\\"abc"']],
    ['train A { x = "a\\qb" }', ['DSK0006 a string has no escape `\\q` @"\\"a\\\\qb\\""']],
    ["/* no */ block A { }", ['DSK0003 `/* */` comments are not part of the language @"/* no */"']],
    ["train A { x = 1 # 2 }", ['DSK0001 `#` is not part of the language @"#"']],
    ["train A { x = a < b < c }", ['DSK0014 comparisons cannot be chained @"<"']],
    ["block A {\n  dim N = 1\n", ['DSK0015 `{` is never closed @"{"']],
    ["edition 1999", ['DSK0016 there is no edition 1999 @"1999"']],
  ])("%s", (text, messages) => expect(parse(text).messages).toEqual(messages));

  test("brackets that lie too deep", () => {
    const { messages } = parse(`train A { x = ${"(".repeat(300)}1${")".repeat(300)} }`);
    expect(messages).toEqual(['DSK0013 brackets lie more than 200 deep @"("']);
  });

  test("an expression of very many operators", () => {
    expect(parse(`train A { x = ${"1 + ".repeat(600)}1 }`).messages[0]).toMatch(/^DSK0017/);
  });

  test("five mistakes give five errors, each where it is", () => {
    const text = `
block One[D] {
  param w: [D,
  fn forward(x: [T, D]) -> [T, D] {
    let y = x @ @ w
    let z = (y + 1
    return z }
}
block Two[D {
  dim N = 3
}
train A for M {
  lr = => 3
  batch = 8
}
block Three[D] {
  dim N : 3
}
`;
    expect(parse(text).messages).toEqual([
      'DSK0010 expected a dim, found `fn` @""',
      'DSK0010 expected a value, found `@` @"@"',
      'DSK0010 expected `)`, found `return` @""',
      'DSK0010 expected `]`, found `{` @"{"',
      'DSK0010 expected a value, found `=>` @"=>"',
      'DSK0010 expected `=`, found `:` @":"',
    ]);
  });
});

describe("any text", () => {
  const inside = (text: string): void => {
    const { diagnostics } = parse(text);
    for (const { primary } of diagnostics.all) {
      expect(primary.span.start).toBeGreaterThanOrEqual(0);
      expect(primary.span.end).toBeGreaterThanOrEqual(primary.span.start);
      expect(primary.span.end).toBeLessThanOrEqual(text.length);
    }
  };

  test("random characters", () =>
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), inside), { numRuns: 500, seed: 1 }));

  test("random words of the language", () => {
    const word = fc.constantFrom(
      "block",
      "fn",
      "let",
      "{",
      "}",
      "[",
      "]",
      "(",
      ")",
      "=",
      ":",
      "@",
      "x",
      "1",
      "..",
      "train",
      "return",
      "\n",
      '"',
      "//",
      "dim",
      ",",
      "=>",
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 60 }), (words) => inside(words.join(" "))),
      { numRuns: 1_000, seed: 2 },
    );
  });

  test("files of the standard library with pieces cut out or doubled", () => {
    const files = readdirSync("dsl/std")
      .filter((f) => f.endsWith(".dsk"))
      .map((f) => readFileSync(join("dsl/std", f), "utf8"));
    const cut = fc.tuple(fc.constantFrom(...files), fc.nat(5_000), fc.nat(40), fc.boolean());
    fc.assert(
      fc.property(cut, ([text, at, length, twice]) =>
        inside(text.slice(0, at) + (twice ? text.slice(at, at + length).repeat(2) : "") + text.slice(at + length)),
      ),
      { numRuns: 150, seed: 3 },
    );
  });

  test("odd bytes, byte order marks and line ends", () => {
    for (const text of [
      "",
      "\0",
      "\ufeffedition 2026\r\n",
      "\ud800",
      "edition 2026\r\nblock A { }\r\n",
      "}",
      '"',
      "/*",
    ])
      inside(text);
    expect(parse("\ufeffedition 2026\r\nblock A { }\r\n").messages).toEqual([]);
  });

  test("a file of 100,000 lines", () => {
    const text = `block A[D] {\n${Array.from({ length: 100_000 }, (_, i) => `  dim N${i} = ${i + 1}`).join("\n")}\n}\n`;
    const before = performance.now();
    expect(parse(text).messages).toEqual([]);
    expect(performance.now() - before).toBeLessThan(30_000);
  });

  test("random programs print the same AST for the same text", () => {
    fc.assert(
      fc.property(program, (text) => {
        const { file, messages } = parse(text);
        expect(messages).toEqual([]);
        expect(printAst(parse(text).file)).toBe(printAst(file));
      }),
      { numRuns: 200, seed: 4 },
    );
  });
});
