/**
 * The schedule of latent attention, where the values are the keys (DeepSeek-V2, arXiv 2405.04434, section 2.1): scores of 64 rows
 * are a warpgroup's, the scorer's, which has most of the queries in registers; two consumers sum one half of the values each. Weights go
 * from one to the others through a ring of their own, so scores are multiplied once, and while the scorer takes exponentials the
 * consumers have the tensor cores.
 */
import { type AttentionShape, depthOf, gathers } from "./attention-plan.ts";
import { ROWS } from "./gemm-schedule.ts";
import { type Label, type Role, type Schedule, type Step, WARPGROUP } from "./schedule.ts";
import type { Counts } from "./simulate-schedule.ts";

/** Terms of queries that the scorer has in registers, of the first part; the others lie in shared memory. */
export const HELD = 448;
/** Blocks of weights on their way to the consumers. */
export const WEIGHT_STAGES = 2;

const KEY = { cursor: "key" };
const WEIGHT = { cursor: "weight" };
const TILES = { counter: "tile", count: "tiles" };
const BLOCKS = { counter: "block", count: "blocks" };

export function latentSchedule(shape: AttentionShape): Schedule {
  const { name, consumers, stages, columns, parts, width, ranges } = shape;
  const warps = 4 * consumers;
  const weights = { stages: WEIGHT_STAGES } as const;
  return {
    name,
    cursors: [
      { name: "key", stages },
      { name: "weight", ...weights },
    ],
    barriers: [
      {
        name: "k_full",
        stages,
        arrivals: (gathers(shape) ? 4 : 0) + (parts.some(({ gathered }) => !gathered) ? 1 : 0),
        event: "the block's keys are there",
      },
      { name: "k_empty", stages, arrivals: warps, event: "all warps of the consumers have summed them" },
      { name: "p_full", ...weights, arrivals: 4, event: "the block's weights and factors are there" },
      { name: "p_turn", ...weights, arrivals: 4, event: "the scores behind them are multiplied" },
      { name: "p_empty", ...weights, arrivals: warps, event: "all warps of the consumers are done with them" },
    ],
    named: [{ name: "own_warps", id: 1, threads: WARPGROUP }],
    buffers: [
      {
        name: "q",
        stages: 1,
        bytes: ROWS * 2 * (depthOf(shape) - HELD),
        holds: "terms of queries that no registers have",
      },
      ...parts.map(({ depth }, i) => ({ name: `k${i}`, stages, bytes: columns * 2 * depth, holds: "keys" })),
      { name: "p", ...weights, bytes: ROWS * 128, holds: "weights, in the first bytes of each line" },
      { name: "factors", ...weights, bytes: ROWS * 4, holds: "what a row's sums are multiplied by" },
      ...(ranges === 0
        ? []
        : [
            {
              name: "ranges",
              stages,
              bytes: 8 * ranges,
              holds: "the smallest and largest of what columns are compared by",
            },
          ]),
    ],
    registers: [
      ...(gathers(shape) ? [{ name: "found", role: "producer", count: columns / 16 }] : []),
      { name: "queries", role: "scorer", count: HELD / 4 },
      { name: "scores", role: "scorer", count: columns / 2 },
      { name: "sums", role: "consumer", count: width / 4 },
    ],
    roles: [producer(shape), scorer(shape), consumer(shape)],
    results: [{ role: "consumer", over: [TILES], label: "results[{tile},{part}]" }],
  };
}

/** Copies of three blocks are on their way: what the threads of a block started is waited for two blocks later. */
function producer(shape: AttentionShape): Role {
  const { columns, parts, ranges } = shape;
  const all = gathers(shape);
  const bytes = parts.reduce((sum, { depth, gathered }) => sum + (gathered ? 0 : columns * 2 * depth), 0);
  const lookUp = (block: string): Step[] =>
    all
      ? [{ kind: "compute", name: "look up", writes: [{ registers: "found", holds: `found[{tile},${block}]` }] }]
      : [];
  const fill = parts.map(({ depth, gathered }, i): Step => {
    const holds = `k${i}[{tile},{block}]`;
    const reads = [{ registers: "found", holds: "found[{tile},{block}]" }];
    if (gathered) return { kind: "gather", buffer: `k${i}`, at: KEY, reads, holds };
    return { kind: "load", buffer: `k${i}`, at: KEY, barrier: "k_full", bytes: columns * 2 * depth, holds };
  });
  const rangesThere: Step[] =
    ranges === 0
      ? []
      : [
          {
            kind: "compute",
            name: "ranges of columns",
            writes: [{ buffer: "ranges", at: KEY, holds: "ranges[{tile},{block}]" }],
          },
        ];
  const arrived = (pending: number, back: number, from: number): Step[] => {
    const when = from === 0 ? {} : { when: { counter: "block", from } };
    if (!all) return [];
    return [
      { kind: "settle_copies", pending, ...when },
      { kind: "publish", ...when },
      { kind: "arrive", barrier: "k_full", at: { ...KEY, back }, by: "warps", ...when },
    ];
  };
  const body: Step[] = [
    { kind: "wait", barrier: "k_empty", at: KEY, phase: "previous", why: "passes at once on the first way round" },
    // Beside copies of threads they are found while these are on their way.
    ...(all ? [] : rangesThere),
    ...(bytes === 0 ? [] : [{ kind: "expect", barrier: "k_full", at: KEY, bytes } as const]),
    ...fill,
    ...(all ? [{ kind: "commit_copies" } as const, ...rangesThere] : []),
    ...lookUp("{block+1}"),
    ...arrived(2, 2, 2),
    { kind: "advance", cursor: "key" },
  ];
  return {
    name: "producer",
    warpgroups: 1,
    threads: all ? "all" : "warp",
    registers: 32,
    steps: [
      {
        kind: "loop",
        ...TILES,
        body: [...lookUp("0"), { kind: "loop", ...BLOCKS, body }, ...arrived(1, 2, 1), ...arrived(0, 1, 0)],
      },
    ],
  };
}

