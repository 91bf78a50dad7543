import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import type { Engine } from "../engine/engine.ts";
import type { Metrics } from "./metrics.ts";

/** What the endpoints serve. */
export interface Service {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly metrics: Metrics;
  /** What requests call the model. */
  readonly model: string;
  /** Token numbers are below it. */
  readonly vocabulary: number;
  /** Seconds since 1970 at which the model was loaded. */
  readonly created: number;
  /** How a token is chosen where a request does not say it. */
  readonly defaults: { readonly temperature: number; readonly topP: number; readonly topK: number };
  /** Whether the model answers questions rather than continues texts. */
  readonly talks: boolean;
  /** Requests that are being answered: aborted when the server ends. */
  readonly active: Set<AbortController>;
  /** The longest that a request may take, in milliseconds. */
  readonly timeout?: number;
}
