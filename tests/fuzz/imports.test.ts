import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { examine } from "./examine.ts";

/** A folder with files that import each other in every wrong way. */
const folder = mkdtempSync(join(tmpdir(), "dskc-imports-"));
afterAll(() => rmSync(folder, { recursive: true }));

mkdirSync(join(folder, "directory"));
mkdirSync(join(folder, "named.dsk"));
symlinkSync("/dev/zero", join(folder, "endless.dsk"));
symlinkSync("loop.dsk", join(folder, "loop.dsk"));
writeFileSync(join(folder, "latin.dsk"), Buffer.from([0x62, 0xe9]));
file("broken.dsk", "block Left[D {\n}\n\nblock Right { }\n");
for (const [name, next] of ["ab", "bc", "ca"]) file(`${name!}.dsk`, importing(`X${next!}`, next!, `X${name!}`));
for (let i = 0; i < 500; i++) file(`chain${i}.dsk`, importing(`X${i + 1}`, `chain${i + 1}`, `X${i}`));
file("chain500.dsk", "block X500 { }");

function file(name: string, text: string): void {
  writeFileSync(join(folder, name), text);
}

function importing(name: string, from: string, own = "Own"): string {
  return `edition 2026\n\nimport { ${name} } from "${from}"\n\nblock ${own} {\n  use x = ${name}\n}\n`;
}

const codes = (text: string): string[] => examine(text, join(folder, "main.dsk")).map(({ code }) => code);

test.each([
  ["directory", "cannot read `directory`: it is a directory"],
  ["named", "cannot read `named`: it is a directory"],
  ["endless", "cannot read `endless`: it is no file"],
  ["loop", "cannot find `loop`"],
  ["latin", "cannot read `latin`: it is not UTF-8 text"],
  ["nowhere", "cannot find `nowhere`"],
  ["", "cannot find ``"],
  [".", "cannot read `.`: it is a directory"],
  ["..", "cannot read `..`: it is a directory"],
  ["std/nowhere", "cannot find `std/nowhere`"],
  ["std/../../specs/quickstart", "cannot find `std/../../specs/quickstart`"],
  ["std/sections/train", "cannot find `std/sections/train`"],
  ["nothing\0here", "cannot find `nothing\0here`"],
])("import from %j", (from, message) => {
  const found = examine(importing("Other", from), join(folder, "main.dsk"));
  expect(found.map((d) => [d.code, d.message])).toEqual([["DSK1004", message]]);
});

test("a path longer than any file has", () => {
  expect(codes(importing("Other", "n".repeat(10_000)))).toEqual(["DSK1004"]);
});

test("files in a circle, and a file that imports itself", () => {
  expect(codes(importing("Xa", "a"))).toEqual(["DSK1005"]);
  file("main.dsk", importing("Own", "main"));
  expect(codes(importing("Own", "main"))).toEqual(["DSK1005"]);
});

test("a chain of 500 files", () => {
  expect(codes(importing("X0", "chain0"))).toEqual(["DSK2107"]);
});

test("what a broken file would declare is not told to be missing", () => {
  expect(codes(importing("Left", "broken"))).toEqual(["DSK0010"]);
  expect(codes(importing("Right", "broken"))).toEqual(["DSK0010"]);
  expect(codes(importing("Middle", "broken")).toSorted()).toEqual(["DSK0010", "DSK1003"]);
});
