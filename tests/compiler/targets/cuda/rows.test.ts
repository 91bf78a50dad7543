/** Kernels that move neighbors together: blocks that are full and one that is not, places that begin anywhere, every small float. */
import { expect, test } from "vitest";
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
