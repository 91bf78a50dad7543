/** Text of tokens that come one by one. */
import type { TokenStream } from "./tokenizer.ts";

/** Tokens that are bytes: a character that is cut waits for the rest of it. */
export class ByteStream implements TokenStream {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #bytes: (id: number) => Uint8Array;
  /** The last bytes: as many as a cut character has. */
  #last: readonly number[] = [];

  constructor(bytes: (id: number) => Uint8Array) {
    this.#bytes = bytes;
  }

  push(id: number): string {
    const bytes = this.#bytes(id);
    this.#last = [...this.#last, ...bytes.subarray(-3)].slice(-3);
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** Whether the last byte that begins a character is followed by too few. */
  get waiting(): boolean {
    const first = this.#last.findLastIndex((byte) => (byte & 0xc0) !== 0x80);
    const byte = this.#last[first] ?? 0;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > this.#last.length - first;
  }

  end(): string {
    this.#last = [];
    return this.#decoder.decode();
  }
}

/**
 * Tokens whose text depends on their neighbors: what decoding with one more token adds. It looks back to the text that was
 * given last and no further, so a token costs the same however long the text is.
 */
export class DecodedStream implements TokenStream {
  readonly #decode: (ids: readonly number[]) => string;
  /** Tokens of the text that was given last, and after `#given` those that wait. */
  #ids: number[] = [];
  #given = 0;

  constructor(decode: (ids: readonly number[]) => string) {
    this.#decode = decode;
  }

  get waiting(): boolean {
    return this.#ids.length > this.#given;
  }

  push(id: number): string {
    this.#ids.push(id);
    const fresh = this.#fresh();
    // U+FFFD at the end is most likely a character that is cut.
    if (fresh === "" || fresh.endsWith("\uFFFD")) return "";
    this.#ids = this.#ids.slice(this.#given);
    this.#given = this.#ids.length;
    return fresh;
  }

  end(): string {
    const fresh = this.#fresh();
    this.#given = this.#ids.length;
    return fresh;
  }

  #fresh(): string {
    return this.#decode(this.#ids).slice(this.#decode(this.#ids.slice(0, this.#given)).length);
  }
}
