import { describe, expect, test } from "vitest";
import { axis, index, load, op } from "../../../compiler/kernel-ir/expr.ts";
import type { Launch, LaunchProgram } from "../../../runtime/program/launch.ts";
import type { Kernel, KernelModule, RowsKernel } from "../../../compiler/kernel-ir/types.ts";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import { printKernels } from "../../../compiler/kernel-ir/print.ts";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";

/** y[t, d] = x[t, d] * 2, called once. */
const kernel: RowsKernel = {
  name: "double",
  from: [],
  family: "rows",
  args: [
    { name: "x", dtype: "f32", shape: ["T", 4], access: "read" },
    { name: "y", dtype: "f32", shape: ["T", 4], access: "write" },
  ],
  extents: ["T"],
  rows: [{ name: "T", extent: "T" }],
  locals: [],
  body: [
    {
      kind: "assign",
      axes: [{ name: "D", extent: 4 }],
      to: "y",
      at: [axis("T"), axis("D")],
      value: op("mul", [load("x", [axis("T"), axis("D")], "f32"), { kind: "const", dtype: "f32", value: 2 }], "f32"),
    },
  ],
};
const module: KernelModule = {
  kernels: [kernel],
  programs: [
    {
      name: "p",
      dims: ["T"],
      buffers: [
        { kind: "input", name: "x", dtype: "f32", shape: ["T", 4] },
        { kind: "output", name: "y", dtype: "f32", shape: ["T", 4] },
      ],
      launches: [{ kernel: "double", args: [0, 1], extents: ["T"] }],
    },
  ],
};

function withKernel(changes: Partial<RowsKernel>): KernelModule {
  return { ...module, kernels: [{ ...kernel, ...changes } as Kernel] };
}

function withStmt(changes: object): KernelModule {
  return withKernel({ body: [{ ...kernel.body[0]!, ...changes } as RowsKernel["body"][number]] });
}

function withLaunch(changes: object): KernelModule {
  const [program] = module.programs;
  return { ...module, programs: [{ ...program!, launches: [{ ...program!.launches[0]!, ...changes }] }] };
}

test("a sound module", () => expect(verifyKernels(module)).toEqual([]));

describe("faults of kernels", () => {
  test.each([
    [
      "an unbound axis",
      withStmt({ value: load("x", [axis("T"), axis("E")], "f32") }),
      "@double: the axis E is not bound here",
    ],
    ["a store that is not there", withStmt({ to: "z" }), "@double: there is no z"],
    ["a store that is read only", withStmt({ to: "x" }), "@double: x is written"],
    ["too few indices", withStmt({ at: [axis("T")] }), "@double: y is written with 1 indices"],
    [
      "too many indices of a load",
      withStmt({ value: load("x", [index(0), index(0), index(0)], "f32") }),
      "@double: x is read with 3 indices",
    ],
    [
      "an extent that no launch gives",
      withStmt({ axes: [{ name: "D", extent: "N" }] }),
      "@double: the axis D runs to N, which no launch gives",
    ],
    [
      "a name twice",
      withKernel({ locals: [{ name: "x", dtype: "f32", shape: [] }] }),
      "@double: a name is taken twice",
    ],
  ])("%s", (_, broken, fault) => expect(verifyKernels(broken)).toContain(fault));
});

test.each([
  ["serial extents [T, N]", "", "", ""],
  ["rows extents [T, N]", "rows ()", "", "rows are sorted inside of rows"],
  ["serial extents [T, N]", "", "order[0, 0] = i32 0", "rows are sorted beside other statements"],
])("a sort in a kernel of %s %s %s", (head, rows, more, fault) => {
  const text = `kernel @order ${head} {
    read chosen: i32[T]
    write order: i32[N, 4]
    ${rows}
    for (N, P < 4) order[N, P] = sort into 8 over (T) chosen[T]
    ${more}
  }`;
  const faults = verifyKernels(parseKernels(text));
  expect(faults).toEqual(fault === "" ? [] : [`@order: ${fault}`]);
});

describe("faults of launches", () => {
  test.each([
    ["no such kernel", withLaunch({ kernel: "triple" }), "@p: launch 0 calls @triple, which does not exist"],
    ["a buffer too few", withLaunch({ args: [0] }), "@p: launch 0 gives @double 1 buffers"],
    ["an extent too many", withLaunch({ extents: ["T", 3] }), "@p: launch 0 gives @double 2 extents"],
    ["an unknown extent", withLaunch({ extents: ["S"] }), "@p: launch 0 has the extent S"],
    ["an input that is written", withLaunch({ args: [0, 0] }), "@p: launch 0 writes the input x"],
    [
      "an output that is read before it is made",
      withLaunch({ args: [1, 1] }),
      "@p: launch 0 reads y before it is made",
    ],
    ["an output that is never made", withLaunch({ args: [0, 0] }), "@p: the output y is never made"],
  ])("%s", (_, broken, fault) => expect(verifyKernels(broken)).toContain(fault));
});

