import { unspell } from "./byte-alphabet.ts";
import { ByteLevelBpe } from "./byte-level.ts";
import { checkConfigFile, checkTokenizerFile } from "./check-format.ts";
import type { TokenizerConfig, TokenizerJson } from "./format.ts";
import { Marks } from "./marks.ts";
import { ByteStream } from "./token-stream.ts";
import type { Tokenizer, TokenStream } from "./tokenizer.ts";
import { NO_BYTES, Vocabulary } from "./vocabulary.ts";

/** What a tokenizer is made from, complete: what may be left out is null or empty. */
export interface CheckedFiles {
  readonly file: TokenizerJson;
  readonly config: TokenizerConfig;
}

/** @throws Error that says why the files are no tokenizer */
export function checkedFiles(tokenizer: TokenizerJson, config: TokenizerConfig): CheckedFiles {
  checkTokenizerFile(tokenizer);
  checkConfigFile(config);
  const file = { ...tokenizer, added_tokens: tokenizer.added_tokens ?? [] };
  for (const key of ["normalizer", "pre_tokenizer", "post_processor", "decoder"] as const) file[key] ??= null;
  return { file, config };
}

/** Undefined for a tokenizer that is no byte-level BPE. @throws Error */
export function byteLevelTokenizer({ file, config }: CheckedFiles): Tokenizer | undefined {
  // What the library does around marks (white space, whole words) is rare, and left to it.
  const plainMarks = file.added_tokens.every((token) => !token.lstrip && !token.rstrip && !token.single_word);
  const bpe = plainMarks ? ByteLevelBpe.of(file) : undefined;
  return bpe && new ByteLevel(file, config, bpe);
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
    const bytes = new Uint8Array(ids.reduce((sum, id) => sum + this.bytes(id).length, 0));
    let at = 0;
    for (const id of ids) {
      bytes.set(this.bytes(id), at);
      at += this.bytes(id).length;
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }

  stream(): TokenStream {
    return new ByteStream((id) => this.bytes(id));
  }
}
