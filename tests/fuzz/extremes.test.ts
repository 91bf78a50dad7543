import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { examine } from "./examine.ts";

/** The codes of a text's errors. Whatever its size, it takes seconds of the processor: others may use it as well. */
function codes(text: string): string[] {
  const before = process.cpuUsage();
  const found = examine(text).filter(({ severity }) => severity === "error");
  expect(process.cpuUsage(before).user).toBeLessThan(10e6);
  return [...new Set(found.map(({ code }) => code))];
}

const block = (body: string, head = "block Demo[D]"): string => `edition 2026\n\n${head} {\n${body}\n}\n`;
const returning = (expr: string): string => block(`  fn forward(x: [T, D]) -> [T, D] {\n    return ${expr}\n  }`);
const repeat = (count: number, piece: (i: number) => string, between = ""): string =>
  Array.from({ length: count }, (_, i) => piece(i)).join(between);
const times = (text: string, count: number): string => text.repeat(count);

describe("deep", () => {
  test.each([
    ["parentheses", returning(`${times("(", 10_000)}x${times(")", 10_000)}`)],
    ["parentheses that nothing closes", returning(times("(", 10_000))],
    ["brackets", returning(`${times("[", 10_000)}x${times("]", 10_000)}`)],
    ["calls", returning(`${times("exp(", 10_000)}x${times(")", 10_000)}`)],
    ["groups of a section", `train A for B ${times("{ a ", 10_000)} = 1 ${times("}", 10_000)}`],
    ["groups that nothing closes", `train A for B ${times("{ a ", 10_000)}`],
    ["blocks in blocks", times("block A {\n", 10_000) + times("}\n", 10_000)],
    ["schedules", `train A for B { lr = ${times("schedule by tokens { ..end => ", 10_000)} 1 ${times("}", 10_000)} }`],
    ["stacks", block(`use a = ${times("stack { 2 of ", 10_000)} A ${times("}", 10_000)}`)],
    ["types", block(`param w: ${times("(", 10_000)}f32${times(")", 10_000)}`)],
    ["closing brackets", returning(`x${times(")", 10_000)}`)],
    ["powers", returning(`x${times(" ^ 2", 10_000)}`)],
    ["signs", returning(`${times("-", 10_000)}x`)],
    ["members", returning(`x${times(".a", 10_000)}`)],
    ["indices", returning(`x${times("[D]", 10_000)}`)],
    ["sums", returning(`x${times(" + x", 10_000)}`)],
    ["products", returning(`x${times(" @ x", 10_000)}`)],
    ["comparisons", returning(`x${times(" < x", 10_000)}`)],
    ["operators", returning(times("+ * / ", 10_000))],
    ["sums in sums", returning(`${times("(", 150)}x${times(`${times(" + x", 400)})`, 150)}`)],
  ])("%s", (_, text) => expect(codes(text)).not.toEqual([]));

  test("lists in lists to just below the limit", () => {
    expect(codes(returning(`${times("(", 190)}x${times(")", 190)}`))).toEqual([]);
    expect(codes(returning(`x${times(" + x", 499)}`))).toEqual([]);
    expect(codes(returning(`${times("-", 400)}x`))).toEqual([]);
  });
});

