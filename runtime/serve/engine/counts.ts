/** What an engine has done so far. */
export interface EngineCounts {
  /** Tokens of prompts that were read; after a preemption again. */
  promptTokens: number;
  generatedTokens: number;
  /** Positions that were found in the cache instead. */
  cachedTokens: number;
  /** Guesses of the look-ahead modules. */
  draftedTokens: number;
  /** Guesses that were what the model itself chose. */
  acceptedTokens: number;
  /** Sequences that gave their pages to earlier ones. */
  preemptions: number;
  steps: number;
}
