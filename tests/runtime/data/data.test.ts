import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { batchOf } from "../../../runtime/data/batch.ts";
import { type Data, type DataOptions, openData } from "../../../runtime/data/data.ts";
import type { DataSource } from "../../../runtime/data/source.ts";
import { createTokenizer } from "../../../runtime/data/tokenizer/create.ts";
import { trainTokenizer } from "../../../runtime/data/tokenizer/new-tokenizer.ts";

const files = trainTokenizer(["the cat and the dog and the mouse sat on the mat. ".repeat(4)], 300);
const tokenizer = createTokenizer(files.tokenizer, files.config); // 288 tokens
const root = mkdtempSync(join(tmpdir(), "data-"));
afterAll(() => rmSync(root, { recursive: true }));

let folders = 0;

/** A folder with some files. */
function folderWith(content: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = join(root, `${folders++}`);
  for (const [name, bytes] of Object.entries(content)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
  return folder;
}

function open(folder: string, source: DataSource, options: Partial<DataOptions> = {}): Promise<Data> {
  return openData(source, {
    root: folder,
    tokenizer,
    vocabulary: 300,
    length: 64,
    seed: 1,
    cache: join(folder, "cache"),
    valid: 0,
    ...options,
  });
}

/** Tokens as text, special ones as `<1>`. */
function show(tokens: Iterable<number>): string {
  let [shown, plain]: [string, number[]] = ["", []];
  for (const token of [...tokens, 0]) {
    if (token >= 8) plain.push(token);
    else {
      shown += `${tokenizer.decode(plain)}<${token}>`;
      plain = [];
    }
  }
  return shown.slice(0, -3);
}

/** The pieces of one pass as text. */
function documentsIn(data: Data): string[] {
  const sequences = data.stream({ lookAhead: 0, epochs: 1 }).next(100_000);
  return sequences.flatMap((sequence) => sequence.map(({ tokens, length }) => show(tokens.subarray(0, length))));
}

const text = (name = "*.txt"): DataSource => ({ kind: "text", files: name, pack: true, fim: 0 });
const lines = (name = "*.jsonl", field = "text"): DataSource => ({
  kind: "lines",
  files: name,
  field,
  pack: true,
  fim: 0,
});
const chat = (pack = true): DataSource => ({ kind: "chat", files: "*.jsonl", pack });
const shards = (name = "*.bin"): DataSource => ({ kind: "shards", files: name, pack: true, fim: 0 });

describe("text", () => {
  test("a file is a document between <|bos|> and <|eos|>", async () => {
    const folder = folderWith({ "a.txt": "the cat", "sub/b.txt": "the dog\n", "c.md": "no" });
    const data = await open(folder, text("**/*.txt"));
    expect(documentsIn(data).toSorted()).toEqual(["<0>the cat<1>", "<0>the dog\n<1>"]);
    expect(data.train.documents).toBe(2);
  });

  test("a byte order mark is none of the text", async () => {
    expect(documentsIn(await open(folderWith({ "a.txt": "\uFEFFthe cat" }), text()))).toEqual(["<0>the cat<1>"]);
  });

  test("a long file becomes documents that end with paragraphs", async () => {
    const paragraph = `${"the cat sat on the mat. ".repeat(40)}\n\n`;
    const data = await open(folderWith({ "a.txt": paragraph.repeat(200) }), text(), { length: 32_768 / 16 });
    expect(data.train.documents).toBeGreaterThan(2);
    const documents = documentsIn(data).join("|");
    expect(documents.match(/<0>/g)).toHaveLength(1);
    expect(documents.match(/<1>/g)).toHaveLength(1);
    expect(documents.replaceAll(/<\d>|\|/g, "")).toHaveLength(paragraph.length * 200);
  });

  test("characters across the chunks of a file", async () => {
    const long = "é".repeat(1_100_000);
    const data = await open(folderWith({ "a.txt": `a${long}` }), text(), { length: 4_096 });
    const read = documentsIn(data)
      .join("")
      .replaceAll(/<\d>|\uFFFD/g, "");
    expect(read.length).toBeGreaterThan(1_099_000);
    expect(new Set(read)).toEqual(new Set("aé"));
  });
});

describe("lines", () => {
  test("a field of each object is a document", async () => {
    const folder = folderWith({ "a.jsonl": '{"body": "the cat"}\n\n{"body": "the dog", "x": 1}\r\n{"body": ""}' });
    const data = await open(folder, lines("*.jsonl", "body"));
    expect(documentsIn(data).toSorted()).toEqual(["<0>the cat<1>", "<0>the dog<1>"]);
  });

  test("lines across the chunks of a file", async () => {
    const written = [80_000, 1, 140_000, 209_711, 2, 209_712].map((count) => "thé ".repeat(count));
    const content = written.map((line) => JSON.stringify({ text: line })).join("\n");
    const data = await open(folderWith({ "a.jsonl": content }), lines(), { length: 1_200_000 });
    expect(documentsIn(data).map((document) => document.length)).toEqual(
      expect.arrayContaining(written.map(({ length }) => length + 6)),
    );
  });
});

describe("chat", () => {
  const say = (...turns: readonly string[]): string =>
    JSON.stringify({
      messages: turns.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content })),
    });

  test("only answers and their ends are targets", async () => {
    const data = await open(folderWith({ "a.jsonl": say("the cat", "sat", "the dog", "on the mat") }), chat());
    const { inputs } = batchOf(data.stream({ lookAhead: 1, epochs: 1 }).next(1), 1);
    const shown = (name: string): string =>
      [...inputs[name]!].map((token) => (token < 0 ? "." : show([token]))).join("");
    expect(shown("tokens")).toBe("<0><3>the cat<4>sat<1><3>the dog<4>on the mat<1>");
    expect(shown("target.1").replaceAll(/\.+/g, ".")).toBe(".sat<1>.on the mat<1>.");
    expect(shown("target.2").replaceAll(/\.+/g, ".")).toBe(".sat<1>.on the mat<1>.");
    expect(shown("ahead.1")).toBe("<3>the cat<4>sat<1><3>the dog<4>on the mat<1>.");
  });

  test("long conversations lose their end, and that is told", async () => {
    const folder = folderWith({ "a.jsonl": `${say("the cat", "sat")}\n${say("the dog", "the mat ".repeat(100))}` });
    const data = await open(folder, chat(false));
    expect(data.stream({ lookAhead: 0, epochs: 1 }).next(9)).toHaveLength(2);
    expect(data.remarks).toEqual([
      "1 of 2 conversations of `*.jsonl` are longer than 64 tokens: their ends are left out",
    ]);
  });

  test("needs messages with an answer", async () => {
    const written = [
      say("the cat", "sat"),
      '{"text": "x"}',
      '{"messages": []}',
      '{"messages": [{"content": "x"}]}',
      '{"messages": [{"role": "user", "content": 1}]}',
      say("thé cat"),
      '{"messages": [{"role": "tool", "content": "x"}, {"role": "assistant", "content": "x"}]}',
    ];
    const place = (line: number): string =>
      `line ${line} (byte ${Buffer.byteLength(`${written.slice(0, line - 1).join("\n")}\n`)})`;
    await expect(open(folderWith({ "a.jsonl": written.join("\n") }), chat())).rejects.toThrow(
      [
        `a.jsonl: ${place(2)}: it has no list \`messages\`; its keys are text`,
        `a.jsonl: ${place(3)}: it has no messages`,
        `a.jsonl: ${place(4)}: message 1 has no \`role\``,
        `a.jsonl: ${place(5)}: message 1 has no text \`content\``,
        `a.jsonl: ${place(6)}: no message is an answer (\`assistant\`)`,
        `a.jsonl: ${place(7)}: there is no role tool`,
      ].join("\n"),
    );
  });

  test("needs a template", async () => {
    const plain = createTokenizer(files.tokenizer, { bos_token: "<|bos|>" });
    const opened = open(folderWith({ "a.jsonl": say("a", "b") }), chat(), { tokenizer: plain });
    await expect(opened).rejects.toThrow("`*.jsonl` holds conversations, but the tokenizer has no chat template");
  });
});