describe("long", () => {
  test("100,000 lines, sound and not", () => {
    const folder = mkdtempSync(join(tmpdir(), "dskc-long-"));
    const file = join(folder, "long.dsk");
    for (const [status, dim] of [
      [0, "D"],
      [1, "Q"],
    ] as const) {
      writeFileSync(file, block(repeat(100_000, (i) => `  param w${i}: [${dim}]  // note`, "\n")));
      const checked = spawnSync(process.execPath, ["dist/dskc.js", "check", file], {
        encoding: "utf8",
        timeout: 100_000,
      });
      expect([checked.status, checked.stdout]).toEqual([status, ""]);
    }
    rmSync(folder, { recursive: true });
  }, 200_000);

  // Enough to show that time does not grow with the square.
  const many = 5_000;
  const lets = repeat(many, (i) => `    let y${i + 1} = y${i} + 1`, "\n");
  test.each([
    ["statements", block(`  fn forward(y0: [T, D]) -> [T, D] {\n${lets}\n    return y${many}\n  }`), []],
    ["blocks", repeat(many, (i) => `block A${i} { dim F = ${i + 1} }`, "\n\n"), []],
    ["comments", block(repeat(many, (i) => `  dim w${i} = 1 // note ${i}`, "\n")), []],
    ["comments alone", repeat(20 * many, (i) => `/// note ${i}`, "\n"), []],
    ["one line", block(repeat(many, (i) => `dim w${i} = 1`, " ")), []],
    ["items that are no items", block(repeat(many, (i) => `  param w${i} [D]`, "\n")), ["DSK0010"]],
    ["names declared twice", block(repeat(many, () => "  param w: [D]", "\n")), ["DSK1002"]],
    ["braces that nothing closes", repeat(many, () => "block {", "\n"), ["DSK0013"]],
    ["braces that nothing opens", repeat(many, () => "}", "\n"), ["DSK0010"]],
    ["entries", `target cpu {\n${repeat(many, (i) => `  a${i} = ${i}`, "\n")}\n}\n`, ["DSK6001"]],
    ["sections", repeat(many, (i) => `serve A${i} for B { }`, "\n"), ["DSK6002", "DSK2002"]],
    ["imports", repeat(many, (i) => `import { A${i} } from "std/nn"`, "\n"), ["DSK1003"]],
    ["imports of nothing", repeat(many, (i) => `import { A } from "no/such${i}"`, "\n"), ["DSK1004"]],
    ["blocks that extend nothing", repeat(many, (i) => `block A${i} extends B${i} { }`, "\n"), ["DSK1001"]],
    ["a chain of dims", block(repeat(many, (i) => `  dim w${i} = w${i + 1}`, "\n") + ` dim w${many} = 1`), ["DSK2107"]],
    [
      "a chain of blocks",
      repeat(1_000, (i) => `block A${i} { use a = A${i + 1} }`, "\n") + " block A1000 { }",
      ["DSK2107"],
    ],
    [
      "a chain of extends",
      repeat(1_000, (i) => `block A${i} extends A${i + 1} { }`, "\n") + " block A1000 { }",
      ["DSK2107"],
    ],
    ["a chain of sections", repeat(many, (i) => `target cpu from A${i} { }`, "\n"), ["DSK6006", "DSK6004"]],
  ])("%s", (_, text, expected) => expect(codes(text)).toEqual(expected));

  test.each([
    ["a name", block(`  param ${times("w", 1_000_000)}: [D]`), []],
    ["a name that nothing has", returning(times("y", 1_000_000)), ["DSK1001"]],
    ["a name to import", `import { ${times("n", 1_000_000)} } from "std/nn"`, ["DSK1003"]],
    ["a number", returning(`x * ${times("9", 1_000_000)}`), ["DSK0005"]],
    ["a number with a long suffix", returning(`x * 1${times("K", 1_000_000)}`), ["DSK0004"]],
    ["a string", `target cpu { threads = "${times("s", 1_000_000)}" }`, ["DSK6010"]],
    ["a string without an end", `target cpu { threads = "${times("s", 1_000_000)}\n}`, ["DSK0002", "DSK6010"]],
    ["a string of escapes", `target cpu { threads = "${times("\\q", 100_000)}" }`, ["DSK0006", "DSK6010"]],
    ["a comment", `${block("  param w: [D]")}// ${times("c", 1_000_000)}`, []],
    ["a block comment", `/*${times("c", 1_000_000)}`, ["DSK0003"]],
    ["spaces", `${times(" ", 1_000_000)}edition 2026${times("\n", 1_000_000)}`, []],
    ["characters that are not part of the language", times("§", 20_000), ["DSK0001"]],
    ["a line of errors", returning(times("§ ", 5_000)), ["DSK0001"]],
    ["a list", `train A for B { freeze = [${times("a, ", 5_000)}a] }`, ["DSK6002", "DSK2002"]],
    ["arguments", returning(`max(${times("x, ", 5_000)}x)`), ["DSK1304"]],
    ["dims", block(`  param w: [${repeat(5_000, () => "D", ", ")}]`), ["DSK1208"]],
  ])("%s", (_, text, expected) => expect(codes(text)).toEqual(expected));
});

