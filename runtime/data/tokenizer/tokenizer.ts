import type { ChatTemplate } from "./chat-template.ts";

/** From text to token numbers and back. */
export interface Tokenizer {
  /** A hash of all that it is made from: equal ones give equal tokens. */
  readonly fingerprint: string;
  /** Token numbers are below it. */
  readonly size: number;
  /** What begins and ends a document, where the tokenizer has such tokens. */
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  /** The template of conversations, where `tokenizer_config.json` has one. */
  readonly chat: ChatTemplate | undefined;
  /** The number of a token by its text, special ones too: `<|eos|>`. */
  id(token: string): number | undefined;
  /** True for tokens that are no text: `<|eos|>`. */
  isSpecial(id: number): boolean;
  /** Text as it is: `<|eos|>` in it is text, so no document can forge an end. Adds nothing at either end. */
  encode(text: string): number[];
  /** Text in which special tokens stand for themselves: what a chat template renders. Adds nothing at either end. */
  encodeWithSpecials(text: string): number[];
  /** The bytes of a token; none of a special one and of a number that is no token. */
  bytes(id: number): Uint8Array;
  /** The text of tokens without special ones; bytes that are no UTF-8 become U+FFFD. */
  decode(ids: readonly number[]): string;
  /** For tokens that come one by one: gives text as soon as its characters are whole. */
  stream(): TokenStream;
}

export interface TokenStream {
  /** Whether something may still come of the tokens so far: false is certain, true is not. */
  readonly waiting: boolean;
  /** The text that the token completes; "" while a character is cut. */
  push(id: number): string;
  /** What is left at the end: U+FFFD for a cut character. */
  end(): string;
}
