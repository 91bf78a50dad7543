import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { FACT_NAMES } from "../../compiler/model-ir/fact-names.ts";
import { DTYPES } from "../../compiler/tensor-ir/types.ts";
import { BUILTINS } from "../../dsl/semantics/builtins/index.ts";
import { isReserved, KEYWORDS } from "../../dsl/syntax/tokens.ts";
import { MULTIPLIERS } from "../../dsl/syntax/units.ts";

/** `docs/language.md` leaves nothing out that a name stands for. */
const page = readFileSync(resolve(import.meta.dirname, "../../docs/language.md"), "utf8");
const code = [...page.matchAll(/`([^`\n]+)`/g)].map((m) => m[1]!);
const words = new Set(code.flatMap((text) => text.match(/[A-Za-z_][\w.]*/g) ?? []));

test.each([
  ["functions", Object.keys(BUILTINS)],
  ["facts", FACT_NAMES],
  ["dtypes", DTYPES],
  ["multipliers", Object.keys(MULTIPLIERS)],
])("%s", (_, names) => {
  expect(names.length).toBeGreaterThan(3);
  // `x.top(K)` and `keys.append(x)` are methods; `4Ki` has its multiplier behind a number.
  const parts = new Set([...words].flatMap((word) => [word, ...word.split(".")]));
  expect(names.filter((name) => !parts.has(name))).toEqual([]);
});

test("reserved words", () => {
  const [, sentence = ""] = /\n\n((?:`\w+`[, and\n]*)+) are reserved/.exec(page) ?? [];
  const named = [...sentence.matchAll(/`(\w+)`/g)].map((m) => m[1]);
  expect(named.toSorted()).toEqual(Object.keys(KEYWORDS).filter(isReserved).toSorted());
});
