import { type Batch, batchOf, type Sequence } from "../data/batch.ts";

/** Sequences in order, in as few calls of at most `tokens` tokens as that order allows; a longer one has a call of its own. */
export function microBatches(sequences: readonly Sequence[], tokens: number, lookAhead: number): Batch[] {
  const calls: Sequence[][] = [];
  let room = 0;
  for (const sequence of sequences) {
    const size = sequence.reduce((sum, { length }) => sum + length, 0);
    if (calls.length > 0 && size <= room) calls.at(-1)!.push(sequence);
    else {
      calls.push([sequence]);
      room = tokens;
    }
    room -= size;
  }
  return calls.map((some) => batchOf(some, lookAhead));
}
