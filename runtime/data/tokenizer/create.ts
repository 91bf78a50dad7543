/** Any tokenizer of Hugging Face as a `Tokenizer`. */
import { createHash } from "node:crypto";
import { named } from "../../io/json.ts";
import { unspell } from "./byte-alphabet.ts";
import { ByteLevelBpe } from "./byte-level.ts";
import { checkConfigFile, checkTokenizerFile } from "./check-format.ts";
import { ChatTemplate } from "./chat-template.ts";
import { nameOf, templateOf, type TokenizerConfig, type TokenizerJson } from "./format.ts";
import { type LibraryTokenizer, Tokenizer as Library } from "./library.ts";
import { Marks } from "./marks.ts";
import { ByteStream, DecodedStream } from "./token-stream.ts";
import type { Tokenizer, TokenStream } from "./tokenizer.ts";

const NO_BYTES = new Uint8Array(0);

/** @throws Error that says why the files are no tokenizer, or one of a kind that is not known */
export function createTokenizer(tokenizer: TokenizerJson, config: TokenizerConfig): Tokenizer {
  checkTokenizerFile(tokenizer);
  checkConfigFile(config);
  const file = { ...tokenizer, added_tokens: tokenizer.added_tokens ?? [] };
  for (const key of ["normalizer", "pre_tokenizer", "post_processor", "decoder"] as const) file[key] ??= null;
  // What the library does around marks (white space, whole words) is rare, and left to it.
  const plainMarks = file.added_tokens.every((token) => !token.lstrip && !token.rstrip && !token.single_word);
  const bpe = plainMarks ? ByteLevelBpe.of(file) : undefined;
  return bpe === undefined ? new LibraryBacked(file, config) : new ByteLevel(file, config, bpe);
}

/** What both kinds know of their tokens. */
class Vocabulary {
  readonly fingerprint: string;
  readonly size: number;
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly chat: ChatTemplate | undefined;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #special: ReadonlySet<number>;

  constructor(ids: ReadonlyMap<string, number>, file: TokenizerJson, config: TokenizerConfig) {
    const { added_tokens: added } = file;
    this.fingerprint = createHash("sha256")
      .update(JSON.stringify([file, config]))
      .digest("hex");
    this.#ids = ids;
    this.#special = new Set(added.flatMap((token) => (token.special ? [token.id] : [])));
    this.size = [...ids.values()].reduce((most, id) => Math.max(most, id + 1), 0);
    const [bos, eos] = [nameOf(config.bos_token), nameOf(config.eos_token)];
    this.bos = this.#named("bos_token", bos);
    this.eos = this.#named("eos_token", eos);
    const template = templateOf(config);
    if (template !== undefined) this.chat = new ChatTemplate(template, { bos_token: bos ?? "", eos_token: eos ?? "" });
  }

  /** Without its end of text a model would never stop. */
  #named(key: string, token: string | undefined): number | undefined {
    if (token === undefined) return undefined;
    const id = this.#ids.get(token);
    if (id === undefined) throw new Error(`tokenizer_config.json: ${key}: ${named(token)} is not in the vocabulary`);
    return id;
  }

  id(token: string): number | undefined {
    return this.#ids.get(token);
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }
}

class ByteLevel extends Vocabulary implements Tokenizer {
  readonly #bpe: ByteLevelBpe;
  readonly #marks: Marks;
  readonly #bytes: readonly (Uint8Array | undefined)[];

  constructor(file: TokenizerJson, config: TokenizerConfig, bpe: ByteLevelBpe) {
    const { added_tokens: added } = file;
    const vocab = Object.entries(file.model.vocab as Readonly<Record<string, number>>);
    super(new Map([...vocab, ...added.map((token) => [token.content, token.id] as const)]), file, config);
    this.#bpe = bpe;
    this.#marks = new Marks(added);
    const bytes: Uint8Array[] = [];
    for (const [text, id] of vocab) bytes[id] = unspell(text) ?? NO_BYTES;
    for (const { id, content, special } of added) bytes[id] = special ? NO_BYTES : new TextEncoder().encode(content);
    this.#bytes = bytes;
  }

  encode(text: string): number[] {
    const ids: number[] = [];
    this.#bpe.encode(text, ids);
    return ids;
  }

  encodeWithSpecials(text: string): number[] {
    const ids: number[] = [];
    for (const section of this.#marks.split(text)) {
      if ("mark" in section) ids.push(section.mark.id);
      else this.#bpe.encode(section.text, ids);
    }
    return ids;
  }

  bytes(id: number): Uint8Array {
    return this.#bytes[id] ?? NO_BYTES;
  }

  decode(ids: readonly number[]): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Buffer.concat(ids.map((id) => this.bytes(id))));
  }

  stream(): TokenStream {
    return new ByteStream((id) => this.bytes(id));
  }
}

/** SentencePiece, WordPiece, Unigram, ...: encoded and decoded by `@huggingface/tokenizers`. */
class LibraryBacked extends Vocabulary implements Tokenizer {
  readonly #library: LibraryTokenizer;
  /** Without marks: `<|eos|>` is text. */
  readonly #plain: LibraryTokenizer;
  /** Tokens are spelled in the alphabet of bytes. */
  readonly #byteLevel: boolean;

  constructor(file: TokenizerJson, config: TokenizerConfig) {
    const library = new Library(file, config);
    super(library.get_vocab(), file, config);
    this.#library = library;
    this.#plain = new Library({ ...file, added_tokens: [] }, config);
    this.#byteLevel = file.decoder?.type === "ByteLevel";
  }

  encode(text: string): number[] {
    return text === "" ? [] : this.#plain.encode(text, { add_special_tokens: false }).ids;
  }

  encodeWithSpecials(text: string): number[] {
    return text === "" ? [] : this.#library.encode(text, { add_special_tokens: false }).ids;
  }

  /** `<0xE2>` is a byte; `▁` of SentencePiece is a space. */
  bytes(id: number): Uint8Array {
    const token = this.isSpecial(id) ? undefined : this.#library.id_to_token(id);
    if (token === undefined) return NO_BYTES;
    const spelled = this.#byteLevel ? unspell(token) : undefined;
    if (spelled !== undefined) return spelled;
    const byte = /^<0x([0-9A-F]{2})>$/.exec(token);
    if (byte !== null) return Uint8Array.of(Number.parseInt(byte[1]!, 16));
    return new TextEncoder().encode(token.replaceAll("\u2581", " "));
  }

  decode(ids: readonly number[]): string {
    return ids.length === 0 ? "" : this.#library.decode(ids, { skip_special_tokens: true });
  }

  stream(): TokenStream {
    return new DecodedStream((ids) => this.decode(ids));
  }
}
