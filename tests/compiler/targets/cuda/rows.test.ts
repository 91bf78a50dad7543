/** Kernels that move neighbors together: blocks that are full and one that is not, places that begin anywhere, every small float. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { lowerPrograms } from "../../../../compiler/lower/lower.ts";
import { runPasses } from "../../../../compiler/passes/pipeline.ts";
import { runProgram } from "../../../../compiler/reference/run.ts";
import { ProgramBuilder } from "../../../../compiler/tensor-ir/builder.ts";
import type { Program, Value } from "../../../../compiler/tensor-ir/types.ts";
import { encoded } from "../../../../runtime/device/elements.ts";
import { onCuda } from "../../../support/on-cuda.ts";

/** What a program gives on the harness, beside what the interpreter says: the largest error of each output, against its size. */
async function errorsOf(
  program: Program,
  sizes: Readonly<Record<string, number>>,
  inputs: Readonly<Record<string, readonly number[] | Int32Array | Float32Array>>,
): Promise<Record<string, number>> {
  const values = new Map(Object.entries(inputs).map(([name, data]) => [name, { data: Array.from(data) }]));
  const want = runProgram(runPasses(program), { sizes, values }).outputs;
  const session = await onCuda([runPasses(program)]);
  const given = Object.fromEntries(
    program.ops.flatMap(({ name, attrs, results }) => {
      const input = String(attrs["name"]);
      return name === "program.input" ? [[input, encoded(Array.from(inputs[input]!), results[0]!.type.dtype)]] : [];
    }),
  );
  const got = await session.run({ program: program.name, sizes, inputs: given });
  session.close();
  return Object.fromEntries(
    [...want].map(([name, { data }]) => {
      const size = Math.max(1e-30, ...Array.from(data, (x) => Math.abs(x)));
      return [name, Math.max(...Array.from(data, (x, i) => Math.abs(got[name]![i]! - x))) / size];
    }),
  );
}

function randoms(count: number, seed: number): Float32Array {
  let word = seed;
  return Float32Array.from({ length: count }, () => {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
    return (word / 2 ** 31 - 1) * 3;
  });
}

test.each([64, 4096, 9003])(
  "elements, %i of them",
  async (T) => {
    const builder = new ProgramBuilder(new Map([["T", null]]));
    const input = (name: string, dims: readonly string[] = ["T"]): Value =>
      builder.emit("program.input", [], { dtype: "f32", dims }, { name });
    const f32 = { dtype: "f32", dims: ["T"] } as const;
    const [x, m, rate] = [input("x"), input("m"), input("rate", [])];
    const scaled = builder.emit("math.mul", [x, rate], f32);
    const sum = builder.emit("math.add", [m, builder.emit("math.square", [scaled], f32)], f32);
    builder.effect("program.output", [sum], { name: "sum" });
    const narrow = builder.emit("tensor.cast", [scaled], { dtype: "bf16", dims: ["T"] });
    builder.effect("program.output", [builder.emit("tensor.cast", [narrow], f32)], { name: "narrow" });
    builder.effect("program.output", [builder.emit("math.sigmoid", [sum], f32)], { name: "root" });
    const inputs = { x: randoms(T, 1), m: randoms(T, 2), rate: [0.3] };
    const errors = await errorsOf(builder.finish("elements"), { T }, inputs);
    expect(errors["sum"]).toBeLessThan(1e-6);
    expect(errors["root"]).toBeLessThan(1e-6);
    expect(errors["narrow"]).toBeLessThan(2 ** -8);
  },
  120_000,
);