describe("shards", () => {
  const u16 = (...tokens: readonly number[]): Uint8Array => new Uint8Array(Uint16Array.from(tokens).buffer);
  const u32 = (...tokens: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(tokens).buffer);
  const llmc = (magic: number, tokens: Uint8Array, count: number): Uint8Array => {
    const header = new Int32Array(256);
    header.set([magic, 1, count]);
    return Buffer.concat([new Uint8Array(header.buffer), tokens]);
  };
  const npy = (descr: string, shape: string, data: Uint8Array): Uint8Array => {
    const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117) + "\n";
    return Buffer.concat([Buffer.from("\u0093NUMPY\u0001\u0000\u0076\u0000", "latin1"), Buffer.from(header), data]);
  };
  const pieces = async (content: Readonly<Record<string, Uint8Array>>, glob = "*"): Promise<number[][]> => {
    const data = await open(folderWith(content), shards(glob));
    return data
      .stream({ lookAhead: 0, epochs: 1 })
      .next(100)
      .flatMap((sequence) => sequence.map(({ tokens, length }) => [...tokens.subarray(0, length)]))
      .toSorted((a, b) => a[0]! - b[0]!);
  };

  test("documents end with the end-of-text token, and with the file", async () => {
    const expected = [
      [9, 20, 1],
      [10, 1],
      [11, 12, 13],
    ];
    expect(await pieces({ "a.bin": u16(9, 20, 1, 10, 1), "b.bin": u16(11, 12, 13) })).toEqual(expected);
  });

  test("forms of files", async () => {
    const tokens = [9, 10, 11, 1];
    expect(await pieces({ "a.bin": llmc(20_240_520, u16(...tokens), 4) })).toEqual([tokens]);
    expect(await pieces({ "a.bin": llmc(20_240_801, u32(...tokens), 4) })).toEqual([tokens]);
    expect(await pieces({ "a.npy": npy("<u2", "(4,)", u16(...tokens)) })).toEqual([tokens]);
    expect(await pieces({ "a.npy": npy("<i4", "(2, 2)", u32(...tokens)) })).toEqual([tokens]);
    const wide = new Uint8Array(BigInt64Array.from(tokens, BigInt).buffer);
    expect(await pieces({ "a.npy": npy("<i8", "(4,)", wide) })).toEqual([tokens]);
  });

  test("what is wrong is told with the byte", async () => {
    const folder = folderWith({
      "a.bin": u16(9, 10, 300, 1),
      "b.bin": Uint8Array.of(1, 2, 3),
      "c.bin": llmc(20_240_520, u16(9, 10), 3),
      "d.npy": npy("<f4", "(1,)", u32(1)),
      "e.npy": npy("<i8", "(1,)", new Uint8Array(BigInt64Array.of(-1n).buffer)),
    });
    await expect(open(folder, shards("*.{bin,npy}"))).rejects.toThrow(
      [
        "a.bin: token 3 (byte 4) is number 300; the tokenizer has 288 tokens",
        "b.bin: its 3 bytes are no whole number of tokens of 2 bytes (a vocabulary of 288)",
        "c.bin: its header says 3 tokens, which are 1030 bytes, but it has 1028",
        "d.npy: its elements are <f4, not little-endian integers",
        "e.npy: token 1 (byte 128) is a number of more than 31 bits; the tokenizer has 288 tokens",
      ].join("\n"),
    );
  });

  test("infilling keeps every token and marks prefix, suffix and middle", async () => {
    const documents = Array.from({ length: 40 }, (_, i) => [0, ...Array.from({ length: 20 }, (_, j) => 10 + i + j), 1]);
    const folder = folderWith({ "a.bin": u16(...documents.flat()) });
    const data = await open(folder, { kind: "shards", files: "a.bin", pack: false, fim: 0.5 });
    const read = data
      .stream({ lookAhead: 0, epochs: 1 })
      .next(100)
      .map(([piece]) => [...piece!.tokens]);
    const turned = read.filter((tokens) => tokens[1] === 5);
    expect(turned.length).toBeGreaterThan(8);
    expect(turned.length).toBeLessThan(32);
    for (const tokens of turned) {
      const [hole, end] = [tokens.indexOf(6), tokens.indexOf(7)];
      const [prefix, suffix, middle] = [tokens.slice(2, hole), tokens.slice(hole + 1, end), tokens.slice(end + 1, -1)];
      expect(documents).toContainEqual([0, ...prefix, ...middle, ...suffix, 1]);
    }
    const plain = read.filter((tokens) => tokens[1] !== 5);
    for (const tokens of plain) expect(documents).toContainEqual(tokens);
  });
});

