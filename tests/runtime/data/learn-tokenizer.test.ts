import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { learnTokenizer } from "../../../runtime/data/learn-tokenizer.ts";
import type { DataSource } from "../../../runtime/data/source.ts";
import { createTokenizer } from "../../../runtime/data/tokenizer/create.ts";
import { trainTokenizer } from "../../../runtime/data/tokenizer/new-tokenizer.ts";

const root = mkdtempSync(join(tmpdir(), "learn-"));
afterAll(() => rmSync(root, { recursive: true }));

const cats = Array.from({ length: 50 }, (_, i) => `The cat number ${i} sat on the mat.`);
writeFileSync(join(root, "a.txt"), cats.join("\n"));
writeFileSync(join(root, "b.jsonl"), cats.map((text) => JSON.stringify({ text: `dogs ${text}` })).join("\n"));
const turns = [
  { role: "user", content: "A zebra?" },
  { role: "assistant", content: "A zebra." },
];
writeFileSync(join(root, "c.jsonl"), JSON.stringify({ messages: turns }));
writeFileSync(join(root, "bad.txt"), "a\u0000b");

const text: DataSource = { kind: "text", files: "a.txt", pack: true, fim: 0 };
const lines: DataSource = { kind: "lines", files: "b.jsonl", field: "text", pack: true, fim: 0 };

test("from all of small data", async () => {
  expect(await learnTokenizer(text, { root, size: 300 })).toEqual(trainTokenizer([cats.join("\n")], 300));
  expect(await learnTokenizer(lines, { root, size: 300 })).toEqual(
    trainTokenizer(
      cats.map((line) => `dogs ${line}`),
      300,
    ),
  );
});

test("from what is said in conversations", async () => {
  const files = await learnTokenizer({ kind: "chat", files: "c.jsonl", pack: true }, { root, size: 400 });
  expect(createTokenizer(files.tokenizer, files.config).encode("A zebra")).toHaveLength(2);
});

test("from a sample of large data, by shares, always the same", async () => {
  const mixture: DataSource = {
    kind: "mixture",
    parts: [
      { share: 0.9, data: lines },
      { share: 0.1, data: text },
    ],
  };
  const few = { root, size: 400, sample: 1_200 };
  const files = await learnTokenizer(mixture, few);
  expect(files).toEqual(await learnTokenizer(mixture, few));
  expect(files).not.toEqual(await learnTokenizer(mixture, { root, size: 400 }));
});

test("not from tokens, and not from what is no text", async () => {
  const shards: DataSource = { kind: "shards", files: "*.txt", pack: true, fim: 0 };
  await expect(learnTokenizer(shards, { root, size: 300 })).rejects.toThrow(
    "`*.txt` holds tokens: give the tokenizer that they were made with",
  );
  await expect(learnTokenizer({ ...text, files: "*.txt" }, { root, size: 300 })).rejects.toThrow(
    "bad.txt: byte 1 is zero: it is binary, not text",
  );
});
