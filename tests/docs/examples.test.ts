import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { renderDiagnostic } from "../../compiler/diagnostics/render.ts";
import { factsOf, evaluateExpectations } from "../../compiler/analysis/facts.ts";
import { formatFile } from "../../dsl/format/format.ts";
import { checkFile } from "../../dsl/semantics/check.ts";

/**
 * Every `dsk` example of the documentation that is a whole file checks without a remark and is formatted, and its
 * expectations hold.
 */
const root = resolve(import.meta.dirname, "../..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    // The pages of diagnostics show mistakes.
    .filter((path) => path.endsWith(".md") && !path.startsWith("errors"))
    .map((path) => join("docs", path))
    .toSorted(),
];

interface Example {
  readonly where: string;
  readonly text: string;
}

const examples = pages.flatMap((page): Example[] => {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^```dsk\n(.*?)^```$/gms)].map((m) => ({
    where: `${page}:${text.slice(0, m.index).split("\n").length + 1}`,
    text: m[1]!,
  }));
});

describe("examples", () => {
  const whole = examples.filter(({ text }) => text.startsWith("edition"));

  test("are there", () => {
    expect(whole.length).toBeGreaterThanOrEqual(5);
  });

  test.each(whole.map((example) => [example.where, example] as const))("%s", (where, { text }) => {
    const diagnostics = new Diagnostics();
    const { models } = checkFile({ path: `${where.replace(":", "-")}.dsk`, text }, diagnostics);
    for (const { module } of models.values()) evaluateExpectations(module, factsOf(module), diagnostics);
    expect(diagnostics.all.map((d) => renderDiagnostic(d, { color: false }))).toEqual([]);
    expect(formatFile({ path: where, text }, diagnostics)).toBe(text);
  });
});
