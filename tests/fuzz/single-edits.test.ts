import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { evaluateExpectations, factsOf } from "../../compiler/analysis/facts.ts";
import { type Diagnostic, Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { checkFile } from "../../dsl/semantics/check.ts";
import { type Edit, misspellings } from "./single-edits.ts";

/*
 * One mistake gives one error. `FUZZ_RUNS=20 npx vitest run tests/fuzz/single-edits.test.ts` makes every edit, which takes
 * minutes; without it every so many of them are made.
 */
const all = process.env["FUZZ_RUNS"] !== undefined;

function errors(path: string, text: string): Diagnostic[] {
  const diagnostics = new Diagnostics();
  for (const { module } of checkFile({ path, text }, diagnostics).models.values())
    if (module.expects.length > 0) evaluateExpectations(module, factsOf(module), diagnostics);
  return diagnostics.all.filter(({ severity }) => severity === "error");
}

/** Edits after which there is another number of errors than one. */
function others(path: string, text: string, edits: readonly Edit[]): string[] {
  return edits.flatMap(({ what, text: edited, at }) => {
    const found = errors(path, edited);
    const line = text.slice(0, at).split("\n").length;
    return found.length === 1 ? [] : [[`${line}: ${what}`, ...found.map((d) => `${d.code} ${d.message}`)].join("; ")];
  });
}

/** Every so many edits of a file; the names that may change because nothing refers to them. */
const FILES: readonly (readonly [string, number, readonly string[]])[] = [
  ["specs/quickstart.dsk", 3, ["mtp", "Pretrain", "Local"]],
  ["specs/deepseek-v3.dsk", 23, ["mtp", "Extend128K", "Reason", "H800x2048", "Online"]],
  ["specs/deepseek-v3.2.dsk", 9, ["DeepSeekV32", "mtp"]],
  ["specs/r1-pipeline.dsk", 29, ["Zero", "Reason", "AlignPreferences", "Chat"]],
  ["specs/gshard.dsk", 11, []],
  ["specs/blocks/mixture-of-depths.dsk", 7, ["TinyDepths"]],
  ["specs/blocks/differential-attention.dsk", 11, ["TinyDifferential"]],
];

describe("a misspelt word is one error", () => {
  test.each(FILES)(
    "%s",
    (path, step, free) => {
      const text = readFileSync(path, "utf8");
      expect(errors(path, text)).toEqual([]);
      const edits = misspellings(text).filter(
        ({ what }, i) => (all || i % step === 0) && !free.some((name) => what === `misspelt ${name}`),
      );
      expect(edits.length).toBeGreaterThan(10);
      expect(others(path, text, edits)).toEqual([]);
    },
    600_000,
  );
});
