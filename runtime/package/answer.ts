/** An answer as whoever asked for it reads it. */
import type { Finished } from "../serve/engine/request.ts";
import type { GeneratedToken } from "../serve/text/token-texts.ts";
import { ModelError } from "./model-error.ts";

/** How an answer is made. What is not given is as the serve section says. */
export interface GenerateOptions {
  /** The most tokens of the answer; as many as the context has room for when not given. */
  readonly maxTokens?: number;
  /** Divides the logits; 0 takes the likeliest token, the lowest of equals. */
  readonly temperature?: number;
  /** Draws from the likeliest tokens that together have at least this probability. */
  readonly topP?: number;
  /** Draws from so many of the likeliest tokens; 0 for all. */
  readonly topK?: number;
  /** Drops tokens that are less likely than this times the likeliest one. */
  readonly minP?: number;
  /** Subtracted from the logit of a token for every time that it was generated. */
  readonly frequencyPenalty?: number;
  /** Subtracted from the logit of a token that was generated. */
  readonly presencePenalty?: number;
  /** Divides positive and multiplies negative logits of tokens in prompt or answer. */
  readonly repetitionPenalty?: number;
  /** Added to logits, by token. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** A whole number below 2^53: the same request with the same seed gives the same answer. Drawn when not given. */
  readonly seed?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: string | readonly string[];
  /** Tokens that end the answer beside that of the end of the text; they are not part of it. */
  readonly stopTokens?: readonly number[];
  /** Goes on behind the end of the text. */
  readonly ignoreEos?: boolean;
  /** Tells the log-probability of each token, and of so many of the likeliest ones. */
  readonly logprobs?: boolean | number;
  readonly signal?: AbortSignal;
}

export interface GenerationEnd extends Finished {
  readonly promptTokens: number;
  /** Tokens that were generated, that of the end too. */
  readonly generatedTokens: number;
}

/** An answer. It is made when somebody reads it, once; who stops reading cancels it. */
export interface Generation extends AsyncIterable<GeneratedToken> {
  /** The whole text. */
  text(): Promise<string>;
  /** All tokens. */
  tokens(): Promise<number[]>;
  /** How it ended; known when it was read to its end. */
  readonly end: GenerationEnd | undefined;
}

/**
 * An answer that is made by what `make` gives: tokens, and in the end how it ended.
 * @param make called when somebody begins to read; its generator is told to return when they stop
 */
export function answerOf(make: () => AsyncGenerator<GeneratedToken, GenerationEnd, undefined>): Generation {
  return new Answer(make);
}

class Answer implements Generation {
  readonly #make: () => AsyncGenerator<GeneratedToken, GenerationEnd, undefined>;
  #begun = false;
  #end: GenerationEnd | undefined;

  constructor(make: () => AsyncGenerator<GeneratedToken, GenerationEnd, undefined>) {
    this.#make = make;
  }

  get end(): GenerationEnd | undefined {
    return this.#end;
  }

  async text(): Promise<string> {
    let text = "";
    for await (const token of this) text += token.text;
    return text;
  }

  async tokens(): Promise<number[]> {
    const tokens: number[] = [];
    for await (const { token } of this) tokens.push(token);
    return tokens;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void, undefined> {
    if (this.#begun) throw new ModelError("an answer can be read once: generate another one");
    this.#begun = true;
    this.#end = yield* this.#make();
  }
}
