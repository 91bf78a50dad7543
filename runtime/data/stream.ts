import type { Sequence } from "./batch.ts";

/** Where a stream stands: small, plain JSON. */
export interface StreamState {
  readonly format: 1;
  /** What the stream was made from: documents, length, packing, seed. A state of another stream is refused. */
  readonly stream: string;
  /** Of each corpus. */
  readonly parts: readonly {
    /** Passes that are done. */
    readonly epoch: number;
    /** Windows of pieces that are done in this pass, and sequences of the current one. */
    readonly window: number;
    readonly sequence: number;
    /** Tokens that were given, over all passes. */
    readonly tokens: number;
  }[];
}

/**
 * Packed sequences in an order that depends on the documents, the length and the seed only: the same however they are
 * drawn, 16 at once or 8 twice, and the same after `state` was written and read again.
 */
export interface SequenceStream {
  /** The next sequences; fewer when the passes that were asked for are over. */
  next(count: number): Sequence[];
  /** Passes over the data that are done, with a fraction; of a mixture: tokens given, by tokens there are. */
  readonly epochs: number;
  state(): StreamState;
}
