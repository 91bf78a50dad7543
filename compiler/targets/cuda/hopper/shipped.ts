/** A schedule of each kind that kernels are printed from: what tests check, and break. */
import type { AttentionShape } from "./attention-plan.ts";
import type { BackwardShape } from "./backward-plan.ts";
import type { GemmShape } from "./gemm-schedule.ts";

const COPIED = { a: false, b: false };
const BLOCK = { depthBytes: 128, count: "k_blocks" };
const { depthBytes, count } = BLOCK;

export const GEMM_SHAPES: readonly GemmShape[] = [
  {
    name: "one product, staged",
    consumers: 2,
    stages: 4,
    tileN: 256,
    depthBytes,
    loops: [{ count, products: [0], gathers: COPIED }],
    staged: [{ name: "out", columns: 64 }],
    direct: false,
  },
  {
    name: "one product, stored by threads",
    consumers: 2,
    stages: 4,
    tileN: 256,
    depthBytes,
    loops: [{ count, products: [0], gathers: COPIED }],
    staged: [],
    direct: true,
  },
  {
    name: "two products of one A",
    consumers: 2,
    stages: 4,
    tileN: 128,
    depthBytes,
    loops: [{ count, products: [0, 1], gathers: COPIED }],
    staged: [
      { name: "out", columns: 64 },
      { name: "wide", columns: 32 },
    ],
    direct: false,
  },
  {
    name: "two products one behind the other",
    consumers: 2,
    stages: 4,
    tileN: 128,
    depthBytes,
    loops: [
      { count, products: [0], gathers: COPIED },
      { count: "k_blocks_1", products: [1], gathers: COPIED },
    ],
    staged: [{ name: "out", columns: 64 }],
    direct: true,
  },
  {
    name: "two products that are only added",
    consumers: 2,
    stages: 4,
    tileN: 256,
    depthBytes,
    loops: [
      { count, products: [0], gathers: COPIED },
      { count: "k_blocks_1", products: [0], gathers: COPIED },
    ],
    staged: [{ name: "out", columns: 32 }],
    direct: false,
  },
  {
    name: "results of inputs",
    consumers: 2,
    stages: 4,
    tileN: 256,
    depthBytes,
    loops: [{ count, products: [0], gathers: COPIED }],
    staged: [
      { name: "out", columns: 64 },
      { name: "more", columns: 64 },
    ],
    direct: false,
    given: { buffers: ["a", "b0"], gathered: false },
  },
  {
    name: "gathered rows and inputs",
    consumers: 2,
    stages: 4,
    tileN: 256,
    depthBytes,
    loops: [{ count, products: [0], gathers: { a: true, b: false } }],
    staged: [{ name: "out", columns: 64, scattered: true }],
    direct: false,
    startsBytes: 2064,
    given: { buffers: ["b0"], gathered: true },
  },
  {
    name: "gathered rows",
    consumers: 2,
    stages: 4,
    tileN: 256,
    depthBytes,
    loops: [{ count, products: [0], gathers: { a: true, b: false } }],
    staged: [{ name: "out", columns: 64, scattered: true }],
    direct: false,
    startsBytes: 1032,
  },
  {
    name: "gathered terms",
    consumers: 2,
    stages: 4,
    tileN: 256,
    depthBytes,
    loops: [{ count, products: [0], gathers: { a: true, b: true } }],
    staged: [{ name: "out", columns: 64 }],
    direct: false,
  },
  {
    name: "one product in eight bits",
    consumers: 2,
    stages: 6,
    tileN: 128,
    depthBytes,
    columnScales: 1,
    loops: [{ count, products: [0], gathers: COPIED }],
    staged: [{ name: "out", columns: 64 }],
    direct: false,
  },
  {
    name: "two products in eight bits of gathered rows",
    consumers: 2,
    stages: 4,
    tileN: 64,
    depthBytes,
    columnScales: 1,
    loops: [{ count, products: [0, 1], gathers: { a: true, b: false } }],
    staged: [{ name: "out", columns: 64, scattered: true }],
    direct: false,
    startsBytes: 1032,
  },
  {
    name: "few rows",
    consumers: 1,
    stages: 6,
    tileN: 128,
    depthBytes,
    loops: [{ count, products: [0], gathers: COPIED }],
    staged: [],
    direct: true,
  },
];

const BLOCKS = { consumers: 2, columns: 128, width: 128, halves: false } as const;

export const ATTENTION_SHAPES: readonly AttentionShape[] = [
  {
    name: "attention, two products",
    ...BLOCKS,
    stages: 2,
    parts: [
      { depth: 128, gathered: false },
      { depth: 64, gathered: false },
    ],
    valuesGathered: false,
    ranges: 2,
  },
  {
    name: "attention, a part of the keys in a cache",
    ...BLOCKS,
    stages: 2,
    parts: [
      { depth: 128, gathered: false },
      { depth: 64, gathered: true },
    ],
    valuesGathered: false,
    ranges: 2,
  },
  {
    name: "attention, keys and values in a cache",
    ...BLOCKS,
    stages: 3,
    parts: [{ depth: 128, gathered: true }],
    valuesGathered: true,
    ranges: 0,
  },
  {
    name: "attention, halves of latent values",
    consumers: 2,
    stages: 5,
    columns: 64,
    parts: [
      { depth: 512, gathered: true },
      { depth: 64, gathered: true },
    ],
    width: 512,
    valuesGathered: true,
    halves: true,
    ranges: 2,
  },
  {
    name: "attention, halves of latent values, a part of the keys at equal distances",
    consumers: 2,
    stages: 5,
    columns: 64,
    parts: [
      { depth: 512, gathered: true },
      { depth: 64, gathered: false },
    ],
    width: 512,
    valuesGathered: true,
    halves: true,
    ranges: 0,
  },
  {
    name: "attention, halves of latent values, keys at equal distances",
    consumers: 2,
    stages: 5,
    columns: 64,
    parts: [
      { depth: 512, gathered: false },
      { depth: 64, gathered: false },
    ],
    width: 512,
    valuesGathered: false,
    halves: true,
    ranges: 2,
  },
];

/** Each is a schedule of rows and one of columns. */
export const BACKWARD_SHAPES: readonly BackwardShape[] = [
  {
    name: "backward, two products",
    stages: 3,
    columns: 64,
    rows: 64,
    parts: [128, 64],
    width: 128,
    ranges: 2,
    compared: 2,
  },
];
