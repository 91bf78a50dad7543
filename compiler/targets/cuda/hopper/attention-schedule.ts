/**
 * The schedule of attention, that of FlashAttention-3 (arXiv 2407.08608, sections 3.1 and 3.2): a producer loads blocks of keys and
 * values into rings, two consumers have 64 rows of queries each. Scores of a block are multiplied beside the values of the block before, and
 * while one consumer takes exponentials the other one has the tensor cores.
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
import { latentRuns, latentSchedule } from "./latent-schedule.ts";
import { type Role, type Schedule, type Slot, type Step, WARPGROUP, type When } from "./schedule.ts";
import type { Counts } from "./simulate-trips.ts";

const KEY = { cursor: "key" };
const VALUE = { cursor: "value" };
const KEYS: Ring = { full: "k_full", empty: "k_empty", at: KEY };
const VALUES: Ring = { full: "v_full", empty: "v_empty", at: VALUE };

export function attentionSchedule(shape: AttentionShape): Schedule {
  if (shape.halves) return latentSchedule(shape);
  const { name, consumers, stages, columns, parts, width, valuesGathered, ranges } = shape;
  const warps = 4 * consumers;
  return {
    name,
    cursors: [
      { name: "key", stages },
      { name: "value", stages },
    ],
    barriers: [
      {
        name: "k_full",
        stages,
        arrivals: (gathers(shape) ? 4 : 0) + (parts.some(({ gathered }) => !gathered) ? 1 : 0),
        event: "the block's keys are there",
      },
      { name: "k_empty", stages, arrivals: warps, event: "all warps of the consumers have their scores" },
      { name: "v_full", stages, arrivals: valuesGathered ? 4 : 1, event: "the block's values are there" },
      { name: "v_empty", stages, arrivals: warps, event: "all warps of the consumers have summed them" },
    ],
    named: [
      { name: "own_warps", id: 1, threads: WARPGROUP, each: consumers },
      ...(consumers === 2 ? [{ name: "turn", id: 3, threads: 2 * WARPGROUP, each: 2 }] : []),
    ],
    buffers: [
      {
        name: "q",
        stages: 1,
        bytes: ROWS * 2 * Math.max(depthOf(shape), width),
        each: consumers,
        holds: "queries, then results on their way out",
      },
      ...parts.map(({ depth }, i) => ({ name: `k${i}`, stages, bytes: columns * 2 * depth, holds: "keys" })),
      { name: "v", stages, bytes: columns * 2 * width, holds: "values" },
      ...rangesBuffer(ranges, { stages }),
    ],
    registers: [
      { name: "scores", role: "consumer", count: columns / 2 },
      { name: "weights", role: "consumer", count: columns / 4 },
      { name: "sums", role: "consumer", count: width / 2 },
    ],
    roles: [producer(shape), consumer(shape)],
    results: [{ role: "consumer", over: [TILES], label: "results[{tile},{part}]" }],
  };
}

/** Whether sums of values leave the producer no more than what it cannot do without: with a cap and a mask one register was missing. */
function isTight({ width }: AttentionShape): boolean {
  return width > 192;
}

function producer(shape: AttentionShape): Role {
  const { columns, parts, width, valuesGathered, ranges } = shape;
  const all = gathers(shape);
  const keys = parts.map(({ depth, gathered }, i) => ({ buffer: `k${i}`, bytes: columns * 2 * depth, gathered }));
  const values = [{ buffer: "v", bytes: columns * 2 * width, gathered: valuesGathered }];
  const fill = (of: Ring, tiles: typeof keys, block: string): Step[] => {
    const { full, at } = of;
    const bytes = tiles.reduce((sum, tile) => sum + (tile.gathered ? 0 : tile.bytes), 0);
    return [
      room(of),
      ...(of === VALUES ? [] : findRanges(ranges, `{tile},${block}`, at)),
      ...(bytes === 0 ? [] : [{ kind: "expect", barrier: full, at, bytes } as const]),
      ...tiles.map((tile): Step => {
        const holds = `${tile.buffer}[{tile},${block}]`;
        if (tile.gathered) return { kind: "gather", buffer: tile.buffer, at, holds };
        return { kind: "load", buffer: tile.buffer, at, barrier: full, bytes: tile.bytes, holds };
      }),
      ...((of === KEYS ? all : valuesGathered) ? [{ kind: "commit_copies" } as const] : []),
    ];
  };
  const arrived = (
    barrier: "k_full" | "v_full",
    at: Slot,
    pending: number,
    when: { readonly when?: When } = {},
  ): Step[] =>
    (barrier === "k_full" ? all : valuesGathered)
      ? [
          { kind: "settle_copies", pending, ...when },
          { kind: "publish", ...when },
          { kind: "arrive", barrier, at, by: "warps", ...when },
        ]
      : [];
  const before = { cursor: "value", back: 1 };
  const body: Step[] = [
    ...fill(KEYS, keys, "{block}"),
    ...arrived("v_full", before, 1, { when: { counter: "block", from: 2 } }),
    ...fill(VALUES, values, "{block-1}"),
    ...arrived("k_full", KEY, valuesGathered ? 1 : 0),
    { kind: "advance", cursor: "key" },
    { kind: "advance", cursor: "value" },
  ];
  const tile: Step[] = [
    ...fill(KEYS, keys, "0"),
    ...arrived("k_full", KEY, 0),
    { kind: "advance", cursor: "key" },
    { kind: "loop", ...BLOCKS, from: 1, why: "keys are a block ahead of values", body },
    ...arrived("v_full", before, 0, { when: { counter: "block", from: 1 } }),
    ...fill(VALUES, values, "{block}"),
    ...arrived("v_full", VALUE, 0),
    { kind: "advance", cursor: "value" },
  ];
  return {
    name: "producer",
    warpgroups: 1,
    threads: all ? "all" : "warp",
    registers: all ? 72 : isTight(shape) ? 24 : 40,
    steps: [{ kind: "loop", ...TILES, body: tile }],
  };
}

