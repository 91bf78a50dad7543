/**
 * The schedule of attention's backward pass with tiles of rows, which sums gradients of queries: that of FlashAttention-2 (arXiv
 * 2307.08691, algorithm 2) with the parts of warpgroups of FlashAttention-3 (arXiv 2407.08608). It computes scores anew, as that of
 * columns does, so that each result is summed in one order by one warpgroup.
 */
import { asksRanges, BLOCKS, findRanges, rangesBuffer, TILES } from "./attention-rings.ts";
import type { BackwardShape } from "./backward-plan.ts";
import {
  bytesOf,
  COMMIT,
  CONSUMERS,
  consumer,
  depthOf,
  FENCE,
  fill,
  FREE,
  NEXT,
  own,
  product,
  RELEASE,
  RELEASE_BEFORE,
  ring,
  STAGE,
  THERE,
} from "./backward-steps.ts";
import { ROWS } from "./gemm-shape.ts";
import type { Role, Schedule, Step } from "./schedule.ts";

/** The second way over a tile's columns. */
const AGAIN = { counter: "again", count: "blocks" };

/** Statistics of rows, then gradients of queries. */
export function rowsSchedule(shape: BackwardShape): Schedule {
  const { name, stages, columns, width, ranges, kept } = shape;
  const depth = depthOf(shape);
  const block = (pass: string): Step[] => [
    FREE,
    ...findRanges(ranges, `{tile},${pass}`, STAGE),
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
    loads: asksRanges(ranges, `{tile},${pass}`, STAGE),
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
      ...rangesBuffer(ranges, { stages }),
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
