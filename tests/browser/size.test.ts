import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";

const folder = resolve("dist/browser");
const files = readdirSync(folder).filter((name) => name.endsWith(".js"));

function zipped(names: readonly string[]): number {
  return names.reduce((sum, name) => sum + gzipSync(readFileSync(`${folder}/${name}`), { level: 9 }).length, 0);
}

test("the runtime for browsers, with byte-level tokenizers and chat templates, has at most 60 kB", () => {
  const usual = files.filter((name) => name !== "library-tokenizer.js");
  expect(files.length - usual.length).toBe(1);
  expect(zipped(usual)).toBeGreaterThan(30_000);
  expect(zipped(usual)).toBeLessThanOrEqual(60_000);
});

test.each(files)("%s needs no Node", (name) => {
  const text = readFileSync(`${folder}/${name}`, "utf8");
  const imported = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g)].map(([, path]) => path!);
  expect(imported.filter((path) => !path.startsWith("./"))).toEqual([]);
  expect(/\b(process|Buffer)\.\w+|\brequire\(/.exec(text)?.[0]).toBeUndefined();
});
