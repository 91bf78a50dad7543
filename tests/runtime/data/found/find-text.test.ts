import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { findText, type FoundText, writeFoundText } from "../../../../runtime/data/found/find-text.ts";
import type { Place } from "../../../../runtime/data/found/places.ts";

const root = mkdtempSync(join(tmpdir(), "found-"));
afterAll(() => rmSync(root, { recursive: true }));

function paragraph(subject: string): string {
  return `The ${subject} is one of the things that you can read about in this text, and there is more to be said of it.`;
}

function write(name: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), content);
}

const texts = ["apple", "bear", "cloud", "door", "engine", "flower"].map(paragraph);
const page = (...numbers: readonly number[]): string => numbers.map((n) => texts[n]).join("\n\n");

write("notes/b.txt", page(0, 1, 2, 3));
write("notes/a/c.txt.gz", gzipSync(page(2, 3, 4, 5, 0, 1)));
write("notes/d.txt", `${page(0)}\u0000`);
write("notes/short.txt", page(5));
write("guide/a.md", `# Guide\n\n${["ship", "tree", "wheel", "yard"].map(paragraph).join("\n\n")}\n`);
symlinkSync(join(root, "guide/a.md"), join(root, "guide/z.md"));

const PLACES: readonly Place[] = [
  { name: "notes", folder: join(root, "notes"), files: ["**/*.txt", "**/*.gz"], form: "plain" },
  { name: "nothing", folder: join(root, "nothing"), files: ["**"], form: "plain" },
  { name: "guides", folder: join(root, "guide"), files: ["*.md"], form: "markdown" },
];

const find = (limit: number): FoundText => findText({ limit, places: PLACES });

test("files in order, each paragraph once, no binary files and no remains", () => {
  const found = find(1e9);
  expect(found.documents.map(({ path }) => path.slice(root.length + 1))).toEqual(["notes/a/c.txt.gz", "guide/a.md"]);
  expect(found.documents[0]!.text).toBe(`${page(2, 3, 4, 5, 0, 1)}\n`);
  expect(found.report).toEqual([
    { place: "notes", files: 3, documents: 1, bytes: Buffer.byteLength(found.documents[0]!.text) },
    { place: "guides", files: 1, documents: 1, bytes: Buffer.byteLength(found.documents[1]!.text) },
  ]);
  expect(found.bytes).toBe(found.report.reduce((sum, { bytes }) => sum + bytes, 0));
});

test("no more than is wanted", () => {
  expect(find(100).documents).toHaveLength(1);
  expect(find(0).documents).toEqual([]);
});

test("as lines of JSON", () => {
  writeFoundText(join(root, "corpus"), find(1e9));
  const lines = readFileSync(join(root, "corpus/found.jsonl"), "utf8").trim().split("\n");
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(find(1e9).documents);
});

test("this machine has a mebibyte at least, always the same", () => {
  const packages = [resolve(import.meta.dirname, "../../../../node_modules")];
  const found = findText({ limit: 1 << 20, packages });
  expect(found.bytes).toBeGreaterThanOrEqual(1 << 20);
  expect(findText({ limit: 1 << 20, packages })).toEqual(found);
});
