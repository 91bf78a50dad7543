import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { evaluateExpectations, factsOf } from "../../compiler/analysis/facts.ts";
import { CODES, isCode } from "../../compiler/diagnostics/codes.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { explain, findCode } from "../../compiler/diagnostics/explain.ts";
import { checkFile } from "../../dsl/semantics/check.ts";

/** Every code has a page, every page a code, and what the pages show is what dskc says. */
const folder = resolve(import.meta.dirname, "../../docs/errors");
const codes = Object.keys(CODES).toSorted();

/** Codes that the text of one file does not give; those of checkpoints (DSK7050 on) are about other files. */
function isWithoutExample(code: string): boolean {
  return (
    ["DSK0013", "DSK0017", "DSK0018", "DSK1005", "DSK2001", "DSK2107", "DSK6901", "DSK6902", "DSK9001"].includes(
      code,
    ) || /^DSK7(?!0[0-4])/.test(code)
  );
}

/** The codes that the check of a text and of its expectations reports. */
function codesOf(text: string): string[] {
  const diagnostics = new Diagnostics();
  const { models } = checkFile({ path: "example.dsk", text }, diagnostics);
  for (const { module } of models.values()) evaluateExpectations(module, factsOf(module), diagnostics);
  return [...new Set(diagnostics.all.map((diagnostic) => diagnostic.code))];
}

test("each code has a page, and each page a code", () => {
  expect(readdirSync(folder).toSorted()).toEqual(codes.map((code) => `${code}.md`));
});

test("names are unique and found, codes too", () => {
  const names = Object.values(CODES).map((entry) => entry.name);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  expect(findCode("dim-mismatch")).toBe("DSK1203");
  expect(findCode("dsk1203")).toBe("DSK1203");
  expect(findCode("1203")).toBe("DSK1203");
  expect(findCode("no-such-thing")).toBeUndefined();
});

describe.each(codes)("%s", (code) => {
  if (!isCode(code)) throw new Error(`${code} is no code`);
  const page = explain(code, folder);

  test("the page has its head and its parts", () => {
    const parts = isWithoutExample(code) ? ["For example"] : ["Wrong", "Mended"];
    expect(page.startsWith(`# ${code} ${CODES[code].name}\n\n`)).toBe(true);
    expect([...page.matchAll(/^## (.*)$/gm)].map((m) => m[1])).toEqual([...parts, "How to mend it"]);
  });

  test.skipIf(isWithoutExample(code))("the wrong example gives exactly this code, the mended one none", () => {
    const [wrong, mended] = [...page.matchAll(/^```dsk\n(.*?)^```$/gms)].map((m) => m[1]!);
    expect(codesOf(wrong!)).toEqual([code]);
    expect(codesOf(mended!)).toEqual([]);
  });
});
