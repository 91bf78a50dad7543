import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import type { Sampled } from "../../device/choice.ts";
import { StopStrings } from "./stop-strings.ts";

/** A token of an answer. */
export interface GeneratedToken {
  readonly token: number;
  /** The text that is certain with this token: "" where a character is cut; the texts of all tokens are the answer. */
  readonly text: string;
  /** Natural logarithm of the model's own probability, when it is asked for. */
  readonly logprob?: number;
  /** The likeliest tokens, when they are asked for. */
  readonly alternatives?: readonly { readonly token: number; readonly logprob: number }[];
}

/**
 * Gives each token of one answer the text that it completes. A token waits for the next one only while there is text that
 * nobody can be sure of: a cut character, or what may begin a stop string.
 */
export class TokenTexts {
  readonly #stream: ReturnType<Tokenizer["stream"]> | undefined;
  readonly #stops: StopStrings;
  #waiting: GeneratedToken | undefined;

  /** @param tokenizer without one there are tokens and no text */
  constructor(tokenizer: Tokenizer | undefined, stops: readonly string[]) {
    this.#stream = tokenizer?.stream();
    this.#stops = new StopStrings(stops);
  }

  /** Takes a token; gives those that are ready, and whether a stop string is complete. Nothing of it is in their texts. */
  push(sampled: Sampled): { readonly ready: readonly GeneratedToken[]; readonly stopped: boolean } {
    const ready = this.#taken();
    const { text, stopped } = this.#stops.push(this.#stream?.push(sampled.token) ?? "");
    const token = { ...sampled, text };
    if (!stopped && (this.#stops.waiting || this.#stream?.waiting === true)) this.#waiting = token;
    else ready.push(token);
    return { ready, stopped };
  }

  /** The last token, with all text that was held back; to be called when no stop string was found. */
  end(): readonly GeneratedToken[] {
    const { text } = this.#stops.push(this.#stream?.end() ?? "");
    const rest = text + this.#stops.end();
    return this.#taken().map((token) => ({ ...token, text: token.text + rest }));
  }

  #taken(): GeneratedToken[] {
    const token = this.#waiting;
    this.#waiting = undefined;
    return token === undefined ? [] : [token];
  }
}
