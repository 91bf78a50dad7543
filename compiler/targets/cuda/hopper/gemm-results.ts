/** Results of matrix products on their way out: 64 columns at a time, by way of shared memory. */
import { type GemmShape, piecesOf, resultLabel, resultsOf, slicesOf, STAGE, type StagedShape } from "./gemm-shape.ts";
import type { Expected, Step } from "./schedule.ts";

/** Sums that results are computed of. */
export type Reads = readonly { registers: string; holds: Expected }[];

/** Results of 64 columns are computed together and leave by way of shared memory, 128 bytes of columns at a time. */
export function sliceLoop(batch: readonly StagedShape[], { given, tileN }: GemmShape, reads: Reads): Step {
  const names = batch.map(({ name }) => name).join(", ");
  const holds = (i: number): string => `${resultsOf(i)}[{tile},{slice}]`;
  const results: Step = {
    kind: "compute",
    name: `results ${names}`,
    reads,
    ...(given === undefined
      ? {}
      : {
          loads: given.buffers.map((buffer) => ({ buffer, at: STAGE, holds: `${buffer}_given[{tile},{slice}]` })),
        }),
    writes: batch.map((_, i) => ({ registers: resultsOf(i), holds: holds(i) })),
  };
  const body: Step[] =
    given === undefined
      ? [results]
      : [
          { kind: "wait", barrier: "full", at: STAGE, phase: "current" },
          results,
          { kind: "arrive", barrier: "empty", at: STAGE, by: "warps" },
          { kind: "advance", cursor: "stage" },
        ];
  return {
    kind: "loop",
    ...slicesOf(tileN),
    unrolled: true,
    body: [...body, ...batch.flatMap((result, i) => store(result, { registers: resultsOf(i), holds: holds(i) }))],
  };
}

/** Where the results of a slice go. */
function store({ name, columns, scattered = false }: StagedShape, reads: { registers: string; holds: string }): Step[] {
  const at = { cursor: "stored" };
  const label = resultLabel(name, columns);
  const steps: Step[] = scattered
    ? [{ kind: "compute", name: `scatter ${name}`, reads: [reads], gives: label }]
    : [
        { kind: "settle_stores", pending: 1, why: "the slot was read" },
        { kind: "sync", barrier: "own_warps", of: "own" },
        {
          kind: "compute",
          name: `stage ${name}`,
          reads: [reads],
          writes: [{ buffer: "staged", at, holds: label }],
        },
        { kind: "publish" },
        { kind: "sync", barrier: "own_warps", of: "own", why: "all warps have written and published it" },
        { kind: "store", buffer: "staged", at, holds: label, gives: label },
        { kind: "commit_stores" },
        { kind: "advance", cursor: "stored" },
      ];
  return piecesOf(columns).reduce((body: Step[], over) => [{ kind: "loop", ...over, unrolled: true, body }], steps);
}