describe("numbers", () => {
  test.each([
    ["1e999", ["DSK0005"]],
    ["1e308T", ["DSK0005"]],
    ["1e-999", ["DSK1202"]],
    ["0", ["DSK1202"]],
    ["-3", ["DSK1202"]],
    ["2.5", ["DSK1202"]],
    ["1 / 3", ["DSK1202"]],
    ["0 / 0", ["DSK1202"]],
    ["1 / 0", ["DSK1202"]],
    ["inf", ["DSK1202"]],
    ["-inf", ["DSK1202"]],
    ["sqrt(-1)", ["DSK1202"]],
    ["9_007_199_254_740_993", ["DSK1202"]],
    ["1e300", ["DSK1202"]],
    ["10 ^ 400", ["DSK1202"]],
    ["9_007_199_254_740_991", []],
    ["1_0", []],
    ["0x10", ["DSK0004"]],
    ["1__0", ["DSK0004"]],
    ["1_", ["DSK0004"]],
    ["1.2.3", ["DSK0004"]],
    ["1e", ["DSK0004"]],
    ["30%", ["DSK1202"]],
    ["4 tokens", ["DSK1311"]],
  ])("dim F = %s", (size, expected) => expect(codes(block(`  dim F = ${size}\n  param w: [F]`))).toEqual(expected));

  test("dims without bounds multiply beyond what a number holds", () => {
    const dims = repeat(60, (i) => `  dim A${i} = 1e15`, "\n");
    const list = repeat(60, (i) => `A${i}`, ", ");
    expect(codes(block(`${dims}\n  param w: [${list}]`))).toEqual([]);
  });
});

test("models of any size are checked at once, those that nobody can count are refused", () => {
  const model = (sizes: string): string =>
    [
      "edition 2026",
      'import { Mha } from "std/attention"',
      'import { DeepSeekRoutedMoe } from "std/moe"',
      'import { Decoder, Embedding } from "std/nn"',
      "model Big {",
      sizes,
      "use embed = Embedding[V, D]",
      "use trunk = stack { 60 of Decoder[D](mixer: Mha[D, 2, 8], ffn: DeepSeekRoutedMoe[D](E: E, F: F, K: 2, G: 1, keep: 1, scale: 1)) }",
      "fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { return embed.transposed(trunk(embed(tokens), pos)) }",
      "}",
    ].join("\n");
  const dims = (V: string, D: string, E: string, F: string): string =>
    `dim V = ${V}\ndim D = ${D}\ndim E = ${E}\ndim F = ${F}`;
  expect(codes(model(dims("1e12", "64", "8", "32")))).toEqual([]);
  expect(codes(model(dims("128", "16", "1e9", "32")))).toEqual([]);
  expect(codes(model(dims("128", "16", "1e9", "1e6")))).toEqual(["DSK2106"]);
  expect(codes(model(dims("1e15", "64", "8", "32")))).toEqual(["DSK2106"]);
});

describe("characters", () => {
  const sound = block("  param w: [D]  /// weight");

  test.each([
    ["line ends of Windows", sound.replaceAll("\n", "\r\n")],
    ["a byte order mark", `\ufeff${sound}`],
    ["tabs and form feeds", sound.replaceAll(" ", "\t").replace("\n\n", "\n\f\n")],
    ["nothing", ""],
    ["spaces", " \n\t\r\n"],
    ["no line break at the end", sound.trimEnd()],
  ])("%s are fine", (_, text) => expect(codes(text)).toEqual([]));

  test.each([
    ["NUL", "\0"],
    ["NUL in the middle", sound.replace("param", "par\0am")],
    ["a lone surrogate", sound.replace("weight", "weight\n\ud800")],
    ["an emoji", sound.replace("w:", "\u{1f600}:")],
    ["a letter with an accent", sound.replace("w:", "é:")],
    ["a Greek letter", sound.replace("w:", "α:")],
    ["text that runs from right to left", sound.replace("w:", "\u202ew:")],
    ["curly quotes", "import { A } from “std/nn”"],
    ["escape sequences of terminals", sound.replace("w:", "\u001b[31mw:")],
  ])("%s is told", (_, text) => expect(codes(text)).toContain("DSK0001"));
});
