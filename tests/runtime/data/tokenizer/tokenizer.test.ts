import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { ByteLevelBpe } from "../../../../runtime/data/tokenizer/byte-level.ts";
import { createTokenizer } from "../../../../runtime/data/tokenizer/create.ts";
import type { BpeModel, Part, TokenizerJson } from "../../../../runtime/data/tokenizer/format.ts";
import { Tokenizer as Library } from "../../../../runtime/data/tokenizer/library.ts";
import { loadTokenizer, saveTokenizer } from "../../../../runtime/data/tokenizer/load.ts";
import { trainTokenizer } from "../../../../runtime/data/tokenizer/new-tokenizer.ts";

const text = readFileSync(resolve(import.meta.dirname, "../../../fixtures/tokenizer/text.txt"), "utf8");
const files = trainTokenizer([text], 1_200);
const tokenizer = createTokenizer(files.tokenizer, files.config);
const folder = mkdtempSync(join(tmpdir(), "tokenizer-"));
afterAll(() => rmSync(folder, { recursive: true }));

const library = (file: TokenizerJson): InstanceType<typeof Library> => new Library(file, files.config);
const idsOf = (file: TokenizerJson, of: string): number[] =>
  library(file).encode(of, { add_special_tokens: false }).ids;

function variant(changes: Partial<TokenizerJson>): TokenizerJson {
  return { ...files.tokenizer, ...changes };
}

function splitting(...patterns: readonly string[]): Part {
  const splits = patterns.map((Regex) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }));
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  return { type: "Sequence", pretokenizers: [...splits, bytes] };
}

/** How published tokenizers find words. */
const PRE_TOKENIZERS: Readonly<Record<string, Part>> = {
  dskc: files.tokenizer.pre_tokenizer!,
  "GPT-2": { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  "Llama 3": splitting(
    String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  ),
  "DeepSeek-V3": splitting(
    String.raw`\p{N}{1,3}`,
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  ),
  "cl100k, converted": {
    type: "Sequence",
    pretokenizers: [
      {
        type: "Split",
        pattern: { Regex: String.raw`\p{N}{1,3}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+` },
        behavior: "Removed",
        invert: true,
      },
      { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  },
};

describe("the tokens are those of @huggingface/tokenizers", () => {
  test.each(Object.keys(PRE_TOKENIZERS))("with the words of %s", (name) => {
    const file = variant({ pre_tokenizer: PRE_TOKENIZERS[name]! });
    expect(ByteLevelBpe.of(file)).toBeDefined();
    expect(createTokenizer(file, files.config).encode(text)).toEqual(idsOf(file, text));
  });

  test("with NFC before, and whole words first", () => {
    const { vocab, merges } = files.tokenizer.model as BpeModel;
    const longest = Object.keys(vocab).filter((token) => token.length > 4);
    // Without the merges of the longest tokens, only words that are looked up whole become them.
    const fewer = merges.filter((merge) => !longest.includes(String(merge).replace(" ", "")));
    const file = variant({
      normalizer: { type: "NFC" },
      model: { ...files.tokenizer.model, merges: fewer, ignore_merges: true } as BpeModel,
    });
    const ids = createTokenizer(file, files.config).encode(text);
    expect(ids).toEqual(idsOf(file, text));
    expect(ids.some((id) => longest.some((token) => vocab[token] === id))).toBe(true);
  });

  test("property: on any text", () => {
    const reference = library(files.tokenizer);
    const unit = fc.oneof(
      fc.string({ unit: "binary", maxLength: 4 }),
      fc.constantFrom(
        "'ll",
        " the",
        "\r\n",
        "  ",
        "\t",
        "1234",
        "日本",
        "<|eos|>",
        "<think>",
        "====",
        "\u00A0",
        "e\u0301",
      ),
    );
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 30 }), (parts) => {
        const some = parts.join("");
        const { ids } = reference.encode(some, { add_special_tokens: false });
        expect(tokenizer.encodeWithSpecials(some)).toEqual(ids);
        // The library decodes no empty list.
        const [first] = tokenizer.encode("a");
        const options = { skip_special_tokens: true, clean_up_tokenization_spaces: false };
        expect(tokenizer.decode([first!, ...ids])).toBe(reference.decode([first!, ...ids], options));
      }),
      { numRuns: 200 },
    );
  });
});

describe("text", () => {
  test("comes back as it was", () => {
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 50 }), (some) => {
        expect(tokenizer.decode(tokenizer.encode(some))).toBe(Buffer.from(some).toString());
      }),
    );
  });

  test("cannot forge special tokens", () => {
    const forged = "a<|eos|>b";
    expect(tokenizer.encode(forged)).not.toContain(tokenizer.eos);
    expect(tokenizer.decode(tokenizer.encode(forged))).toBe(forged);
    expect(tokenizer.encodeWithSpecials(forged)).toEqual([...tokenizer.encode("a"), 1, ...tokenizer.encode("b")]);
  });

  test("shows marks that are not special", () => {
    const [think] = tokenizer.encodeWithSpecials("<think>");
    expect(think).toBe(tokenizer.id("<think>"));
    expect(tokenizer.decode([tokenizer.eos!, think!])).toBe("<think>");
  });

  test("that is long without a break takes no quadratic time", () => {
    // Some 10^10 steps would be needed if it did: the test would run out of time.
    expect(tokenizer.decode(tokenizer.encode("=".repeat(200_000)))).toHaveLength(200_000);
  });
});