describe("vocabularies", () => {
  test("of more than 65,536 tokens take 4 bytes a token", async () => {
    const far = { id: 70_000, content: "<|far|>", special: true };
    const added = [...files.tokenizer.added_tokens, far];
    const large = createTokenizer(
      { ...files.tokenizer, added_tokens: added },
      { ...files.config, eos_token: "<|far|>" },
    );
    const data = await open(folderWith({ "a.txt": "the cat" }), text(), { tokenizer: large, vocabulary: 100_000 });
    const [sequence] = data.stream({ lookAhead: 0, epochs: 1 }).next(1);
    expect([...sequence![0]!.tokens]).toEqual([0, ...tokenizer.encode("the cat"), 70_000]);
  });

  test("may not be larger than the model's", async () => {
    const opened = open(folderWith({ "a.txt": "the cat" }), text(), { vocabulary: 256 });
    await expect(opened).rejects.toThrow("the tokenizer has 288 tokens, the model only 256");
  });
});

describe("files that cannot be used", () => {
  test("are told with file and byte, all at once", async () => {
    const folder = folderWith({
      "a.txt": "the cat",
      "b.txt": Buffer.concat([Buffer.from("the dog"), Uint8Array.of(0, 1)]),
      "c.txt": Buffer.concat([Buffer.from("the é"), Uint8Array.of(0xff), Buffer.from("mat")]),
      "d.txt": Uint8Array.of(0x1f, 0x8b, 8, 0),
      "e.txt": Buffer.from("\uFEFFthe", "utf16le"),
      "f.txt": Buffer.from("the é").subarray(0, 5),
    });
    await expect(open(folder, text())).rejects.toThrow(
      [
        "b.txt: byte 7 is zero: it is binary, not text",
        "c.txt: byte 6 is no UTF-8",
        "d.txt: it is compressed by gzip, not UTF-8 text",
        "e.txt: it is UTF-16, not UTF-8 text",
        "f.txt: its last character is cut",
      ].join("\n"),
    );
    expect(readdirSync(join(folder, "cache"))).toEqual([]);
  });

  test("lines that are no objects are told with line and byte", async () => {
    const folder = folderWith({ "a.jsonl": '{"text": "the"}\n[1]\n{"text": 1}\n{"body": 1}\n{"text"\n' });
    await expect(open(folder, lines())).rejects.toThrow(
      /^a\.jsonl: line 2 \(byte 16\): it is no JSON object\na\.jsonl: line 3 \(byte 20\): `text` is no text\na\.jsonl: line 4 \(byte 32\): it has no `text`; its keys are body\na\.jsonl: line 5 \(byte 44\): it is no JSON: /,
    );
  });

  test("a glob without files, and files without documents", async () => {
    const folder = folderWith({ "a.txt": "", "b.txt": "the cat" });
    await expect(open(folder, text("*.md"))).rejects.toThrow(`no file matches \`*.md\` in ${folder}`);
    await expect(open(folder, text("a.txt"))).rejects.toThrow("`a.txt` is empty: no file has a document");
    expect((await open(folder, text())).remarks).toEqual(["a.txt has no document"]);
  });
});

