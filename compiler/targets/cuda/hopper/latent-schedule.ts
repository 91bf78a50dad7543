/**
 * The schedule of latent attention, where the values are the keys (DeepSeek-V2, arXiv 2405.04434, section 2.1): scores of 64 rows
 * are a warpgroup's, the scorer's, which has most of the queries in registers; two consumers sum one half of the values each. Weights go
 * from one to the others through a ring of their own, so scores are multiplied once, and while the scorer takes exponentials the
 * consumers have the tensor cores.
 */
import { type AttentionShape, depthOf, gathers } from "./attention-plan.ts";
import {
  asksRanges,
  BLOCKS,
  findRanges,
  ownRows,
  rangesBuffer,
  type Ring,
  room,
  there,
  TILES,
  used,
} from "./attention-rings.ts";
import { ROWS } from "./gemm-shape.ts";
import { type Role, type Schedule, type Step, WARPGROUP } from "./schedule.ts";
import type { Counts } from "./simulate-trips.ts";

/** Terms of queries that the scorer has in registers, of the first part; the others lie in shared memory. */
export const HELD = 320;
/** Blocks of weights on their way to the consumers, and blocks of what is no value: keys of positions, ranges. */
const FEW = 2;

/** Halves of values: a ring's stage has one, for all columns of a block. */
const HALF = { cursor: "half" };
const REST = { cursor: "rest" };
const WEIGHT = { cursor: "weight" };
const HALVES: Ring = { full: "k_full", empty: "k_empty", at: HALF };
const WEIGHTS: Ring = { full: "p_full", empty: "p_empty", at: WEIGHT };

export function latentSchedule(shape: AttentionShape): Schedule {
  const { name, consumers, stages, columns, parts, width, ranges } = shape;
  const [values, ...others] = parts as [Part, ...Part[]];
  const all = gathers(shape);
  const copied = others.some(({ gathered }) => !gathered);
  return {
    name,
    cursors: [
      { name: "half", stages },
      { name: "rest", stages: FEW },
      { name: "weight", stages: FEW },
    ],
    barriers: [
      { name: "k_full", stages, arrivals: values.gathered ? 4 : 1, event: "a half of the block's keys is there" },
      { name: "k_empty", stages, arrivals: 4, event: "all warps of the half's consumer have summed it" },
      {
        name: "r_full",
        stages: FEW,
        arrivals: (all ? 4 : Number(!copied)) + Number(copied),
        event: "all else of the block is there",
      },
      { name: "p_full", stages: FEW, arrivals: 4, event: "the block's weights and factors are there" },
      { name: "p_turn", stages: FEW, arrivals: 4, event: "the scores behind them are multiplied" },
      { name: "p_empty", stages: FEW, arrivals: 4 * consumers, event: "all warps of the consumers are done with them" },
    ],
    named: [{ name: "own_warps", id: 1, threads: WARPGROUP }],
    buffers: [
      {
        name: "q",
        stages: 1,
        bytes: ROWS * 2 * (depthOf(shape) - HELD),
        holds: "terms of queries that no registers have",
      },
      { name: "k0", stages, bytes: columns * width, holds: "keys: a half of those that are values" },
      ...others.map(({ depth }, i) => ({ name: `k${i + 1}`, stages: FEW, bytes: columns * 2 * depth, holds: "keys" })),
      { name: "p", stages: FEW, bytes: ROWS * 2 * columns, holds: "weights" },
      { name: "factors", stages: FEW, bytes: ROWS * 4, holds: "what a row's sums are multiplied by" },
      ...rangesBuffer(ranges, { stages: FEW }),
    ],
    registers: [
      ...(all ? [{ name: "found", role: "producer", count: columns / 16 }] : []),
      { name: "queries", role: "scorer", count: HELD / 4 },
      { name: "scores", role: "scorer", count: columns / 2 },
      { name: "sums", role: "consumer", count: width / 4 },
    ],
    roles: [producer(shape), scorer(shape), consumer(shape)],
    results: [{ role: "consumer", over: [TILES], label: "results[{tile},{part}]" }],
  };
}

type Part = AttentionShape["parts"][number];

