/** Any tokenizer of Hugging Face as a `Tokenizer`. */
import { byteLevelTokenizer, checkedFiles } from "./byte-level-tokenizer.ts";
import type { TokenizerConfig, TokenizerJson } from "./format.ts";
import { libraryTokenizer } from "./library-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** @throws Error that says why the files are no tokenizer, or one of a kind that is not known */
export function createTokenizer(tokenizer: TokenizerJson, config: TokenizerConfig): Tokenizer {
  const files = checkedFiles(tokenizer, config);
  return byteLevelTokenizer(files) ?? libraryTokenizer(files);
}
