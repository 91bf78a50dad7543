/**
 * The schedules of attention's backward pass: those of FlashAttention-2 (arXiv 2307.08691, algorithm 2) with the parts of warpgroups of
 * FlashAttention-3 (arXiv 2407.08608). One kernel has rows, finds what softmaxes need, and sums gradients of queries; the other one has
 * columns and sums gradients of keys and values. Both compute scores anew, so that each result is summed in one order by one warpgroup.
 */
import type { BackwardShape } from "./backward-plan.ts";
import { ROWS } from "./gemm-schedule.ts";
import { type Role, type Schedule, type Step, WARPGROUP } from "./schedule.ts";
import type { Counts } from "./simulate-schedule.ts";

export const CONSUMERS = 2;

const STAGE = { cursor: "stage" };
const BEFORE = { cursor: "stage", back: 1 };
const TILES = { counter: "tile", count: "tiles" };
const BLOCKS = { counter: "block", count: "blocks" };
const AGAIN = { counter: "again", count: "blocks" };

/** What both schedules have: a ring that a producer fills, and what consumers keep of their own rows or columns. */
function ring(stages: number): Pick<Schedule, "cursors" | "barriers" | "named"> {
  return {
    cursors: [{ name: "stage", stages }],
    barriers: [
      { name: "full", stages, arrivals: 1, event: "the block is there" },
      { name: "empty", stages, arrivals: 4 * CONSUMERS, event: "all warps of the consumers have used the block" },
    ],
    named: [{ name: "own_warps", id: 1, threads: WARPGROUP, each: CONSUMERS }],
  };
}

const bytesOf = (rows: number, elements: number): number => rows * elements * 2;

/** A block's tiles; parts of keys (or queries) lie one behind the other, so that one product has all of their terms. */
function fill(shape: BackwardShape, block: number, [deep, wide]: readonly [string, string], place: string): Step[] {
  const { parts, width } = shape;
  const depth = depthOf(shape);
  return [
    { kind: "expect", barrier: "full", at: STAGE, bytes: bytesOf(block, depth + width) },
    ...parts.map((part): Step => {
      const bytes = bytesOf(block, part);
      return { kind: "load", buffer: deep, at: STAGE, barrier: "full", bytes, holds: `${deep}[${place}]` };
    }),
    {
      kind: "load",
      buffer: wide,
      at: STAGE,
      barrier: "full",
      bytes: bytesOf(block, width),
      holds: `${wide}[${place}]`,
    },
    { kind: "advance", cursor: "stage" },
  ];
}

const FREE: Step = {
  kind: "wait",
  barrier: "empty",
  at: STAGE,
  phase: "previous",
  why: "passes at once on the first way round",
};

/** Elements of a query. */
export function depthOf({ parts }: Pick<BackwardShape, "parts">): number {
  return parts.reduce((sum, part) => sum + part, 0);
}

/** A consumer's own rows of two tensors, gathered. */
function own([deep, wide]: readonly [string, string], beside: readonly Step[] = []): Step[] {
  return [
    { kind: "sync", barrier: "own_warps", of: "own", why: "all warps have stored their results" },
    ...beside,
    { kind: "gather", buffer: deep, holds: `${deep}[{tile},{part}]` },
    { kind: "gather", buffer: wide, holds: `${wide}[{tile},{part}]` },
    { kind: "commit_copies" },
    { kind: "settle_copies", pending: 0 },
    { kind: "publish" },
    { kind: "sync", barrier: "own_warps", of: "own", why: "all of them are there" },
  ];
}

/** `into = a * b`, a consumer's own rows times those of a block. */
function product(a: string, b: string, place: string, into: string): Step {
  return {
    kind: "multiply",
    a: { buffer: a, holds: `${a}[{tile},{part}]` },
    b: { buffer: b, at: STAGE, holds: `${b}[${place}]` },
    into,
    clears: "always",
  };
}

const RELEASE: Step = { kind: "arrive", barrier: "empty", at: STAGE, by: "warps" };
const RELEASE_BEFORE: Step = { kind: "arrive", barrier: "empty", at: BEFORE, by: "warps" };
const NEXT: Step = { kind: "advance", cursor: "stage" };
const THERE: Step = { kind: "wait", barrier: "full", at: STAGE, phase: "current" };
const COMMIT: Step = { kind: "commit" };
const FENCE: Step = { kind: "fence" };

