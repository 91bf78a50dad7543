import { unspell } from "./byte-alphabet.ts";
import type { CheckedFiles } from "./byte-level-tokenizer.ts";
import { type LibraryTokenizer, Tokenizer as Library } from "./library.ts";
import { DecodedStream } from "./token-stream.ts";
import type { Tokenizer, TokenStream } from "./tokenizer.ts";
import { NO_BYTES, Vocabulary } from "./vocabulary.ts";

/** Any tokenizer of Hugging Face. @throws Error for one of a kind that is not known */
export function libraryTokenizer(files: CheckedFiles): Tokenizer {
  return new LibraryBacked(files);
}

/** SentencePiece, WordPiece, Unigram, ...: encoded and decoded by `@huggingface/tokenizers`. */
class LibraryBacked extends Vocabulary implements Tokenizer {
  readonly #library: LibraryTokenizer;
  /** Without marks: `<|eos|>` is text. */
  readonly #plain: LibraryTokenizer;
  /** Tokens are spelled in the alphabet of bytes. */
  readonly #byteLevel: boolean;

  constructor({ file, config }: CheckedFiles) {
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
