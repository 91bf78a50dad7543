import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { encodeChat } from "./chat.ts";
import { hashText, type TokenDocument } from "./document.ts";
import type { Document } from "./read-file.ts";

/**
 * The tokens of a document: texts between the tokens that begin and end one, as far as the tokenizer has them and the text
 * was not cut there; conversations are what the chat template makes of them.
 * @param problem told where the chat template fails; then the result is undefined
 */
export function encodeDocument(
  document: Document,
  tokenizer: Tokenizer,
  problem: (text: string) => void,
): TokenDocument | undefined {
  if ("messages" in document) {
    try {
      return encodeChat(document.messages, tokenizer);
    } catch (error) {
      problem(`${document.place}: ${(error as Error).message}`);
      return undefined;
    }
  }
  const { bos, eos } = tokenizer;
  const { text, first, last } = document;
  const tokens = tokenizer.encode(text);
  if (first && bos !== undefined) tokens.unshift(bos);
  if (last && eos !== undefined) tokens.push(eos);
  return { tokens, hash: hashText(text) };
}
