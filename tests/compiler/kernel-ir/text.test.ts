import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import { printKernels } from "../../../compiler/kernel-ir/print.ts";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";
import { withoutOrigin } from "../../support/without-origin.ts";
import { lowered } from "../../../compiler/package/package.ts";
import { servingPrograms } from "../../../compiler/package/programs.ts";
import { randomProgram, withGradients } from "../../support/random-program.ts";
import { tinyV3 } from "../../support/tiny-v3.ts";

/** Each family, and whatever an expression or a statement may be. */
const TEXT = `kernel @rows_all rows extents [T, S] {
  read x: bf16[T, 64]
  read E/G: f32[T, N]
  update rows: f32[cache, 64]
  read step: i32[]
  local sum: f32[]
  local read: i32[4, 2]
  local at: index[]
  rows (T)
  rows[index(read[0, 1]), 63] = f32(x[T, ((T * 2) + -1)])
  for (D < 64, C+R < S) rows[T, D] = select((D < size(S)), f32 -inf, exp(sum[]))
  sum[] = sum over (D < 64, S) (f32(x[T, D]) - f32 1e-20)
  sum[] = max over (D < 64) max(sum[], f32 -0)
  read[D, K] = top_k (K < 2) over (E/G < 8) E/G[T, E/G]
  for (S) read[0, D] = rank over (D < 4) (sum[] / f32 nan)
  rows[T, D] = scan over (D < 64) rows[T, D]
  rows[T, D] = scan exclusive reverse over (D < 64) rows[T, D]
  zero (D < 64) rows[T, D]; for (K < 2) rows[T, index(read[K, 0])] += pow(sum[], f32 2) when (bool true & not((read[0, 0] >= i32 -1)))
  sum[] = (x[T, 0] + x[T, 1]: f32)
  sum[] = exp(x[T, 0]: f32)
  sum[] = random.normal(7, T, step[], i32(step[]))
  sum[] = random.uniform(4294967295, 0, i32 1, step[]: f64)
  sum[] = (x[T, 0] * sum[])
  at[] = min(max((T % 8), 0), (size(T) - 1))
}

kernel @gemm_experts gemm extents [T] {
  read x: f32[T, 32]
  read w: f32[8, 32, 16]
  read chosen: i32[T]
  write y: f32[T, 16]
  batch () m (T) n (F < 16)
  group (E < 8) over m of chosen[T]
  product p: f32 = sum (D < 32) x[T, D] @ w[E, D, F]
  product p_2: f32 = sum () x[T, 0] @ w[E, 0, F]
  y[T, F] = (silu(p[]) * p_2[])
}

kernel @serial_order serial extents [T, T/128*2+8] {
  read chosen: i32[T, 2]
  write order: i32[T/128*2+8, 128]
  for (T/128*2+8, at < 128) order[T/128*2+8, at] = sort into 8 over (T, K < 2) chosen[T, K]
}

kernel @columns_two columns extents [T] {
  read x: f32[T, 32]
  write y: f32[32]
  columns (D < 32) over (T)
  y[D] = sum square(x[T, D])
}

kernel @plane_all plane extents [S, T] {
  read q: f32[T, 8]
  read k: f32[S, 8]
  read from: i32[T]
  write y: f32[T, 8]
  write z: f32[S, 8]
  local a: f32[S]
  batch () rows (T) column (S)
  span from[T] to (from[T] + i32 1)
  enter a = sum (N < 8) q[T, N] @ k[S, N] + sum (N < 8) q[T, N] @ k[S, N]
  for (S) a[S] = exp(a[S])
  leave (N < 8) y[T, N] = sum over columns a @ k[S, N]
  leave (N < 8) z[S, N] = sum over rows a @ q[T, N]
}

kernel @serial_scatter serial extents [] {
  write y: f32[8]
  for (D < 8) y[D] = f32 0
}

program @decode dims [T, S] {
  #0 input "x \\"1\\"": f32[T, 32]
  #1 output "y": f32[32]
  #2 temp "t.3": f32[]
  #3 param "w": i4[32, 64] scales "w.scale" dim 0 group 32
  @columns_two(#0, #1) [T]  // norm, the rest
  @serial_scatter(#2)
}
`;

function roundTrip(module: ReturnType<typeof lowered>): void {
  const text = printKernels(module);
  const parsed = parseKernels(text);
  expect(printKernels(parsed)).toBe(text);
  expect(parsed).toEqual(withoutOrigin(module));
  expect(verifyKernels(parsed)).toEqual([]);
}