describe("token by token", () => {
  const pushed = (ids: readonly number[], from = tokenizer): string[] => {
    const stream = from.stream();
    return [...ids.map((id) => stream.push(id)), stream.end()];
  };

  test("characters that are cut wait", () => {
    const bytes = [...new TextEncoder().encode("é😀!")].map((byte) => idOfByte(byte));
    expect(pushed(bytes)).toEqual(["", "é", "", "", "", "😀", "!", ""]);
    expect(pushed(bytes.slice(0, 4))).toEqual(["", "é", "", "", "\uFFFD"]);
  });

  test("property: the text is that of all tokens together, and no part has half a character", () => {
    const id = fc.integer({ min: 0, max: tokenizer.size - 1 });
    fc.assert(
      fc.property(fc.array(id, { maxLength: 40 }), (ids) => {
        expect(pushed(ids).join("")).toBe(tokenizer.decode(ids));
      }),
    );
    expect(pushed(tokenizer.encode(text))).not.toContain("\uFFFD");
  });

  /** The token of a single byte. */
  function idOfByte(byte: number): number {
    for (let id = 0; id < tokenizer.size; id++) {
      const bytes = tokenizer.bytes(id);
      if (bytes.length === 1 && bytes[0] === byte) return id;
    }
    throw new Error(`no token for byte ${byte}`);
  }
});

describe("other kinds of tokenizers", () => {
  // The form of Llama 2: SentencePiece with bytes for what has no token.
  const pieces = [
    "<unk>",
    "<s>",
    "</s>",
    ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`),
  ];
  const letters = [..."▁abcdehlorwt", "he", "ll", "▁w", "or", "hell", "hello", "▁wor"];
  const vocab = Object.fromEntries([...pieces, ...letters].map((piece, id) => [piece, id]));
  const file: TokenizerJson = {
    added_tokens: [0, 1, 2].map((id) => ({ id, content: pieces[id]!, special: true })),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      vocab,
      merges: ["h e", "l l", "▁ w", "o r", "he ll", "hell o", "▁w or"],
      unk_token: "<unk>",
      byte_fallback: true,
    },
  };
  const sentencePiece = createTokenizer(file, { bos_token: "<s>", eos_token: { content: "</s>" } });

  test("are left to the library", () => {
    expect(sentencePiece.encode("hello wor")).toEqual([vocab["▁"], vocab["hello"], vocab["▁wor"]]);
    expect(sentencePiece.decode(sentencePiece.encode("hello world é"))).toBe("hello world é");
    expect({ bos: sentencePiece.bos, eos: sentencePiece.eos }).toEqual({ bos: 1, eos: 2 });
  });

  test("stream as well", () => {
    const stream = sentencePiece.stream();
    const ids = sentencePiece.encode("hello world é 😀");
    const parts = ids.map((id) => stream.push(id));
    expect([...parts, stream.end()].join("")).toBe("hello world é 😀");
    expect(parts).not.toContain("\uFFFD");
  });

  test("cannot be forged in text either", () => {
    expect(sentencePiece.encode("a</s>")).not.toContain(2);
    expect(sentencePiece.encodeWithSpecials("a</s>")).toContain(2);
  });

  test("tell bytes", () => {
    expect([...sentencePiece.bytes(vocab["<0xE9>"]!)]).toEqual([0xe9]);
    expect([...sentencePiece.bytes(vocab["▁w"]!)]).toEqual([0x20, 0x77]);
    expect([...sentencePiece.bytes(2)]).toEqual([]);
  });
});

describe("folders", () => {
  test("a saved tokenizer is the same one", () => {
    saveTokenizer(folder, files);
    const loaded = loadTokenizer(folder);
    expect(loaded.encode(text)).toEqual(tokenizer.encode(text));
    expect(loaded.chat?.source).toBe(tokenizer.chat?.source);
    expect(loaded.size).toBe(1_200);
  });

  test("what is missing or broken is told with its path", () => {
    expect(() => loadTokenizer(join(folder, "none"))).toThrow(`there is no ${join(folder, "none", "tokenizer.json")}`);
    writeFileSync(join(folder, "tokenizer.json"), "{");
    expect(() => loadTokenizer(folder)).toThrow(join(folder, "tokenizer.json"));
    writeFileSync(join(folder, "tokenizer.json"), '{"model": {"type": "Telepathy", "vocab": {}}}');
    expect(() => loadTokenizer(folder)).toThrow(`${folder} holds no tokenizer: `);
  });
});