/** What the threads of a half started is waited for when the next half's copies are on their way, too. */
function producer(shape: AttentionShape): Role {
  const { columns, parts, width, ranges } = shape;
  const [values, ...others] = parts as [Part, ...Part[]];
  const all = gathers(shape);
  const copied = others.reduce((sum, { depth, gathered }) => sum + (gathered ? 0 : columns * 2 * depth), 0);
  const lookUp = (block: string): Step[] =>
    all
      ? [{ kind: "compute", name: "look up", writes: [{ registers: "found", holds: `found[{tile},${block}]` }] }]
      : [];
  const reads = [{ registers: "found", holds: "found[{tile},{block}]" }];
  const half = (part: number): Step[] => {
    const holds = `k0[{tile},{block},${part}]`;
    if (values.gathered) return [{ kind: "gather", buffer: "k0", at: HALF, reads, holds }];
    return [
      { kind: "expect", barrier: "k_full", at: HALF, bytes: columns * width },
      { kind: "load", buffer: "k0", at: HALF, barrier: "k_full", bytes: columns * width, holds },
    ];
  };
  const rest = others.map(({ depth, gathered }, i): Step => {
    const holds = `k${i + 1}[{tile},{block}]`;
    if (gathered) return { kind: "gather", buffer: `k${i + 1}`, at: REST, reads, holds };
    return { kind: "load", buffer: `k${i + 1}`, at: REST, barrier: "r_full", bytes: columns * 2 * depth, holds };
  });
  const rangesThere = findRanges(ranges, "{tile},{block}", REST);
  /** All copies but those of the last groups have arrived: of a half, and of what is behind the second one. */
  const arrived = (pending: number, of: readonly Step[], from = 0): Step[] => {
    if (!all || of.length === 0) return [];
    const steps: Step[] = [{ kind: "settle_copies", pending }, { kind: "publish" }, ...of];
    return from === 0 ? steps : steps.map((step) => ({ ...step, when: { counter: "block", from } }));
  };
  const halfThere: Step[] = values.gathered
    ? [{ kind: "arrive", barrier: "k_full", at: { ...HALF, back: 1 }, by: "warps" }]
    : [];
  const restThere: Step[] = all ? [{ kind: "arrive", barrier: "r_full", at: { ...REST, back: 1 }, by: "warps" }] : [];
  const commit: Step[] = all ? [{ kind: "commit_copies" }] : [];
  const body: Step[] = [
    room(HALVES),
    ...half(0),
    ...commit,
    ...arrived(1, [...halfThere, ...restThere], 1),
    { kind: "advance", cursor: "half" },
    room(HALVES),
    ...half(1),
    // Where this half has room, consumers had their turn two blocks ago: the scorer is done with what else that block had.
    // Beside copies of threads they are found while these are on their way.
    ...(all ? [] : rangesThere),
    ...(copied === 0 ? [] : [{ kind: "expect", barrier: "r_full", at: REST, bytes: copied } as const]),
    ...rest,
    ...(all || copied > 0 ? [] : [{ kind: "arrive", barrier: "r_full", at: REST, by: "warps" } as const]),
    ...commit,
    ...(all ? rangesThere : []),
    ...lookUp("{block+1}"),
    ...arrived(1, halfThere),
    { kind: "advance", cursor: "half" },
    { kind: "advance", cursor: "rest" },
  ];
  return {
    name: "producer",
    warpgroups: 1,
    threads: all ? "all" : "warp",
    registers: 40,
    steps: [
      {
        kind: "loop",
        ...TILES,
        body: [...lookUp("0"), { kind: "loop", ...BLOCKS, body }, ...arrived(0, [...halfThere, ...restThere])],
      },
    ],
  };
}