test("totals of whole tensors", async () => {
  const builder = new ProgramBuilder(
    new Map([
      ["A", 60],
      ["B", 212],
    ]),
  );
  const x = builder.emit("program.input", [], { dtype: "bf16", dims: ["A", "B"] }, { name: "x" });
  const wide = builder.emit("tensor.cast", [x], { dtype: "f32", dims: ["A", "B"] });
  const square = builder.emit("math.square", [wide], { dtype: "f32", dims: ["A", "B"] });
  for (const [kind, value] of [
    ["sum", square],
    ["max", wide],
  ] as const)
    builder.effect("program.output", [builder.emit("tensor.reduce", [value], { dtype: "f32", dims: [] }, { kind })], {
      name: kind,
    });
  const errors = await errorsOf(builder.finish("totals"), {}, { x: randoms(60 * 212, 3) });
  expect(errors["sum"]).toBeLessThan(1e-6);
  expect(errors["max"]).toBe(0);
}, 120_000);

/** A norm, a gate's weighted sum of K rows, and an exponential over a sum of these: values that go from statement to statement. */
function wideRows(D: number, dtype: "bf16" | "f32", name = `wide_${D}`): Program {
  const builder = new ProgramBuilder(
    new Map([
      ["T", null],
      ["K", 3],
      ["D", D],
    ]),
  );
  const input = (name: string, dims: readonly string[], own: "bf16" | "f32" = dtype): Value =>
    builder.emit("program.input", [], { dtype: own, dims }, { name });
  const [wide, row, kept] = [["T", "D"], ["T"], ["T", "K"]];
  const op = (name: string, operands: readonly Value[], dims: readonly string[] = wide, attrs = {}): Value =>
    builder.emit(name, operands, { dtype: "f32", dims }, attrs);
  const f32 = (x: Value): Value => (x.type.dtype === "f32" ? x : op("tensor.cast", [x], x.type.dims));
  const output = (name: string, x: Value): void => builder.effect("program.output", [x], { name });
  const [x, weight, parts] = [input("x", wide), input("weight", ["D"]), input("parts", ["T", "K", "D"])];
  const gate = input("gate", kept, "f32");
  const combined = op("tensor.reduce", [op("math.mul", [f32(parts), gate], ["T", "K", "D"])], wide, { kind: "sum" });
  const h = op("math.add", [f32(x), combined]);
  const squares = op("tensor.reduce", [op("math.square", [h])], row, { kind: "sum" });
  const normed = op("math.mul", [op("math.mul", [h, op("math.rsqrt", [squares], row)]), f32(weight)]);
  output("h", h);
  output("squares", squares);
  const stored = dtype === "f32" ? normed : builder.emit("tensor.cast", [normed], { dtype, dims: wide });
  output("normed", f32(stored));
  const peak = op("tensor.reduce", [f32(stored)], row, { kind: "max" });
  const powers = op("math.exp", [op("math.sub", [f32(stored), peak])]);
  const sum = op("tensor.reduce", [powers], row, { kind: "sum" });
  output("shares", op("math.div", [powers, sum]));
  output("dots", op("tensor.reduce", [op("math.mul", [f32(parts), powers], ["T", "K", "D"])], kept, { kind: "sum" }));
  return builder.finish(name);
}

test.each([
  [136, "f32"],
  [512, "bf16"],
  [576, "f32"],
  [2048, "f32"],
  [7168, "bf16"],
  [20_000, "bf16"],
  [20_002, "f32"],
] as const)(
  "wide rows of %i %s",
  async (D, dtype) => {
    const T = 3;
    const errors = await errorsOf(
      wideRows(D, dtype),
      { T },
      {
        x: randoms(T * D, 4),
        weight: randoms(D, 5),
        parts: randoms(T * 3 * D, 6),
        gate: randoms(T * 3, 7),
      },
    );
    for (const [name, error] of Object.entries(errors))
      expect([name, error < (dtype === "f32" || /squares|^h$/.test(name) ? 1e-5 : 2 ** -7)]).toEqual([name, true]);
  },
  240_000,
);

