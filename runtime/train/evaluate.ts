import type { Sequence } from "../data/batch.ts";
import type { Session } from "../device/session.ts";
import { microBatches } from "./micro-batches.ts";

export interface Evaluation {
  /** Mean cross-entropy of the next token, in nats. */
  readonly loss: number;
  /** Tokens that were predicted. */
  readonly tokens: number;
}

/**
 * The mean loss over held-out sequences: `evaluate` in calls of at most `tokensPerCall` tokens. Params and states stay as they
 * are.
 */
export async function evaluate(
  session: Session,
  sequences: readonly Sequence[],
  tokensPerCall: number,
): Promise<Evaluation> {
  let [sum, tokens] = [0, 0];
  for (const { sizes, inputs, targets } of microBatches(sequences, tokensPerCall, 0)) {
    const output = "loss.next_token";
    const { [output]: loss } = await session.run({ program: "evaluate", sizes, inputs, outputs: [output] });
    sum += loss![0]! * targets;
    tokens += targets;
  }
  return { loss: tokens === 0 ? 0 : sum / tokens, tokens };
}