function scorer({ parts, ranges }: AttentionShape): Role {
  const term = (a: Label, part: number): Label => `${a}[{tile}] * k${part}[{tile},{block}]`;
  const product = (a: "queries" | "q", part: number, clears: "always" | "never"): Step => ({
    kind: "multiply",
    a: a === "q" ? { buffer: "q", holds: "q[{tile}]" } : { registers: "queries" },
    b: { buffer: `k${part}`, at: KEY, holds: `k${part}[{tile},{block}]` },
    into: "scores",
    clears,
  });
  const turn = { kind: "arrive", barrier: "p_turn", at: { ...WEIGHT, back: 1 }, by: "warps" } as const;
  const full = { kind: "arrive", barrier: "p_full", at: WEIGHT, by: "warps" } as const;
  const room = { kind: "wait", barrier: "p_empty", at: WEIGHT, phase: "previous" } as const;
  const next = { kind: "advance", cursor: "weight" } as const;
  const tile: Step[] = [
    { kind: "sync", barrier: "own_warps", of: "own", why: "no warp needs the queries before" },
    { kind: "gather", buffer: "q", holds: "q[{tile}]" },
    { kind: "commit_copies" },
    { kind: "compute", name: "queries", writes: [{ registers: "queries", holds: "queries[{tile}]" }] },
    { kind: "settle_copies", pending: 0 },
    { kind: "publish" },
    { kind: "sync", barrier: "own_warps", of: "own", why: "all queries are there" },
    {
      kind: "loop",
      ...BLOCKS,
      body: [
        { kind: "wait", barrier: "k_full", at: KEY, phase: "current" },
        { kind: "fence" },
        product("queries", 0, "always"),
        ...parts.map((_, i) => product("q", i, "never")),
        { kind: "commit" },
        { kind: "settle", pending: 0, done: ["scores"] },
        { ...turn, when: { counter: "block", from: 1 }, why: "consumers have the tensor cores now" },
        {
          kind: "compute",
          name: "exponentials",
          reads: [{ registers: "scores", holds: [term("queries", 0), ...parts.map((_, i) => term("q", i))] }],
          ...(ranges === 0 ? {} : { loads: [{ buffer: "ranges", at: KEY, holds: "ranges[{tile},{block}]" }] }),
          writes: [{ registers: "scores", holds: "exponentials[{tile},{block}]" }],
        },
        room,
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
        { kind: "advance", cursor: "key" },
        next,
      ],
    },
    turn,
    room,
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
    registers: 160,
    steps: [{ kind: "loop", ...TILES, body: tile }],
  };
}

function consumer({ consumers }: AttentionShape): Role {
  const done: Step[] = [
    { kind: "arrive", barrier: "p_empty", at: WEIGHT, by: "warps" },
    { kind: "advance", cursor: "weight" },
  ];
  const full = { kind: "wait", barrier: "p_full", at: WEIGHT, phase: "current" } as const;
  const tile: Step[] = [
    { kind: "compute", name: "no sums", zeroes: ["sums"] },
    {
      kind: "loop",
      ...BLOCKS,
      body: [
        full,
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
          b: { buffer: "k0", at: KEY, holds: "k0[{tile},{block}]" },
          into: "sums",
          clears: "never",
        },
        { kind: "commit" },
        { kind: "settle", pending: 0 },
        { kind: "arrive", barrier: "k_empty", at: KEY, by: "warps" },
        { kind: "advance", cursor: "key" },
        ...done,
      ],
    },
    full,
    {
      kind: "compute",
      name: "results",
      reads: [{ registers: "sums", holds: { ...BLOCKS, term: "p[{tile},{block}] * k0[{tile},{block}]" } }],
      loads: [{ buffer: "factors", at: WEIGHT, holds: "last[{tile}]" }],
      gives: "results[{tile},{part}]",
    },
    ...done,
  ];
  return {
    name: "consumer",
    warpgroups: consumers,
    threads: "all",
    registers: 160,
    steps: [{ kind: "loop", ...TILES, body: tile }],
  };
}

/** Trip counts that stand for all: no tile, blocks that all fit into the ring, and more than go round twice. */
export function latentRuns({ stages }: AttentionShape): Counts[] {
  return [
    { tiles: 0, blocks: 1 },
    { tiles: 1, blocks: 1 },
    { tiles: 3, blocks: [1, 2, 1] },
    { tiles: 2, blocks: [2 * stages + 1, stages] },
  ];
}
