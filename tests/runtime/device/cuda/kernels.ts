/** Kernels by hand and programs of them, for the tests of sessions. */
import type { LaunchProgram } from "../../../../runtime/program/launch.ts";
import { buffer } from "../../../support/kernels.ts";
import type { HandCuda } from "../../../support/cuda/package.ts";

function kernel(
  name: string,
  args: readonly string[],
  writes: readonly string[],
  extents: readonly string[],
  body: string,
  more: Partial<HandCuda["table"]> = {},
): HandCuda {
  const scratch = more.scratch ?? [];
  const types: Readonly<Record<string, string>> = { rows: "int", tokens: "int" };
  const pointers = [
    ...args.map((arg) => `${writes.includes(arg) ? "" : "const "}${types[arg] ?? "float"}* ${arg}`),
    ...scratch.map((_, i) => `float* scratch${i}`),
  ];
  const entries = more.entries ?? [{ name: "main", workgroupSize: 32, workgroups: [{ of: [extents[0]!], by: 32 }] }];
  const signature = ["int items", "int items_before", ...extents.map((extent) => `int ${extent}`), ...pointers].join(
    ", ",
  );
  const functions = [...entries, ...entries.flatMap(({ before }) => before ?? [])].map(
    ({ name: entry, workgroupSize }) =>
      `extern "C" __global__ void __launch_bounds__(${workgroupSize}) ${name}_${entry}(${signature}) {\n${entry === "before" ? "  if (threadIdx.x == 0) scratch0[blockIdx.x] = 0.5f;" : body}\n}\n`,
  );
  return {
    table: { name, args, writes, extents, scratch, entries, ...more },
    text: `#include "dsk.cuh"\n${functions.join("\n")}`,
  };
}

const INDEX = "  const int i = blockIdx.x * 32 + threadIdx.x;\n";

export const KERNELS: readonly HandCuda[] = [
  // out = a x + y
  kernel("axpy", ["a", "x", "y", "out"], ["out"], ["N"], `${INDEX}  if (i < N) out[i] = a[0] * x[i] + y[i];`),
  // the sum of each row, a block each, by way of an array that each block has of its own
  kernel(
    "row_sum",
    ["x", "out"],
    ["out"],
    ["T", "D"],
    `  for (int t = blockIdx.x; t < items; t += gridDim.x) {
    for (int d = threadIdx.x; d < D; d += 32) scratch0[blockIdx.x * D + d] = x[t * D + d];
    __syncthreads();
    if (threadIdx.x == 0) {
      float sum = 0;
      for (int d = 0; d < D; ++d) sum += scratch0[blockIdx.x * D + d];
      out[t] = sum;
    }
    __syncthreads();
  }`,
    {
      scratch: [{ shape: ["D"], each: true }],
      entries: [{ name: "main", workgroupSize: 32, workgroups: [{ of: ["T"] }], most: 3 }],
    },
  ),
  // out = what the entry before wrote, of which it has one for each of its items, plus the number of those
  kernel("after", ["out"], ["out"], ["N"], `${INDEX}  if (i < N) out[i] = scratch0[i % 4] + items_before;`, {
    scratch: [{ shape: [4], each: false }],
    entries: [
      {
        name: "main",
        workgroupSize: 32,
        workgroups: [{ of: ["N"], by: 32 }],
        before: { name: "before", workgroupSize: 32, workgroups: [{ of: [4] }] },
      },
    ],
  }),
  // adds 1 to a state
  kernel("count", ["state", "out"], ["state", "out"], [], "  if (threadIdx.x == 0) out[0] = state[0] += 1;", {
    entries: [{ name: "main", workgroupSize: 32, workgroups: [] }],
  }),
  // rows of two floats to a cache and from there
  kernel(
    "put",
    ["cache", "values", "rows"],
    ["cache"],
    ["T"],
    `${INDEX}  if (i < T) for (int d = 0; d < 2; ++d) cache[rows[i] * 2 + d] = values[i * 2 + d];`,
  ),
  kernel(
    "get",
    ["cache", "rows", "out"],
    ["out"],
    ["T"],
    `${INDEX}  if (i < T) for (int d = 0; d < 2; ++d) out[i * 2 + d] = cache[rows[i] * 2 + d];`,
  ),
  // stops where it reads a number below zero
  kernel(
    "stray",
    ["x", "out"],
    ["out"],
    ["N"],
    `${INDEX}  if (i < N && x[i] < 0) __trap();\n  if (i < N) out[i] = x[i];`,
  ),
  // reverses 32 floats through 64 KiB of dynamic shared memory
  kernel(
    "reverse",
    ["x", "out"],
    ["out"],
    ["N"],
    `  extern __shared__ float shared[];
  shared[16383 - threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = shared[16383 - 31 + threadIdx.x];`,
    { entries: [{ name: "main", workgroupSize: 32, workgroups: [], sharedBytes: 65536 }] },
  ),
];