function scorer({ parts, ranges }: AttentionShape): Role {
  const others = parts.slice(1);
  const products = [
    { a: "queries", b: "k0", of: ",0" },
    { a: "queries", b: "k0", of: ",1" },
    { a: "q", b: "k0", of: ",1" },
    ...others.map((_, i) => ({ a: "q", b: `k${i + 1}`, of: "" })),
  ];
  const multiplied = products.map(({ a, b, of }, i): Step => ({
    kind: "multiply",
    a: a === "q" ? { buffer: "q", holds: "q[{tile}]" } : { registers: "queries" },
    b: { buffer: b, at: b === "k0" ? HALF : REST, holds: `${b}[{tile},{block}${of}]` },
    into: "scores",
    clears: i === 0 ? "always" : "never",
  }));
  const turn = { kind: "arrive", barrier: "p_turn", at: { ...WEIGHT, back: 1 }, by: "warps" } as const;
  const full = { kind: "arrive", barrier: "p_full", at: WEIGHT, by: "warps" } as const;
  const free = { kind: "wait", barrier: "p_empty", at: WEIGHT, phase: "previous" } as const;
  const next = { kind: "advance", cursor: "weight" } as const;
  const tile: Step[] = [
    ...ownRows(
      [{ kind: "gather", buffer: "q", holds: "q[{tile}]" }],
      ["no warp needs the queries before", "all queries are there"],
      { beside: [{ kind: "compute", name: "queries", writes: [{ registers: "queries", holds: "queries[{tile}]" }] }] },
    ),
    {
      kind: "loop",
      ...BLOCKS,
      body: [
        there(HALVES),
        { kind: "fence" },
        multiplied[0]!,
        { kind: "advance", cursor: "half" },
        there(HALVES),
        { kind: "wait", barrier: "r_full", at: REST, phase: "current" },
        { kind: "fence", why: "ptxas wants one of its own behind each wait" },
        ...multiplied.slice(1),
        { kind: "commit" },
        { kind: "settle", pending: 0, done: ["scores"] },
        { ...turn, when: { counter: "block", from: 1 }, why: "consumers have the tensor cores now" },
        {
          kind: "compute",
          name: "exponentials",
          reads: [
            { registers: "scores", holds: products.map(({ a, b, of }) => `${a}[{tile}] * ${b}[{tile},{block}${of}]`) },
          ],
          loads: asksRanges(ranges, "{tile},{block}", REST),
          writes: [{ registers: "scores", holds: "exponentials[{tile},{block}]" }],
        },
        free,
        {
          kind: "compute",
          name: "weights",
          reads: [{ registers: "scores", holds: "exponentials[{tile},{block}]" }],
          writes: [
            { buffer: "p", at: WEIGHT, holds: "p[{tile},{block}]" },
            { buffer: "factors", at: WEIGHT, holds: "factors[{tile},{block}]" },
            { registers: "scores", holds: "what is used up" },
          ],
        },
        { kind: "publish" },
        full,
        { kind: "advance", cursor: "half" },
        { kind: "advance", cursor: "rest" },
        next,
      ],
    },
    turn,
    free,
    {
      kind: "compute",
      name: "last factors",
      writes: [{ buffer: "factors", at: WEIGHT, holds: "last[{tile}]" }],
    },
    full,
    { ...turn, at: WEIGHT, why: "no scores are behind these" },
    next,
  ];
  return {
    name: "scorer",
    warpgroups: 1,
    threads: "all",
    registers: 152,
    steps: [{ kind: "loop", ...TILES, body: tile }],
  };
}

function consumer({ consumers }: AttentionShape): Role {
  const next = { kind: "advance", cursor: "half" } as const;
  const tile: Step[] = [
    { kind: "compute", name: "no sums", zeroes: ["sums"] },
    {
      kind: "loop",
      ...BLOCKS,
      body: [
        there(WEIGHTS),
        {
          kind: "compute",
          name: "rescale",
          loads: [{ buffer: "factors", at: WEIGHT, holds: "factors[{tile},{block}]" }],
          touches: ["sums"],
        },
        { kind: "wait", barrier: "p_turn", at: WEIGHT, phase: "current", why: "the scorer takes exponentials now" },
        { kind: "fence" },
        {
          kind: "multiply",
          a: { buffer: "p", at: WEIGHT, holds: "p[{tile},{block}]" },
          b: { buffer: "k0", at: HALF, holds: "k0[{tile},{block},{part}]" },
          into: "sums",
          clears: "never",
        },
        { kind: "commit" },
        { kind: "settle", pending: 0 },
        { kind: "arrive", barrier: "k_empty", at: HALF, by: "warps" },
        next,
        next,
        ...used(WEIGHTS),
      ],
    },
    there(WEIGHTS),
    {
      kind: "compute",
      name: "results",
      reads: [{ registers: "sums", holds: { ...BLOCKS, term: "p[{tile},{block}] * k0[{tile},{block},{part}]" } }],
      loads: [{ buffer: "factors", at: WEIGHT, holds: "last[{tile}]" }],
      gives: "results[{tile},{part}]",
    },
    ...used(WEIGHTS),
  ];
  return {
    name: "consumer",
    warpgroups: consumers,
    threads: "all",
    registers: 160,
    steps: [
      { ...next, part: 1, why: "the second half is that of consumer 1" },
      { kind: "loop", ...TILES, body: tile },
    ],
  };
}

/** Trip counts that stand for all: no tile, blocks that all fit into the rings, and more than go round twice. */
export function latentRuns({ stages }: AttentionShape): Counts[] {
  return [
    { tiles: 0, blocks: 1 },
    { tiles: 1, blocks: 1 },
    { tiles: 3, blocks: [1, 2, 1] },
    { tiles: 2, blocks: [stages + 1, 4] },
  ];
}
