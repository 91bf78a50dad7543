/**
 * The schedule of attention's backward pass with tiles of columns, which sums gradients of keys and values; see
 * backward-rows-schedule.ts. Scores are computed with columns as their rows, so that weights are rows of A of the sums.
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
  RELEASE_BEFORE,
  ring,
  STAGE,
  THERE,
} from "./backward-steps.ts";
import { ROWS } from "./gemm-shape.ts";
import type { Role, Schedule, Step } from "./schedule.ts";

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
    ...own(["k", "v"], findRanges(ranges, "{tile},{part}")),
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
          loads: [...known("statistics", "seen"), ...asksRanges(ranges, "{tile},{part}")],
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
      ...rangesBuffer(ranges, own_),
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
