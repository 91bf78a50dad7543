import { describe, expect, test } from "vitest";
import type { Inputs } from "../../../compiler/reference/border.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import { gradientsOf } from "../../../compiler/tensor-ir/autodiff/gradients.ts";
import { vjpOf } from "../../../compiler/tensor-ir/autodiff/table.ts";
import { ProgramBuilder } from "../../../compiler/tensor-ir/builder.ts";
import { OP_NAMES, type OpName } from "../../../compiler/tensor-ir/ops/table.ts";
import { isFloat, type Program, type Value } from "../../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { sampleProgram } from "../../support/sample-ops.ts";

const STEP = 1e-5;

/** The sample with the output `loss`, the sum of `y` with fixed weights, and its gradient `d<name>` for every float input. */
function lossProgram({ dims, ops }: Program): { readonly program: Program; readonly wanted: readonly string[] } {
  const builder = new ProgramBuilder(new Map(dims), 100);
  for (const op of ops.slice(0, -1)) builder.push(op);
  const y = ops.at(-1)!.operands[0]!;
  const weights = builder.emit("program.input", [], y.type, { name: "weights" });
  const scalar = { dtype: y.type.dtype, dims: [] };
  const weighted = builder.emit("math.mul", [y, weights], y.type);
  const loss = builder.emit("tensor.reduce", [weighted], scalar, { kind: "sum" });
  builder.effect("program.output", [loss], { name: "loss" });
  const inputs = new Map<string, Value>();
  for (const { name, attrs, results } of ops) {
    const [value] = results;
    if (name === "program.input" && isFloat(value!.type.dtype)) inputs.set(String(attrs["name"]), value!);
  }
  const found = gradientsOf(builder, loss, [...inputs.values()]);
  const wanted = [...inputs.keys()];
  wanted.forEach((name, i) => builder.effect("program.output", [found[i]!], { name: `d${name}` }));
  return { program: builder.finish("loss"), wanted };
}

describe("gradients of the sample programs are those of finite differences", () => {
  test.each(OP_NAMES.filter((name) => typeof vjpOf(name) === "function"))("%s", (name: OpName) => {
    const sample = sampleProgram(name);
    const { program, wanted } = lossProgram(sample.program);
    expect(verifyProgram(program)).toEqual([]);
    const weights = { data: Array.from({ length: 64 }, (_, i) => Math.sin(i + 1)) };
    const count = runProgram(sample.program, sample.inputs).outputs.get("y")!.data.length;
    const given = new Map([...sample.inputs.values, ["weights", { data: weights.data.slice(0, count) }] as const]);
    const run = (values: Inputs["values"]) =>
      runProgram(program, { ...sample.inputs, values }, { precision: "f64" }).outputs;
    const gradients = run(given);
    for (const input of wanted) {
      const data = Array.from(given.get(input)!.data);
      const lossAt = (i: number, x: number): number =>
        run(new Map([...given, [input, { data: data.with(i, x) }]])).get("loss")!.data[0]!;
      const differences = data.map((x, i) => (lossAt(i, x + STEP) - lossAt(i, x - STEP)) / (2 * STEP));
      const gradient = gradients.get(`d${input}`)!.data;
      for (const [i, difference] of differences.entries())
        expect(Math.abs(gradient[i]! - difference)).toBeLessThan(1e-6 * Math.abs(difference) + 1e-9);
    }
  });

  test("there are enough of them", () => {
    expect(OP_NAMES.filter((name) => typeof vjpOf(name) === "function").length).toBeGreaterThan(40);
  });
});