describe("the text of kernels", () => {
  test("parses back to the same text", () => {
    expect(printKernels(parseKernels(TEXT))).toBe(TEXT);
  });

  test("does not mind blank lines and indentation", () => {
    expect(parseKernels(TEXT.replaceAll("\n", "\n\n   "))).toEqual(parseKernels(TEXT));
  });

  test("what it holds", () => {
    const { kernels, programs } = parseKernels(TEXT);
    const [rows, gemm] = kernels;
    expect(rows).toMatchObject({ family: "rows", extents: ["T", "S"], rows: [{ name: "T", extent: "T" }] });
    expect(rows!.args[2]).toEqual({ name: "rows", dtype: "f32", shape: ["cache", 64], access: "update" });
    const body = "body" in rows! ? rows.body : [];
    expect(body.at(-6)).toMatchObject({ value: { op: "add", dtype: "f32", operands: [{ dtype: "bf16" }, {}] } });
    expect(body.at(-7)).toMatchObject({ kind: "scatter", when: { op: "and", dtype: "bool" } });
    expect(body.at(-2)).toMatchObject({ value: { op: "mul", dtype: "f32" } });
    expect(body.at(-3)).toMatchObject({
      value: { kind: "random", draw: "uniform", stream: 2 ** 32 - 1, dtype: "f64" },
    });
    expect(gemm).toMatchObject({ groups: { over: "m", group: { name: "E", extent: 8 } } });
    expect(programs[0]!.buffers[0]).toEqual({ kind: "input", name: 'x "1"', dtype: "f32", shape: ["T", 32] });
    expect(programs[0]!.launches).toEqual([
      { kernel: "columns_two", args: [0, 1], extents: ["T"], note: "norm, the rest" },
      { kernel: "serial_scatter", args: [2], extents: [] },
    ]);
  });

  test("random programs with their gradients", () => {
    fc.assert(
      fc.property(randomProgram, (random) => roundTrip(lowered([withGradients(random)]))),
      { numRuns: 40 },
    );
  });
});

test("weights that are stored as codes", () => {
  const { module } = tinyV3();
  const programs = servingPrograms(module);
  const weights = { form: { kind: "int4", group: 32 }, programs: new Set(programs.map(({ name }) => name)) } as const;
  const kernels = lowered(programs, { weights });
  expect(printKernels(kernels)).toMatch(/param "\S+": i4\[\d+, \d+\] scales "\S+\.scale" dim 0 group 32\n/);
  roundTrip(kernels);
});

const ROWS = "kernel @k rows extents [T] {\n  read x: f32[T]\n  write y: f32[T]\n  rows (T)\n";
const PROGRAM = 'program @p dims [T] {\n  #0 input "x": f32[T]\n';

describe("bad text", () => {
  test.each([
    ["kern @k", "line 1, column 1: expected `kernel @` at `kern @k`"],
    ["kernel @k row extents [] {\n}", "line 1, column 11: row is no family"],
    ["kernel @k rows extents [T {\n}", "line 1, column 27: expected `]` at `{`"],
    ["kernel @k serial extents [] {", "line 1: the text ends before `}`"],
    ["kernel @k gemm extents [] {\n  local x: f32[]\n  batch () m () n ()\n}", "line 3: a gemm kernel has no locals"],
    ["kernel @k rows extents [] {\n  read x: f31[T]\n}", "line 2, column 11: f31 is no dtype"],
    ["kernel @k rows extents [] {\n  local x: f32[]\n  local x: f32[]\n}", "line 3, column 9: x is taken twice"],
    ["kernel @k rows extents [] {\n  rows T\n}", "line 2, column 8: expected `(` at `T`"],
    ["kernel @k plane extents [] {\n  batch () rows () column (S, T)\n}", "line 2, column 20: one axis stands here"],
    [
      `${ROWS}  y[T] = sort into 2 over (T) x[T]\n}`,
      "line 5, column 29: rows are sorted into tiles and places of a tile",
    ],
    [`${ROWS}  z[T] = x[T]\n}`, "line 5, column 3: there is no z"],
    [`${ROWS}  y[T] = z[T]\n}`, "line 5, column 10: there is no z"],
    [`${ROWS}  y[T] = exq(x[T])\n}`, "line 5, column 10: there is no operator exq"],
    [`${ROWS}  y[T] = exp(x[T], x[T])\n}`, "line 5, column 10: exp has 2 operands, not 1"],
    [`${ROWS}  y[T] = (x[T] ^ x[T])\n}`, "line 5, column 16: expected an operator"],
    [`${ROWS}  y[T] = (x[T] + x[T]\n}`, "line 5, column 22: expected `)` at ``"],
    [`${ROWS}  y[T] = f32 one\n}`, "line 5, column 14: one is no number"],
    [`${ROWS}  y[T] = x[T] x\n}`, "line 5, column 15: expected the end of the line at `x`"],
    [`${ROWS}  y[T] = top_k (K, L) over (T) x[T]\n}`, "line 5, column 10: one axis stands here"],
    [`${ROWS}  zero (T) y[T]; x[T] += x[T] when bool true\n}`, "line 5, column 21: y is zeroed, and x is added to"],
    [`${ROWS}  y[T] = x[T]\n`, "line 5: the text ends before `}`"],
    [`${PROGRAM}  #2 temp "y": f32[]\n}`, "line 3, column 4: expected buffer 1"],
    [`${PROGRAM}  #1 tmp "y": f32[]\n}`, "line 3, column 6: tmp is no kind of buffer"],
    [`${PROGRAM}  @k(0)\n}`, "line 3, column 6: expected `#` at `0)`"],
  ])("%j", (text, message) => {
    expect(() => parseKernels(text)).toThrow(new Error(message));
  });
});
