/** Teacher-forced scores of rows of tokens. */
import { batchOf } from "../data/batch.ts";
import type { Session } from "../device/session.ts";

export interface ScoredRow {
  readonly tokens: readonly number[];
  /** [tokens, vocabulary], row-major: what follows each token by those up to it. */
  readonly logits: Float32Array;
  /** [tokens - 1]: the natural logarithm of the probability of each token but the first. */
  readonly logprobs: Float32Array;
}

export interface Scores {
  /** Mean cross-entropy of the next token in nats, over all tokens that have one. */
  readonly loss: number;
  readonly rows: readonly ScoredRow[];
}

/** Scores rows with the program `score`, all of them in one call. Rows do not see each other. */
export async function scoreRows(session: Session, rows: readonly (readonly number[])[]): Promise<Scores> {
  const sequences = rows.map((row) => [{ length: row.length, tokens: Int32Array.from(row) }]);
  const { sizes, inputs } = batchOf(sequences, 0);
  const outputs = await session.run({ program: "score", sizes, inputs, outputs: ["logits", "loss.next_token"] });
  const logits = outputs["logits"] as Float32Array;
  const vocabulary = logits.length / sizes.T;
  let at = 0;
  const scored = rows.map((tokens): ScoredRow => {
    const own = logits.slice(at * vocabulary, (at += tokens.length) * vocabulary);
    return { tokens, logits: own, logprobs: logprobsOf(own, tokens, vocabulary) };
  });
  return { loss: outputs["loss.next_token"]![0]!, rows: scored };
}

function logprobsOf(logits: Float32Array, tokens: readonly number[], vocabulary: number): Float32Array {
  return Float32Array.from({ length: tokens.length - 1 }, (_, i) => {
    const row = logits.subarray(i * vocabulary, (i + 1) * vocabulary);
    let max = -Infinity;
    for (const logit of row) if (logit > max) max = logit;
    let sum = 0;
    for (const logit of row) sum += Math.exp(logit - max);
    return row[tokens[i + 1]!]! - max - Math.log(sum);
  });
}
