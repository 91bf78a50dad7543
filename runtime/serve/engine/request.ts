import type { Sampling } from "../sampling/sampling.ts";
import type { Sampled } from "../../device/choice.ts";

export interface EngineRequest {
  /** At least one token. */
  readonly prompt: readonly number[];
  /** The most tokens to generate, at least 1. */
  readonly maxTokens: number;
  readonly sampling: Sampling;
  /** Generation ends with one of these; it is given to `onToken` like the others. */
  readonly stopTokens: ReadonlySet<number>;
  readonly signal?: AbortSignal;
  /** When the request fails with a `DeadlineError`, by the clock of `performance.now()`. */
  readonly deadline?: number;
  /** Called in order, while the engine waits. True ends the generation with the reason `stop`. */
  readonly onToken: (token: Sampled) => boolean;
}

export interface Finished {
  /** `stop`: a stop token, or `onToken` said so; `length`: `maxTokens` or the end of the context. */
  readonly reason: "stop" | "length";
  /** Positions of the prompt that came from the cache. */
  readonly cachedTokens: number;
}

/** More requests wait than the engine allows. */
export class QueueFullError extends Error {
  override readonly name = "QueueFullError";
  /** A guess after how many seconds there is room. */
  readonly retryAfter: number;

  constructor(waiting: number, retryAfter: number) {
    super(`the queue is full, ${waiting} answers are waiting`);
    this.retryAfter = retryAfter;
  }
}

/** The engine takes no more requests: it is about to end. */
export class DrainingError extends Error {
  override readonly name = "DrainingError";

  constructor() {
    super("the server is shutting down");
  }
}

export class DeadlineError extends Error {
  override readonly name = "DeadlineError";

  constructor() {
    super("the request took longer than is allowed");
  }
}

/** The prompt leaves no room for an answer. */
export class ContextError extends Error {
  override readonly name = "ContextError";

  constructor(prompt: number, context: number) {
    super(`the context is ${context} tokens, but the prompt has ${prompt} and an answer needs at least one more`);
  }
}
