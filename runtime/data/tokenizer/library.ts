/**
 * `@huggingface/tokenizers` as this folder uses it. The declarations of the package import each other without extensions,
 * which TypeScript cannot follow for ES modules: these are in their place.
 */
import * as untyped from "@huggingface/tokenizers";
import type { Part, TokenizerConfig, TokenizerJson } from "./format.ts";

export interface LibraryTokenizer {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: number[] };
  /** Of one token at least. */
  decode(
    ids: readonly number[],
    options: { readonly skip_special_tokens: boolean; readonly clean_up_tokenization_spaces?: boolean },
  ): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_vocab(): ReadonlyMap<string, number>;
}

interface Library {
  readonly Tokenizer: new (tokenizer: TokenizerJson, config: TokenizerConfig) => LibraryTokenizer;
  /** `pattern` is an expression of Oniguruma as JavaScript writes it. */
  readonly SplitPreTokenizer: new (config: Part) => { readonly pattern: RegExp | null };
}

// One by one, so that a bundle has what it uses.
export const Tokenizer = (untyped as unknown as Library).Tokenizer;
export const SplitPreTokenizer = (untyped as unknown as Library).SplitPreTokenizer;