describe("blocks", () => {
  const [program] = module.programs;
  const temp = { kind: "temp", name: "z", dtype: "f32", shape: ["T", 4], block: 64 } as const;
  const twice = [0, 1].map((): Launch => ({ kernel: "double", args: [0, 1], extents: ["T"] }));
  const faults = (changes: Partial<LaunchProgram>): string[] =>
    verifyKernels({ ...module, programs: [{ ...program!, launches: twice, ...changes }] });

  test("of two launches", () => {
    expect(faults({ blocks: [{ dim: "T", rows: 64, first: 0, count: 2 }] })).toEqual([]);
  });

  test.each([
    [{ blocks: [{ dim: "S", rows: 64, first: 0, count: 1 }] }, "@p: blocks 0 are of S, which is no run-time dim"],
    [{ blocks: [{ dim: "T", rows: 100, first: 0, count: 1 }] }, "@p: blocks 0 have 100 rows, no multiple of 64"],
    [{ blocks: [{ dim: "T", rows: 64, first: 1, count: 2 }] }, "@p: blocks 0 are the launches 1 to 2"],
    [
      { buffers: [...program!.buffers, temp], launches: [{ ...twice[0]!, args: [0, 2] }, ...twice] },
      "@p: launch 0 uses z, which holds another block",
    ],
  ] satisfies [Partial<LaunchProgram>, string][])("%j", (changes, fault) => {
    expect(faults(changes)).toEqual([fault]);
  });
});

describe("together", () => {
  const text = (launches: string, kernel = "scale"): string => `kernel @scale rows extents [elements] {
  read x: f32[elements]
  read by: f32[]
  write y: f32[elements]
  rows (element < elements)
  y[element] = (x[element] * by[])
}

kernel @other rows extents [T] {
  read x: f32[T]
  read by: f32[]
  write y: f32[T]
  rows (T)
  y[T] = (x[T] * by[])
}

program @p dims [] {
  #0 param "a": f32[3]
  #1 param "b": f32[5]
  #2 param "by": f32[]
  #3 output "c": f32[3]
  #4 output "d": f32[5]
  together {
    @${kernel}(#0, #2, #3) [3]
    ${launches}
  }
}
`;

  test("of two launches, as text and back", () => {
    const sound = text("@scale(#1, #2, #4) [5]");
    const parsed = parseKernels(sound);
    expect(verifyKernels(parsed)).toEqual([]);
    expect(parsed.programs[0]!.together).toEqual([{ first: 0, count: 2 }]);
    expect(printKernels(parsed)).toBe(sound);
  });

  test.each([
    [text("@other(#1, #2, #4) [5]"), "@p: together 0 launch several kernels"],
    [text("@other(#1, #2, #4) [5]", "other"), "@p: together 0 launch @other, which is no kernel of lists"],
    [text("@scale(#3, #2, #4) [3]"), "@p: launch 1 touches #3, which another one of together 0 writes"],
    [text("@scale(#1, #1, #4) [5]"), "@p: together 0 give by several buffers"],
    [text(""), "@p: together 0 are the launches 0 to 0"],
  ])("%#", (broken, fault) => expect(verifyKernels(parseKernels(broken))).toContain(fault));
});

describe("parts and prologues", () => {
  const parts = `kernel @both parts extents [T] {
  part rows extents [T] {
    read x: f32[T, 4]
    write y: f32[T]
    local a: f32[]
    rows (T)
    a[] = sum over (D < 4) x[T, D]
    y[T] = a[]
  }
  part gemm extents [T] {
    read x: f32[T, 4]
    read w: f32[4, 8]
    write z: f32[T, 8]
    batch () m (T) n (N < 8)
    row local b: f32[]
    row b[] = max over (D < 4) x[T, D]
    product p: f32 = sum (D < 4) (x[T, D] * b[]) @ w[D, N]
    z[T, N] = p[]
  }
}
`;
  const faults = (from: RegExp | string, to: string): string[] =>
    verifyKernels(parseKernels(parts.replaceAll(from, to)));

  test("a sound kernel", () => expect(verifyKernels(parseKernels(parts))).toEqual([]));

  test.each<[string, RegExp | string, string, string]>([
    ["a part that reads what another one writes", /\bw\b/g, "y", "@both: y is written by part_1 and used by part_2"],
    ["locals of one name", /\bb\b/g, "a", "@both: two parts have one name"],
    ["an array in a prologue", "local b: f32[]", "local b: f32[4]", "@both: part_2: a prologue has an array"],
    [
      "a column in a prologue",
      "b[] = max over (D < 4) x[T, D]",
      "b[] = x[T, N]",
      "@both: part_2: the axis N is not bound here",
    ],
    ["a prologue in each batch", "batch ()", "batch (E < 4)", "@both: part_2: a prologue has batches or groups"],
  ])("%s", (_, from, to, fault) => expect(faults(from, to)).toContain(fault));
});
