/**
 * The schedule of all matrix products: one warpgroup loads tiles into a ring, one or two others multiply. Tiles go on while the
 * results of the one before are stored, since the ring does not stop at its end. Few rows have a block for each tile, or a cluster of
 * blocks that share its terms: each sends its sums to the block that adds up their columns.
 */
import { consumer } from "./gemm-consumer.ts";
import { arrivalsOfFull, producer } from "./gemm-producer.ts";
import {
  batchesOf,
  codesOfProduct,
  DIRECT,
  type GemmShape,
  isShared,
  overTiles,
  piecesOf,
  RANKS,
  registersOfResult,
  resultLabel,
  resultsOf,
  ROWS,
  scalesOf,
  slicesOf,
  slotsOf,
  sumsOf,
  TILES,
} from "./gemm-shape.ts";
import { type RegisterArray, type Schedule, type SharedBuffer, WARPGROUP } from "./schedule.ts";
import type { Counts } from "./simulate-trips.ts";

/** Bytes of a row of a staged tile: what 128-byte swizzle takes. */
const STAGED_BYTES = ROWS * 128;

export function gemmSchedule(shape: GemmShape): Schedule {
  const { name, consumers, stages, tileN, depthBytes, loops, staged, direct, parts } = shape;
  const tilesOfB = Math.max(...loops.map(({ products }) => products.length));
  const [aBytes, bBytes] = [consumers * ROWS * depthBytes, tileN * depthBytes];
  const copied = staged.some(({ scattered }) => scattered !== true);
  const slots = slotsOf(staged);
  const buffers: SharedBuffer[] = [
    { name: "a", stages, bytes: aBytes, holds: "rows of A" },
    ...Array.from({ length: tilesOfB }, (_, i) => ({ name: `b${i}`, stages, bytes: bBytes, holds: "columns of B" })),
    ...(staged.length > 0
      ? [{ name: "staged", stages: slots, bytes: STAGED_BYTES, each: consumers, holds: "results on their way out" }]
      : []),
    ...(shape.scaleBytes === undefined
      ? []
      : Array.from({ length: tilesOfB }, (_, i) => ({
          name: scalesOf(i),
          stages,
          bytes: tileN * shape.scaleBytes!,
          holds: "what columns of B are scaled by",
        }))),
    ...(shape.startsBytes === undefined
      ? []
      : [
          {
            name: "starts",
            stages: 1,
            bytes: shape.startsBytes,
            holds: "where groups and their tiles begin, and the end",
          },
        ]),
    ...(isShared(shape)
      ? [
          {
            name: "received",
            stages: 1,
            bytes: ROWS * tileN * 4 * sumsOf(loops).length,
            each: consumers,
            over: ["a", ...Array.from({ length: tilesOfB }, (_, i) => `b${i}`)],
            holds: "sums of the columns that the block adds up, of all blocks",
          },
        ]
      : []),
  ];
  const registers: RegisterArray[] = Array.from({ length: sumsOf(loops).length }, (_, i) => ({
    name: `sums${i}`,
    role: "consumer",
    count: tileN / 2,
  }));
  if (shape.columnScales !== undefined) {
    registers.push({ name: "partial", role: "consumer", count: tileN / 2 });
    const ofColumns = shape.scaleBytes === undefined ? tilesOfB * shape.columnScales : 0;
    registers.push({ name: "scales", role: "consumer", count: 2 + ofColumns });
  }
  // Results are computed when nothing is promoted any more: they have those registers first.
  let spare = registers.reduce((n, { name: of, count }) => n + (of.startsWith("sums") ? 0 : count), 0);
  const batches = batchesOf(staged);
  for (let i = 0; i < Math.max(0, ...batches.map(({ length }) => length)); i++) {
    const counts = batches.flatMap((batch) => batch.slice(i, i + 1)).map(({ columns }) => registersOfResult(columns));
    const count = Math.max(...counts);
    registers.push({ name: resultsOf(i), role: "consumer", count: Math.max(0, count - spare) });
    spare = Math.max(0, spare - count);
  }
  const codes = Math.max(0, ...loops.map(({ codeRegisters = 0 }) => codeRegisters));
  if (codes > 0)
    for (let j = 0; j < tilesOfB; j++) registers.push({ name: codesOfProduct(j), role: "producer", count: codes });
  return {
    name,
    cursors: [{ name: "stage", stages }, ...(copied ? [{ name: "stored", stages: slots }] : [])],
    barriers: [
      { name: "full", stages, arrivals: arrivalsOfFull(shape), event: "tiles of A and B are there" },
      { name: "empty", stages, arrivals: 4 * consumers, event: "all warps of the consumers have multiplied them" },
    ],
    named: copied ? [{ name: "own_warps", id: 1, threads: WARPGROUP, each: consumers }] : [],
    buffers,
    registers,
    roles: [producer(shape, aBytes, bBytes), consumer(shape)],
    ...(isShared(shape) ? { cluster: parts! } : {}),
    results: [
      ...staged.map(({ name: to, columns }) => ({
        role: "consumer",
        over: [TILES, slicesOf(tileN), ...piecesOf(columns)],
        label: resultLabel(to, columns),
      })),
      ...(direct ? [{ role: "consumer", over: isShared(shape) ? [RANKS] : overTiles(shape), label: DIRECT }] : []),
    ],
  };
}

/** Trip counts that stand for all: none, one, fewer than stages, more than go round twice. */
export function gemmRuns({ loops, stages, staged, tileN, parts }: GemmShape): Counts[] {
  const fixed = [slicesOf(tileN), ...staged.flatMap(({ columns }) => piecesOf(columns))];
  const slices = Object.fromEntries(fixed.map(({ count }) => [count, Number(count)]));
  const counts = [...new Set(loops.map(({ count }) => count))];
  const blocks = (n: readonly (number | readonly number[])[]): Counts =>
    Object.fromEntries(counts.map((count, i) => [count, n[i % n.length]!]));
  if (parts !== undefined)
    return [[1], [2 * stages + 1], parts === 1 ? [stages] : [[stages + 2, 1]]].map((n) => ({
      ...blocks(n),
      ...slices,
    }));
  return [
    { tiles: 0, ...blocks([1]), ...slices },
    { tiles: 1, ...blocks([1]), ...slices },
    { tiles: 3, ...blocks([1, 2]), ...slices },
    { tiles: 2, ...blocks([2 * stages + 1, stages]), ...slices },
    { tiles: 4, ...blocks([[1, stages + 2, 2, 3], 3]), ...slices },
  ];
}