const launch = (name: string, args: readonly number[], extents: readonly (string | number)[] = [], note?: string) => ({
  kernel: name,
  args,
  extents,
  ...(note === undefined ? {} : { note }),
});

/** out = a (a x + y) + y, and the sum of each row of it in blocks of 64 rows. */
export const CHAIN: LaunchProgram = {
  name: "chain",
  dims: ["T"],
  buffers: [
    buffer("input", "a", "f32", 1),
    buffer("input", "x", "f32", "T", 4),
    buffer("param", "y", "f32", 4096),
    buffer("temp", "once", "f32", "T", 4),
    buffer("output", "out", "f32", "T", 4),
    buffer("output", "sums", "f32", "T"),
  ],
  launches: [
    launch("axpy", [0, 1, 2, 3], [400], "chain.dsk:3"),
    launch("axpy", [0, 3, 2, 4], [400], "chain.dsk:4"),
    launch("row_sum", [4, 5], ["T", 4], "chain.dsk:5"),
  ],
  blocks: [{ dim: "T", rows: 64, first: 2, count: 1 }],
};

/** A step that is the same again and again but for its sizes. */
export const DECODE: LaunchProgram = {
  name: "decode",
  dims: ["T", "S"],
  buffers: [
    buffer("input", "values", "f32", "T", 2),
    buffer("input", "rows", "i32", "T"),
    buffer("input", "tokens", "i32", "S"),
    buffer("cache", "kv", "f32", 2),
    buffer("state", "steps", "f32", 1),
    buffer("temp", "read", "f32", "S", 2),
    buffer("output", "sums", "f32", "S"),
    buffer("output", "step", "f32", 1),
    buffer("output", "logits", "f32", "S", 2),
  ],
  launches: [
    launch("put", [3, 0, 1], ["T"]),
    launch("get", [3, 2, 5], ["S"]),
    launch("row_sum", [5, 6], ["S", 2]),
    launch("count", [4, 7]),
    launch("get", [3, 2, 8], ["S"]),
  ],
};

export const AFTER: LaunchProgram = {
  name: "after",
  dims: ["N"],
  buffers: [buffer("output", "out", "f32", "N")],
  launches: [launch("after", [0], ["N"])],
};

export const REVERSE: LaunchProgram = {
  name: "reverse",
  dims: [],
  buffers: [buffer("input", "x", "f32", 32), buffer("output", "out", "f32", 32)],
  launches: [launch("reverse", [0, 1], [32])],
};

/** Fails in its second launch. */
export const STRAY: LaunchProgram = {
  name: "stray",
  dims: [],
  buffers: [
    buffer("input", "x", "f32", 32),
    buffer("temp", "t", "f32", 1),
    buffer("state", "steps", "f32", 1),
    buffer("output", "out", "f32", 32),
  ],
  launches: [launch("count", [2, 1]), launch("stray", [0, 3], [32], "model.dsk:12:5")],
};

/** Many launches: long enough to be cancelled. */
export const LONG: LaunchProgram = {
  name: "long",
  dims: [],
  buffers: [buffer("state", "steps", "f32", 1), buffer("output", "out", "f32", 1)],
  launches: Array.from({ length: 20_000 }, () => launch("count", [0, 1])),
};

export const PROGRAMS = [CHAIN, DECODE, AFTER, REVERSE, STRAY, LONG];
