import { describe, expect, test } from "vitest";
import { withoutParentheses } from "../../../../compiler/targets/cuda/parentheses.ts";
import { readable } from "../../../../compiler/targets/cuda/readable.ts";
import { randoms } from "../../../support/plain.ts";

describe("parentheses", () => {
  test.each([
    ["x = ((0.9f * float(m[i])) + (0.1f * x));", "x = 0.9f * float(m[i]) + 0.1f * x;"],
    ["y[0] = ((a - (b - c)) - d);", "y[0] = a - (b - c) - d;"],
    ["z = (a / (b * c));", "z = a / (b * c);"],
    ["r = (-(a + b));", "r = -(a + b);"],
    ["const int i = ((item / 16) % 128);", "const int i = item / 16 % 128;"],
    ["x = over_block<Sum, 256>((a + b));", "x = over_block<Sum, 256>(a + b);"],
    ["return (k == k_ ? float(x) : 0.0f);", "return k == k_ ? float(x) : 0.0f;"],
    ["p = ((float)(a + b)) * c;", "p = (float)(a + b) * c;"],
    ["n = ((long long)i * 8 + (j * 4));  // (both)", "n = (long long)i * 8 + j * 4;  // (both)"],
  ])("%s", (before, after) => expect(withoutParentheses(before)).toBe(after));

  test.each([
    "if ((i_T >= 0) & (i_T < T)) {",
    "const auto a0 = [&](int batch, int m_, int k) -> float {",
    "p = *(const uint4*)(x + 3);",
    "m = (1u << lane) - 1;",
    "m = a & (b + c);",
    "p = (a + b)[i];",
  ])("are needed: %s", (line) => expect(withoutParentheses(line)).toBe(line));

  test("what is computed stays the same", () => {
    const draws = randoms(7, 50_000);
    const below = (end: number): number => Math.floor(((draws.pop()! + 1) / 2) * end);
    const names = ["a", "b", "c", "1.5", "0.1", "f(a)", "(-b)"];
    const expression = (depth: number): string =>
      depth === 0 || below(5) === 0
        ? names[below(names.length)]!
        : `(${expression(depth - 1)} ${"+-*/%"[below(5)]!} ${expression(depth - 1)})`;
    // oxlint-disable-next-line no-new-func -- JavaScript reads these operators as C++ does
    const value = (text: string): number =>
      new Function("a", "b", "c", "f", text)(0.37, 1.91, 7.13, Math.sqrt) as number;
    for (let i = 0; i < 500; i++) {
      const text = `return ${expression(5)};`;
      expect([text, value(withoutParentheses(text))]).toEqual([text, value(text)]);
    }
  });
});

test("long lines are broken between arguments before terms, and behind them stands what they had", () => {
  const line = `    store(first_argument, ${"second_argument + ".repeat(5)}third, (offset_of_the_last + block) * TILE, 0);`;
  expect(readable(line).split("\n")).toEqual([
    "    store(first_argument, second_argument + second_argument + second_argument + second_argument + second_argument + third,",
    "        (offset_of_the_last + block) * TILE, 0);",
  ]);
});