/** Statistics of rows, then gradients of queries. */
export function rowsSchedule(shape: BackwardShape): Schedule {
  const { name, stages, columns, width, ranges, kept } = shape;
  const depth = depthOf(shape);
  const block = (pass: string): Step[] => [
    FREE,
    ...(ranges === 0
      ? []
      : [
          {
            kind: "compute",
            name: "ranges of columns",
            writes: [{ buffer: "ranges", at: STAGE, holds: `ranges[{tile},${pass}]` }],
          } as const,
        ]),
    ...fill(shape, columns, ["k", "v"], `{tile},${pass}`),
  ];
  const producer: Role = {
    name: "producer",
    warpgroups: 1,
    threads: "warp",
    registers: 40,
    steps: [
      {
        kind: "loop",
        ...TILES,
        body: [
          ...(kept
            ? []
            : [{ kind: "loop", ...BLOCKS, why: "once for the statistics", body: block("1,{block}") } as const]),
          { kind: "loop", ...AGAIN, body: block("2,{again}") },
        ],
      },
    ],
  };
  /** Scores and gradients of weights of a block; scores come first. */
  const products = (place: string): Step[] => [
    THERE,
    FENCE,
    product("q", "k", place, "scores"),
    COMMIT,
    product("up", "v", place, "slopes"),
    COMMIT,
    { kind: "settle", pending: 1, done: ["scores"] },
  ];
  const score = (name: string, pass: string, base: boolean): Step => ({
    kind: "compute",
    name,
    reads: [
      { registers: "scores", holds: `q[{tile},{part}] * k[{tile},${pass}]` },
      ...(base ? [{ registers: "base", holds: "statistics[{tile},{part}]" }] : []),
    ],
    ...(ranges === 0 ? {} : { loads: [{ buffer: "ranges", at: STAGE, holds: `ranges[{tile},${pass}]` }] }),
    writes: [{ registers: "scores", holds: `p[{tile},{part},${pass}]` }],
  });
  const settled: Step = { kind: "settle", pending: 0, done: ["slopes"] };
  const base = { registers: "base", holds: "statistics[{tile},{part}]" };
  const known: Step[] = [{ kind: "compute", name: "what rows have kept", writes: [base] }];
  const found: Step[] = [
    {
      kind: "loop",
      ...BLOCKS,
      why: "what each row has one of",
      body: [
        ...products("{tile},1,{block}"),
        score("exponentials", "1,{block}", false),
        settled,
        RELEASE,
        {
          kind: "compute",
          name: "sums of weights times slopes",
          reads: [{ registers: "scores", holds: "p[{tile},{part},1,{block}]" }],
          adds: { from: "slopes", into: "delta" },
          writes: [{ registers: "scores", holds: "what is used up" }],
        },
        NEXT,
      ],
    },
    {
      kind: "compute",
      name: "statistics",
      reads: [{ registers: "delta", holds: { ...BLOCKS, term: "up[{tile},{part}] * v[{tile},1,{block}]" } }],
      writes: [base],
      gives: "statistics[{tile},{part}]",
    },
  ];
  const tile: Step[] = [
    ...(kept ? [] : [{ kind: "compute", name: "nothing is summed", zeroes: ["delta"] } as const]),
    ...own(["q", "up"]),
    ...(kept ? known : found),
    {
      kind: "loop",
      ...AGAIN,
      body: [
        ...products("{tile},2,{again}"),
        { ...RELEASE_BEFORE, when: { counter: "again", from: 1 }, why: "its sums are done, too" },
        score("weights", "2,{again}", true),
        settled,
        {
          kind: "compute",
          name: "slopes of scores",
          reads: [
            { registers: "scores", holds: "p[{tile},{part},2,{again}]" },
            { registers: "slopes", holds: "up[{tile},{part}] * v[{tile},2,{again}]" },
          ],
          writes: [
            { registers: "weights", holds: `ds[{tile},{part},{again}]` },
            { registers: "scores", holds: "what is used up" },
          ],
        },
        FENCE,
        {
          kind: "multiply",
          a: { registers: "weights" },
          b: { buffer: "k", at: STAGE, holds: "k[{tile},2,{again}]" },
          into: "sums",
          clears: { counter: "again" },
        },
        COMMIT,
        NEXT,
      ],
    },
    { kind: "settle", pending: 0, done: ["sums"] },
    RELEASE_BEFORE,
    { kind: "sync", barrier: "own_warps", of: "own", why: "no warp needs the queries" },
    {
      kind: "compute",
      name: "results",
      reads: [{ registers: "sums", holds: { ...AGAIN, term: "ds[{tile},{part},{again}] * k[{tile},2,{again}]" } }],
      writes: [{ buffer: "q", holds: "dq[{tile},{part}]" }],
    },
    { kind: "sync", barrier: "own_warps", of: "own" },
    {
      kind: "compute",
      name: "results leave",
      loads: [{ buffer: "q", holds: "dq[{tile},{part}]" }],
      gives: "results[{tile},{part}]",
    },
  ];
  const own_ = { stages: 1, each: CONSUMERS };
  return {
    name: `${name}, rows`,
    ...ring(stages),
    buffers: [
      { name: "q", ...own_, bytes: bytesOf(ROWS, depth), holds: "queries, then their gradients on the way out" },
      { name: "up", ...own_, bytes: bytesOf(ROWS, width), holds: "gradients of the rows' results" },
      { name: "k", stages, bytes: bytesOf(columns, depth), holds: "keys" },
      { name: "v", stages, bytes: bytesOf(columns, width), holds: "values" },
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
      { name: "scores", role: "consumer", count: columns / 2 },
      { name: "slopes", role: "consumer", count: columns / 2 },
      { name: "weights", role: "consumer", count: columns / 4 },
      { name: "sums", role: "consumer", count: depth / 2 },
      { name: "delta", role: "consumer", count: 2 },
      { name: "base", role: "consumer", count: 2 },
    ],
    roles: [producer, consumer(232, tile)],
    results: [...(kept ? [] : ["statistics"]), "results"].map((label) => ({
      role: "consumer",
      over: [TILES],
      label: `${label}[{tile},{part}]`,
    })),
  };
}

