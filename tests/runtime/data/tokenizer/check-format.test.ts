/** Files of tokenizers that are cut, wrong, or of a kind that nobody knows: each is refused by file, key and value. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { TokenizerConfig, TokenizerJson } from "../../../../runtime/data/tokenizer/format.ts";
import { createTokenizer } from "../../../../runtime/data/tokenizer/create.ts";
import { loadTokenizer } from "../../../../runtime/data/tokenizer/load.ts";
import { trainTokenizer } from "../../../../runtime/data/tokenizer/new-tokenizer.ts";

const { tokenizer, config } = trainTokenizer(["the cat sat on the mat ".repeat(9)], 280);
const { model } = tokenizer;
const folder = mkdtempSync(join(tmpdir(), "dskc-"));
afterAll(() => rmSync(folder, { recursive: true }));

type Changes = Readonly<Record<string, unknown>>;

function message(file: unknown, settings: unknown = config): string {
  try {
    createTokenizer(file as TokenizerJson, settings as TokenizerConfig);
  } catch (error) {
    return (error as Error).message;
  }
  return "fine";
}

test("the files that these are made from are fine", () => {
  expect(message(tokenizer)).toBe("fine");
  expect(message({ model, pre_tokenizer: tokenizer.pre_tokenizer, decoder: tokenizer.decoder }, {})).toBe("fine");
  expect(message({ ...tokenizer, normalizer: undefined, post_processor: undefined })).toBe("fine");
});

test.each<[Changes, string]>([
  [{ model: undefined }, "model: undefined is no object"],
  [{ model: { type: "Telepathy", vocab: {} } }, 'model.type: there is no model of type "Telepathy"'],
  [{ model: { type: "BPE" } }, "model.vocab: undefined is no vocabulary"],
  [{ model: { ...model, vocab: [] } }, "model.vocab: [] is no vocabulary"],
  [{ model: { ...model, vocab: { a: "1" } } }, 'model.vocab: `a` has "1", which is no number of a token'],
  [{ model: { ...model, vocab: { a: -1 } } }, "model.vocab: `a` has -1, which is no number of a token"],
  [{ model: { ...model, vocab: { a: 1e12 } } }, "model.vocab: `a` has 1000000000000, which is no number of a token"],
  [{ model: { ...model, merges: {} } }, "model.merges: {} is no list"],
  [{ model: { ...model, merges: ["t h", "the"] } }, 'model.merges: merge 2, "the", is no pair of texts'],
  [{ model: { ...model, merges: ["t xyz"] } }, "merge 1, `t xyz`, names a token that is not in the vocabulary"],
  [{ model: { type: "Unigram", vocab: [["a"]] } }, 'model.vocab: [["a"]] is no list of texts with their scores'],
  [{ added_tokens: {} }, "added_tokens: {} is no list"],
  [{ added_tokens: [{ id: 1 }] }, 'added_tokens: {"id":1} is no token: it needs an id and a content'],
  [{ normalizer: "NFC" }, 'normalizer: "NFC" has no type'],
  [{ pre_tokenizer: { type: "Sequence" } }, "pre_tokenizer.pretokenizers: undefined is no list"],
  [
    { pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Split" }] } },
    "pre_tokenizer: the pattern of Split is undefined",
  ],
])("tokenizer.json with %j", (changes, wanted) => {
  expect(message({ ...tokenizer, ...changes })).toBe(`tokenizer.json: ${wanted}`);
});

test.each<[Changes, string]>([
  [{ eos_token: 3 }, "tokenizer_config.json: eos_token: 3 is no token"],
  [{ eos_token: "</s>" }, "tokenizer_config.json: eos_token: `</s>` is not in the vocabulary"],
  [{ bos_token: { content: "<s>" } }, "tokenizer_config.json: bos_token: `<s>` is not in the vocabulary"],
  [{ chat_template: 3 }, "tokenizer_config.json: chat_template: 3 is neither a text nor a list of texts with names"],
  [{ chat_template: "{{ x" }, "chat_template: Unexpected end of input"],
  [{ chat_template: "{% if x %}" }, "chat_template: it ends too early"],
  [{ chat_template: null }, "fine"],
])("tokenizer_config.json with %j", (changes, wanted) => {
  expect(message(tokenizer, { ...config, ...changes })).toBe(wanted);
});

describe("folders", () => {
  const path = join(folder, "tokenizer.json");
  const told = (): string => {
    try {
      loadTokenizer(folder);
    } catch (error) {
      return (error as Error).message.replaceAll(folder, "DIR");
    }
    return "fine";
  };

  test.each<[string, string | Buffer, string]>([
    ["nothing", "", "DIR/tokenizer.json: Unexpected end of JSON input"],
    ["a list", "[]", "DIR holds no tokenizer: tokenizer.json: it is no object"],
    ["a key that stands twice", '{"model": {}, "model": {}}', 'DIR/tokenizer.json: the key "model" stands twice'],
    ["other bytes", Buffer.from([0x22, 0xff, 0x22]), "DIR/tokenizer.json is not UTF-8 text"],
    [
      "deep lists",
      `{"model": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
      "DIR holds no tokenizer: tokenizer.json: model: [...] is no object",
    ],
  ])("a file with %s", (_, content, wanted) => {
    writeFileSync(path, content);
    expect(told()).toBe(wanted);
  });

  test("a file that is cut anywhere", () => {
    const whole = JSON.stringify(tokenizer);
    writeFileSync(path, whole);
    expect(told()).toBe("fine");
    for (let size = 0; size < whole.length; size += 97) {
      writeFileSync(path, whole.slice(0, size));
      expect(told()).toMatch(/^DIR\/tokenizer\.json: /);
    }
  });

  test("what is no file", () => {
    rmSync(path);
    mkdirSync(path);
    expect(told()).toBe("DIR/tokenizer.json: it is a directory");
    rmSync(path, { recursive: true });
    symlinkSync("tokenizer.json", path);
    expect(told()).toBe("DIR/tokenizer.json: its links go in a circle");
    rmSync(path);
  });
});
