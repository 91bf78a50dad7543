import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import type { TokenLogprob } from "../../device/choice.ts";
import type { PieceToken } from "../text/answer.ts";

/** OpenAI has no infinity: what can't be is as unlikely as this. */
const LEAST = -9999;

/** `choices[].logprobs.content` of a chat. */
export function chatLogprobs(tokenizer: Tokenizer, tokens: readonly PieceToken[]): object[] {
  const entry = ({ token, logprob }: TokenLogprob): object => {
    const bytes = tokenizer.bytes(token);
    return { token: textOf(bytes), logprob: Math.max(LEAST, logprob), bytes: [...bytes] };
  };
  return tokens.map(({ token, logprob, alternatives }) => {
    return { ...entry({ token, logprob: logprob! }), top_logprobs: alternatives!.map(entry) };
  });
}

/** `choices[].logprobs` of a completion. */
export function completionLogprobs(tokenizer: Tokenizer, tokens: readonly PieceToken[]): object {
  const name = (token: number): string => textOf(tokenizer.bytes(token));
  const limited = (logprob: number): number => Math.max(LEAST, logprob);
  return {
    tokens: tokens.map(({ token }) => name(token)),
    token_logprobs: tokens.map(({ logprob }) => limited(logprob!)),
    // Of tokens that look the same, the likeliest is told.
    top_logprobs: tokens.map(({ alternatives }) =>
      Object.fromEntries(alternatives!.toReversed().map(({ token, logprob }) => [name(token), limited(logprob)])),
    ),
    text_offset: tokens.map(({ offset }) => offset),
  };
}

/** A part of a character is shown as U+FFFD; its bytes say what it is. */
function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