function consumer(shape: AttentionShape): Role {
  const { consumers, ranges, parts } = shape;
  const own = "{tile},{part}";
  const pingPong = consumers === 2;
  const turn = (kind: "sync" | "signal", why: string, part?: number): Step[] =>
    pingPong
      ? [{ kind, barrier: "turn", of: kind === "sync" ? "own" : "next", why, ...(part === undefined ? {} : { part }) }]
      : [];
  const score = (block: string): Step[] =>
    parts.map((_, i) => ({
      kind: "multiply",
      a: { buffer: "q", holds: `q[${own}]` },
      b: { buffer: `k${i}`, at: KEY, holds: `k${i}[{tile},${block}]` },
      into: "scores",
      clears: i === 0 ? "always" : "never",
    }));
  const weigh = (block: string, at?: number): Step => ({
    kind: "multiply",
    a: { registers: "weights" },
    b: { buffer: "v", at: VALUE, holds: `v[{tile},${block}]` },
    into: "sums",
    clears: { counter: "block", ...(at === undefined ? {} : { at }) },
  });
  const exponentials = (block: string): Step => ({
    kind: "compute",
    name: "exponentials",
    reads: [
      {
        registers: "scores",
        holds: { counter: "of", count: String(parts.length), term: `q[${own}] * k{of}[{tile},${block}]` },
      },
    ],
    loads: asksRanges(ranges, `{tile},${block}`, KEY),
    writes: [{ registers: "scores", holds: `exponentials[{tile},{part},${block}]` }],
  });
  const weights = (block: string, rescales: boolean): Step => ({
    kind: "compute",
    name: rescales ? "rescale" : "weights",
    reads: [{ registers: "scores", holds: `exponentials[{tile},{part},${block}]` }],
    ...(rescales ? { touches: ["sums"] } : {}),
    writes: [
      { registers: "weights", holds: `p[{tile},{part},${block}]` },
      { registers: "scores", holds: "what is used up" },
    ],
  });
  const sums = { registers: "sums", holds: { ...BLOCKS, term: "p[{tile},{part},{block}] * v[{tile},{block}]" } };
  const tile: Step[] = [
    ...ownRows(
      [{ kind: "gather", buffer: "q", holds: `q[${own}]` }],
      ["all warps have stored what is in q", "all queries are there"],
    ),
    there(KEYS),
    { kind: "fence" },
    ...score("0"),
    { kind: "commit" },
    { kind: "settle", pending: 0, done: ["scores"] },
    exponentials("0"),
    ...used(KEYS),
    weights("0", false),
    {
      kind: "loop",
      ...BLOCKS,
      from: 1,
      body: [
        there(KEYS),
        ...turn("sync", "the other consumer takes exponentials now"),
        { kind: "fence" },
        ...score("{block}"),
        { kind: "commit" },
        there(VALUES),
        { kind: "fence", why: "ptxas wants one of its own for each array of sums" },
        weigh("{block-1}", 1),
        { kind: "commit" },
        ...turn("signal", "products of the other consumer come behind these"),
        { kind: "settle", pending: 1, done: ["scores"], why: "values of the block before are on their way" },
        exponentials("{block}"),
        ...used(KEYS),
        { kind: "settle", pending: 0 },
        ...used(VALUES),
        weights("{block}", true),
      ],
    },
    there(VALUES),
    { kind: "fence" },
    weigh("{block}"),
    { kind: "commit" },
    { kind: "settle", pending: 0, done: ["sums"] },
    ...used(VALUES),
    { kind: "sync", barrier: "own_warps", of: "own", why: "no warp needs the queries" },
    {
      kind: "compute",
      name: "results",
      reads: [sums],
      writes: [{ buffer: "q", holds: `out[${own}]` }],
    },
    { kind: "sync", barrier: "own_warps", of: "own" },
    {
      kind: "compute",
      name: "results leave",
      loads: [{ buffer: "q", holds: `out[${own}]` }],
      gives: "results[{tile},{part}]",
    },
  ];
  return {
    name: "consumer",
    warpgroups: consumers,
    threads: "all",
    registers: gathers(shape) ? 216 : isTight(shape) ? 240 : 232,
    steps: [
      ...turn("signal", "the first turn is that of consumer 0", 1),
      { kind: "loop", ...TILES, body: tile },
      ...turn("sync", "the turn that nobody takes", 0),
    ],
  };
}

/** Trip counts that stand for all: no tile, blocks that all fit into the ring, and more than go round twice. */
export function attentionRuns(shape: AttentionShape): Counts[] {
  if (shape.halves) return latentRuns(shape);
  const { stages, parts } = shape;
  return [
    { tiles: 0, blocks: 1 },
    { tiles: 1, blocks: 1 },
    { tiles: 3, blocks: [1, 2, 1] },
    { tiles: 2, blocks: [2 * stages + 1, stages] },
  ].map((counts) => ({ ...counts, [String(parts.length)]: parts.length }));
}