describe("the cache", () => {
  test("tokenizes once, and anew when a file has changed", async () => {
    const folder = folderWith({ "a.txt": "the cat", "b.txt": "the dog" });
    let read = 0;
    const counting = { progress: () => read++ };
    const first = documentsIn(await open(folder, text(), counting));
    expect(read).toBe(2);
    expect(documentsIn(await open(folder, text(), counting))).toEqual(first);
    expect(read).toBe(2);
    writeFileSync(join(folder, "b.txt"), "the mouse");
    expect(documentsIn(await open(folder, text(), counting)).toSorted()).toEqual(["<0>the cat<1>", "<0>the mouse<1>"]);
    expect(readdirSync(join(folder, "cache"))).toHaveLength(2);
  });

  test("what a killed process left is removed, what is damaged is told", async () => {
    const folder = folderWith({ "a.txt": "the cat", "b.txt": "the dog" });
    (await open(folder, text())).close();
    const cache = join(folder, "cache");
    const [key] = readdirSync(cache);
    writeFileSync(join(cache, key!, "tokens.bin"), "x");
    await expect(open(folder, text())).rejects.toThrow(`${join(cache, key!)} is damaged: remove it`);
    // No process has the highest number that there is.
    const left = join(cache, `.${key}.4194304`);
    renameSync(join(cache, key!), left);
    await open(folder, text());
    expect(readdirSync(cache)).toEqual([key]);
  });

  test("an aborted preparation leaves nothing", async () => {
    const folder = folderWith({ "a.txt": "the cat sat on the mat. \n\n".repeat(400_000) });
    const stop = new AbortController();
    const opened = open(folder, text(), { signal: stop.signal });
    setTimeout(() => stop.abort(new Error("stopped")), 60);
    await expect(opened).rejects.toThrow("stopped");
    expect(readdirSync(join(folder, "cache"))).toEqual([]);
  });
});

