import fc from "fast-check";
import { expect, test } from "vitest";
import { unifiedDiff } from "../../../compiler/cli/unified-diff.ts";

const lines = (...text: string[]): string => `${text.join("\n")}\n`;

test("equal texts have no difference", () => {
  expect(unifiedDiff("a\nb\n", "a\nb\n", ["x", "y"])).toBe("");
});

test("a changed line stands between its neighbors", () => {
  const before = lines("1", "2", "3", "4", "5", "6", "7", "8", "9");
  const after = lines("1", "2", "3", "4", "five", "6", "7", "8", "9");
  expect(unifiedDiff(before, after, ["before", "after"])).toBe(
    lines("--- before", "+++ after", "@@ -2,7 +2,7 @@", " 2", " 3", " 4", "-5", "+five", " 6", " 7", " 8"),
  );
});

test("changes far apart are hunks of their own", () => {
  const before = Array.from({ length: 20 }, (_, i) => `line ${i}`);
  const after = before.filter((line) => line !== "line 2" && line !== "line 15");
  const heads = unifiedDiff(lines(...before), lines(...after), ["a", "b"]).match(/^@@.*$/gm);
  expect(heads).toEqual(["@@ -1,6 +1,5 @@", "@@ -13,7 +12,6 @@"]);
});

test("the edits turn one text into the other", () => {
  const text = fc.array(fc.constantFrom("a", "b", "c", "{", "}", "d", "e"), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      const diff = unifiedDiff(lines(...a), lines(...b), ["a", "b"]);
      const result: string[] = [...a];
      let shift = 0;
      for (const hunk of diff.split(/^(?=@@)/m).slice(1)) {
        const [head, ...body] = hunk.replace(/\n$/, "").split("\n");
        const [, start, count = "1"] = /^@@ -(\d+)(?:,(\d+))? /.exec(head!)!;
        const at = Number(start) - (count === "0" ? 0 : 1) + shift;
        const kept = body.filter((line) => !line.startsWith("+")).map((line) => line.slice(1));
        expect(result.slice(at, at + Number(count))).toEqual(kept);
        const now = body.filter((line) => !line.startsWith("-")).map((line) => line.slice(1));
        result.splice(at, Number(count), ...now);
        shift += now.length - Number(count);
      }
      expect(result).toEqual(b);
    }),
  );
});
