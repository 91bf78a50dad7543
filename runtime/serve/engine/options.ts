import type { Session } from "../../device/session.ts";

export interface EngineOptions {
  /** The longest prompt and answer together; never more than the caches hold. */
  readonly context: number;
  /** Positions of a page of the cache. */
  readonly pageSize: number;
  /** The most tokens that a step reads; raised to one token, and its guesses, for every running sequence. */
  readonly tokensPerStep: number;
  /** The most sequences that generate at the same time. */
  readonly maxRunning: number;
  /** The most sequences that wait beside them. */
  readonly maxWaiting: number;
  /** How many tokens the look-ahead modules guess. */
  readonly draftTokens: number;
  /** Tokens below this number can be chosen: a model may have room for more than its tokenizer knows. All without this. */
  readonly tokens?: number;
  /**
   * Reads everything with this one program, prompts and answers in one call. Without it prompts go through `prefill` and
   * generated tokens through `decode`, in two calls: the two may differ in the last bits, and what a token gives must not
   * depend on what else there is to do.
   */
  readonly only?: "prefill" | "decode";
}

export const ENGINE_DEFAULTS = {
  pageSize: 64,
  tokensPerStep: 512,
  maxRunning: 64,
  maxWaiting: 256,
  draftTokens: 0,
} as const;

/** @throws RangeError when the session cannot do what the options say */
export function checkedOptions(session: Session, given: Partial<EngineOptions>): EngineOptions {
  const options = { ...ENGINE_DEFAULTS, context: session.cacheRows, ...given };
  for (const name of ["context", "pageSize", "tokensPerStep", "maxRunning"] as const) {
    if (!Number.isSafeInteger(options[name]) || options[name] < 1)
      throw new RangeError(`${name} must be a whole number from 1 on, not ${options[name]}`);
  }
  const { pageSize, maxRunning, draftTokens } = options;
  const rows = Math.floor(session.cacheRows / pageSize) * pageSize;
  if (rows === 0) throw new RangeError(`a cache of ${session.cacheRows} rows has no room for a page of ${pageSize}`);
  for (let k = 1; k <= draftTokens; k++) {
    if (!session.programs.includes(`draft.${k}`))
      throw new RangeError(`the model has no look-ahead module ${k}: it cannot guess ${draftTokens} tokens`);
  }
  return {
    ...options,
    context: Math.min(options.context, rows),
    tokensPerStep: Math.max(options.tokensPerStep, maxRunning * (1 + draftTokens)),
  };
}
