/** The consumers of matrix products: they multiply what is in the ring, and compute results of the sums. */
import { type Reads, sliceLoop } from "./gemm-results.ts";
import {
  batchesOf,
  BEFORE,
  DIRECT,
  eachTile,
  type GemmShape,
  isShared,
  registersOf,
  scalesOf,
  STAGE,
  sumsOf,
} from "./gemm-shape.ts";
import type { Label, Operand, Role, Slot, Step, Terms } from "./schedule.ts";

export function consumer(shape: GemmShape): Role {
  const { loops, staged, direct, consumers, columnScales, scaleBytes } = shape;
  const steps: Step[] = [];
  const sums = sumsOf(loops);
  const terms = sums.map((): Terms[] => []);
  for (const [i, { count, products }] of loops.entries()) {
    const all = products.map((product, j): Product => {
      const [a, b] = [`a_${i}[{tile},{k_block}]`, `b${j}_${i}[{tile},{k_block}]`];
      const sum = sums.indexOf(product);
      const goesOn = terms[sum]!.length > 0;
      terms[sum]!.push({ counter: "k_block", count, term: `${a} * ${b}` });
      return {
        sum: `sums${sum}`,
        a: { buffer: "a", at: STAGE, holds: a },
        b: { buffer: `b${j}`, at: STAGE, holds: b },
        ...(scaleBytes === undefined
          ? {}
          : { scales: { buffer: scalesOf(j), at: STAGE, holds: `${scalesOf(j)}_${i}[{tile},{k_block}]` } }),
        ...(goesOn ? { goesOn } : {}),
      };
    });
    const isLast = shape.parts !== undefined;
    steps.push(...(columnScales === undefined ? summed(count, all, isLast) : promoted(i, count, all)));
  }
  const reads: Reads = terms.map((holds, i) => ({
    registers: `sums${i}`,
    holds: holds.length === 1 ? holds[0]! : holds,
  }));
  for (const batch of batchesOf(staged)) steps.push(sliceLoop(batch, shape, reads));
  if (isShared(shape)) steps.push(...exchanged(reads));
  const added = reads.map(({ registers }) => ({ registers, holds: `added_${registers}[{rank}]` }));
  if (direct) steps.push({ kind: "compute", name: "finish", reads: isShared(shape) ? added : reads, gives: DIRECT });
  return {
    name: "consumer",
    warpgroups: consumers,
    threads: "all",
    registers: registersOf(shape).consumer,
    steps: [
      ...eachTile(shape, steps),
      ...(staged.some(({ scattered }) => scattered !== true)
        ? [{ kind: "settle_stores", pending: 0, why: "shared memory goes when the block ends" } as const]
        : []),
    ],
  };
}

/** Blocks that share the terms of a tile send each other what others add up: each has some of the columns. */
function exchanged(reads: Reads): Step[] {
  return [
    { kind: "meet", why: "nobody in the cluster multiplies any more" },
    {
      kind: "compute",
      name: "send sums",
      reads,
      sends: [{ buffer: "received", holds: "received[{to},{part}]" }],
    },
    { kind: "meet", why: "all sums are there" },
    {
      kind: "compute",
      name: "add",
      why: "the parts of a sum in their order",
      loads: [{ buffer: "received", holds: "received[{rank},{part}]" }],
      writes: reads.map(({ registers }) => ({ registers, holds: `added_${registers}[{rank}]` })),
    },
  ];
}

/** A product of tiles, and the registers of its sums. */
interface Product {
  readonly sum: string;
  readonly a: Operand;
  readonly b: Operand;
  /** Scales of columns that came with the tiles. */
  readonly scales?: { readonly buffer: string; readonly at: Slot; readonly holds: Label };
  /** Whether the sums go on with those of a loop before. */
  readonly goesOn?: boolean;
}

/**
 * The tensor cores sum over all blocks: while one is multiplied, the next one is waited for.
 *
 * @param isLast whether nothing is loaded behind its last block
 */
function summed(count: string, products: readonly Product[], isLast: boolean): Step[] {
  const multiplies = products.map(({ sum, a, b, goesOn = false }): Step => ({
    kind: "multiply",
    a,
    b,
    into: sum,
    clears: goesOn ? "never" : { counter: "k_block" },
  }));
  const done = products.map(({ sum }) => sum);
  return [
    {
      kind: "loop",
      counter: "k_block",
      count,
      body: [
        { kind: "wait", barrier: "full", at: STAGE, phase: "current" },
        { kind: "fence" },
        ...multiplies,
        { kind: "commit" },
        { kind: "settle", pending: 1, why: "the block before is done, this one is on its way" },
        { kind: "arrive", barrier: "empty", at: BEFORE, by: "warps", when: { counter: "k_block", from: 1 } },
        { kind: "advance", cursor: "stage" },
      ],
    },
    { kind: "settle", pending: 0, done, why: "here, where ptxas sees it: else it would serialize the products" },
    ...(isLast ? [] : [{ kind: "arrive", barrier: "empty", at: BEFORE, by: "warps" } as const]),
  ];
}

/**
 * The tensor cores sum one block of terms, which is added to sums in f32: meanwhile they have the blocks of the other consumer.
 * Products of one A use the same registers in turn.
 */
function promoted(loop: number, count: string, products: readonly Product[]): Step[] {
  const sums = products.map(({ sum }) => sum).join(", ");
  const scales = `scales_${loop}[{tile},{k_block}]`;
  // The stage is given back once nothing in it is needed: scales of columns are read while sums are promoted.
  const done = (j: number): Step[] =>
    j + 1 < products.length ? [] : [{ kind: "arrive", barrier: "empty", at: STAGE, by: "warps" }];
  const body = products.flatMap(({ sum, a, b, scales: ofColumns }, j): Step[] => [
    { kind: "fence" },
    { kind: "multiply", a, b, into: "partial", clears: "always" },
    { kind: "commit" },
    { kind: "settle", pending: 0, done: ["partial"] },
    ...(ofColumns === undefined ? done(j) : []),
    {
      kind: "compute",
      name: `promote ${sum}`,
      reads: [{ registers: "scales", holds: scales }],
      ...(ofColumns === undefined ? {} : { loads: [ofColumns] }),
      adds: { from: "partial", into: sum },
    },
    ...(ofColumns === undefined ? [] : done(j)),
  ]);
  return [
    { kind: "compute", name: `clear ${sums}`, zeroes: products.map(({ sum }) => sum) },
    {
      kind: "loop",
      counter: "k_block",
      count,
      body: [
        {
          kind: "compute",
          name: `scales for ${sums}`,
          why: "on their way while the tiles are waited for",
          writes: [{ registers: "scales", holds: scales }],
        },
        { kind: "wait", barrier: "full", at: STAGE, phase: "current" },
        ...body,
        { kind: "advance", cursor: "stage" },
      ],
    },
  ];
}