describe("held-out documents", () => {
  const many = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`${i}.txt`, `the cat ${i} sat`]));

  test("are a share of all, the same for every seed and batch, and not trained on", async () => {
    const folder = folderWith(many);
    const data = await open(folder, text(), { valid: 0.1 });
    expect(data.valid.documents).toBeGreaterThan(20);
    expect(data.valid.documents).toBeLessThan(60);
    expect(data.train.documents + data.valid.documents).toBe(400);
    const other = await open(folder, text(), { valid: 0.1, seed: 9 });
    expect(other.validation({ lookAhead: 0 })).toEqual(data.validation({ lookAhead: 0 }));
    const held = data
      .validation({ lookAhead: 0 })
      .flatMap((sequence) => sequence.map(({ tokens }) => tokenizer.decode([...tokens])));
    expect(held).toHaveLength(data.valid.documents);
    for (const document of documentsIn(data)) expect(held).not.toContain(document.replaceAll(/<\d>/g, ""));
  });

  test("some tokens of them", async () => {
    const data = await open(folderWith(many), text(), { valid: 0.1 });
    const some = data.validation({ lookAhead: 0, tokens: 100 });
    expect(some).toEqual(data.validation({ lookAhead: 0 }).slice(0, some.length));
    expect(some.length).toBeLessThan(data.validation({ lookAhead: 0 }).length);
  });

  test("one at least of two, none of one", async () => {
    const two = await open(folderWith({ "a.txt": "the cat", "b.txt": "the dog" }), text(), { valid: 0.0001 });
    expect([two.train.documents, two.valid.documents]).toEqual([1, 1]);
    const one = await open(folderWith({ "a.txt": "the cat" }), text(), { valid: 0.5 });
    expect([one.train.documents, one.valid.documents]).toEqual([1, 0]);
    expect(one.validation({ lookAhead: 0 })).toEqual([]);
    expect(one.remarks).toEqual(["`*.txt` is one document: nothing of it is held out"]);
  });
});

test("a mixture of kinds, and a state that goes on with it", async () => {
  const folder = folderWith({
    "a.txt": "the cat sat. ".repeat(300),
    "b.jsonl": `{"text": "${"the dog ".repeat(300)}"}`,
  });
  const source: DataSource = {
    kind: "mixture",
    parts: [
      { share: 0.75, data: text() },
      { share: 0.25, data: lines() },
    ],
  };
  const data = await open(folder, source);
  const stream = data.stream({ lookAhead: 1 });
  stream.next(7);
  const state = stream.state();
  const after = stream.next(9);
  expect(data.stream({ lookAhead: 1, state }).next(9)).toEqual(after);
  const other = await open(folder, source, { seed: 2 });
  expect(() => other.stream({ lookAhead: 1, state })).toThrow("the state belongs to other data");
});