test.each([576, 4096])(
  "wide rows of %i in one launch with others",
  async (D) => {
    // Calls for few rows launch what needs nothing of each other together: here the norms of tokens and those of positions.
    const one = wideRows(D, "bf16", "draft.1");
    const highest = Math.max(...one.ops.flatMap(({ results }) => results.map(({ id }) => id))) + 1;
    const other = ({ id, type }: Value): Value => {
      const dims = type.dims.map((label) => (label === "T" ? "S" : label));
      return { id: id + highest, type: { ...type, dims } };
    };
    const twin = one.ops.map((op) => ({
      ...op,
      operands: op.operands.map(other),
      results: op.results.map(other),
      attrs: op.attrs["name"] === undefined ? op.attrs : { ...op.attrs, name: `${String(op.attrs["name"])}_2` },
    }));
    const both = { ...one, dims: new Map([...one.dims, ["S", null]]), ops: [...one.ops, ...twin] };
    expect(lowerPrograms([runPasses(both)], {}).kernels.map(({ family }) => family)).toContain("parts");
    const T = 2;
    const inputs = {
      x: randoms(T * D, 4),
      weight: randoms(D, 5),
      parts: randoms(T * 3 * D, 6),
      gate: randoms(T * 3, 7),
    };
    const more = { x_2: randoms(T * D, 8), weight_2: randoms(D, 9), parts_2: randoms(T * 3 * D, 10) };
    const errors = await errorsOf(both, { T, S: T }, { ...inputs, ...more, gate_2: randoms(T * 3, 11) });
    for (const [name, error] of Object.entries(errors)) expect([name, error < 2 ** -7]).toEqual([name, true]);
  },
  240_000,
);

const NUMBER = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 2, NaN, Infinity, -Infinity),
  fc.integer({ min: -3, max: 3 }),
  fc.float({ noNaN: true }),
);

/** Rows whose values are mostly the same, all different, or of every kind. */
function orderedRows(T: number, E: number): Float32Array {
  const rows = fc.sample(fc.array(NUMBER, { minLength: 1, maxLength: 40 }), { numRuns: T, seed: 9 });
  const wild = randoms(T * E, 11);
  return Float32Array.from(wild, (x, i) => {
    const row = rows[Math.floor(i / E)]!;
    const kind = Math.floor(i / E) % 3;
    return kind === 0 ? x : row[(kind === 1 ? i * i : i) % row.length]!;
  });
}

test.each([
  [40, 3],
  [256, 8],
  [1000, 32],
  [1500, 40],
  [3000, 700],
])(
  "the largest of %i values: %i",
  async (E, K) => {
    const builder = new ProgramBuilder(
      new Map([
        ["T", null],
        ["G", 4],
        ["E", E],
        ["K", K],
      ]),
    );
    const x = builder.emit("program.input", [], { dtype: "f32", dims: ["T", "E"] }, { name: "x" });
    const chosen = builder.emit("tensor.top_k", [x], { dtype: "i32", dims: ["T", "K"] }, { dim: "E", to: "K" });
    builder.effect("program.output", [chosen], { name: "chosen" });
    const T = 7;
    expect(await errorsOf(builder.finish(`top_${E}`), { T }, { x: orderedRows(T, E) })).toEqual({ chosen: 0 });
  },
  240_000,
);

test.each([20, 1700])(
  "places below a limit among %i",
  async (S) => {
    const builder = new ProgramBuilder(
      new Map([
        ["T", null],
        ["S", null],
      ]),
    );
    const x = builder.emit("program.input", [], { dtype: "f32", dims: ["T", "S"] }, { name: "x" });
    const dims = ["T", "S"];
    const place = builder.emit("tensor.rank", [x], { dtype: "i32", dims }, { dim: "S" });
    const limit = builder.emit("tensor.constant", [], { dtype: "i32", dims: [] }, { value: 600 });
    const kept = builder.emit("math.lt", [place, limit], { dtype: "bool", dims });
    builder.effect("program.output", [kept], { name: "kept" });
    const T = 5;
    expect(await errorsOf(builder.finish("places"), { T, S }, { x: orderedRows(T, S) })).toEqual({ kept: 0 });
  },
  240_000,
);