function consumer(registers: number, tile: readonly Step[]): Role {
  return {
    name: "consumer",
    warpgroups: CONSUMERS,
    threads: "all",
    registers,
    steps: [{ kind: "loop", ...TILES, body: tile }],
  };
}

/** Gradients of keys and values: scores are computed with columns as their rows, so that weights are rows of A of the sums. */
export function columnsSchedule(shape: BackwardShape): Schedule {
  const { name, stages, rows, width, ranges, compared, capped } = shape;
  const depth = depthOf(shape);
  // Sums and scores leave no more to the producer.
  const tight = (depth + width) / 2 + rows * (capped ? 1 : 0.75) > 200;
  const slopes = capped ? [{ registers: "curbed", holds: "curbed[{tile},{part},{block}]" }] : [];
  const producer: Role = {
    name: "producer",
    warpgroups: 1,
    threads: "warp",
    registers: tight ? 24 : 40,
    steps: [
      {
        kind: "loop",
        ...TILES,
        body: [
          {
            kind: "loop",
            ...BLOCKS,
            body: [
              FREE,
              {
                kind: "compute",
                name: "what is known of rows",
                writes: ["statistics", "seen"].map((buffer) => ({
                  buffer,
                  at: STAGE,
                  holds: `${buffer}[{tile},{block}]`,
                })),
              },
              ...fill(shape, rows, ["q", "up"], "{tile},{block}"),
            ],
          },
        ],
      },
    ],
  };
  const known = (...buffers: string[]) =>
    buffers.map((buffer) => ({ buffer, at: STAGE, holds: `${buffer}[{tile},{block}]` }));
  const used = { registers: "scores", holds: "what is used up" };
  const sum = (into: string, b: string): Step => ({
    kind: "multiply",
    a: { registers: "weights" },
    b: { buffer: b, at: STAGE, holds: `${b}[{tile},{block}]` },
    into,
    clears: { counter: "block" },
  });
  const tile: Step[] = [
    ...own(
      ["k", "v"],
      ranges === 0
        ? []
        : [
            {
              kind: "compute",
              name: "ranges of columns",
              writes: [{ buffer: "ranges", holds: "ranges[{tile},{part}]" }],
            },
          ],
    ),
    {
      kind: "loop",
      ...BLOCKS,
      body: [
        THERE,
        FENCE,
        product("k", "q", "{tile},{block}", "scores"),
        COMMIT,
        { kind: "settle", pending: 0, done: ["scores", "weights"], why: "with the sums of the block before" },
        { ...RELEASE_BEFORE, when: { counter: "block", from: 1 } },
        {
          kind: "compute",
          name: "weights",
          reads: [{ registers: "scores", holds: "k[{tile},{part}] * q[{tile},{block}]" }],
          loads: [
            ...known("statistics", "seen"),
            ...(ranges === 0 ? [] : [{ buffer: "ranges", holds: "ranges[{tile},{part}]" }]),
          ],
          writes: [{ registers: "weights", holds: "p[{tile},{part},{block}]" }, ...slopes, used],
        },
        FENCE,
        product("v", "up", "{tile},{block}", "scores"),
        sum("dv", "up"),
        COMMIT,
        { kind: "settle", pending: 0, done: ["scores", "weights"] },
        {
          kind: "compute",
          name: "slopes of scores",
          reads: [
            { registers: "scores", holds: "v[{tile},{part}] * up[{tile},{block}]" },
            { registers: "weights", holds: "p[{tile},{part},{block}]" },
            ...slopes,
          ],
          loads: known("statistics"),
          writes: [{ registers: "weights", holds: "ds[{tile},{part},{block}]" }, used],
        },
        FENCE,
        sum("dk", "q"),
        COMMIT,
        NEXT,
      ],
    },
    { kind: "settle", pending: 0, done: ["dk", "dv"] },
    RELEASE_BEFORE,
    { kind: "sync", barrier: "own_warps", of: "own", why: "no warp needs keys and values" },
    {
      kind: "compute",
      name: "results",
      reads: [
        { registers: "dk", holds: { ...BLOCKS, term: "ds[{tile},{part},{block}] * q[{tile},{block}]" } },
        { registers: "dv", holds: { ...BLOCKS, term: "p[{tile},{part},{block}] * up[{tile},{block}]" } },
      ],
      writes: [
        { buffer: "k", holds: "dk[{tile},{part}]" },
        { buffer: "v", holds: "dv[{tile},{part}]" },
      ],
    },
    { kind: "sync", barrier: "own_warps", of: "own" },
    {
      kind: "compute",
      name: "results leave",
      loads: [
        { buffer: "k", holds: "dk[{tile},{part}]" },
        { buffer: "v", holds: "dv[{tile},{part}]" },
      ],
      gives: "results[{tile},{part}]",
    },
  ];
  const own_ = { stages: 1, each: CONSUMERS };
  return {
    name: `${name}, columns`,
    ...ring(stages),
    buffers: [
      { name: "k", ...own_, bytes: bytesOf(ROWS, depth), holds: "keys, then their gradients on the way out" },
      { name: "v", ...own_, bytes: bytesOf(ROWS, width), holds: "values, then their gradients on the way out" },
      { name: "q", stages, bytes: bytesOf(rows, depth), holds: "queries" },
      { name: "up", stages, bytes: bytesOf(rows, width), holds: "gradients of the rows' results" },
      { name: "statistics", stages, bytes: 8 * rows, holds: "of each row, what its softmax needs" },
      {
        name: "seen",
        stages,
        bytes: 4 * (rows + 2) * (2 + compared),
        holds: "of each row, what it sees and is compared by; then the smallest and largest of it",
      },
      ...(ranges === 0
        ? []
        : [
            {
              name: "ranges",
              ...own_,
              bytes: 8 * ranges,
              holds: "the smallest and largest of what columns are compared by",
            },
          ]),
    ],
    registers: [
      { name: "scores", role: "consumer", count: rows / 2 },
      { name: "weights", role: "consumer", count: rows / 4 },
      ...(capped ? [{ name: "curbed", role: "consumer", count: rows / 4 }] : []),
      { name: "dk", role: "consumer", count: depth / 2 },
      { name: "dv", role: "consumer", count: width / 2 },
    ],
    roles: [producer, consumer(tight ? 240 : 232, tile)],
    results: [{ role: "consumer", over: [TILES], label: "results[{tile},{part}]" }],
  };
}

/** Trip counts that stand for all: no tile, blocks that all fit into the ring, and more than go round twice. */
export function backwardRuns({ stages }: BackwardShape): Counts[] {
  return [
    { tiles: 0, blocks: 1 },
    { tiles: 1, blocks: 1 },
    { tiles: 3, blocks: [1, 2, 1] },
    { tiles: 2, blocks: [2 * stages + 1, stages] },
  ];
}
