import { describe, expect, test } from "vitest";
import { peakBytes } from "../../../compiler/analysis/liveness.ts";
import { recompute } from "../../../compiler/passes/recompute.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";

const text = `program @train_step
dims { D = 4 }
{
  %0: f32[D] = program.input {name = "x"}
  %1 act_1: f32[D] = math.exp %0
  %2 act_2: f32[D] = math.sin %1
  %3: f32[D] = math.square %2
  %4: f32 = tensor.reduce %3 {kind = "sum"}
  %5: f32 = tensor.constant {value = 1}
  loss.term %4, %5 {name = "next_token"}
  %6: f32 = loss.global %5
  %7: f32[D] = math.cos %1
  %8: f32[D] = math.mul %7, %2
  program.output %8 {name = "grad"}
}
`;
const sizes = new Map<string, number>();
const values = new Map([["x", { data: [0.1, 0.2, 0.3, 0.4] }]]);
const gradient = (program: ReturnType<typeof parseProgram>): number[] => [
  ...runProgram(program, { sizes: {}, values }, { precision: "f64" }).outputs.get("grad")!.data,
];

describe("recompute", () => {
  const program = parseProgram(text);

  test("makes named values again behind the loss, with what they need", () => {
    const result = recompute.run(program, { sizes, recompute: { values: ["act_*"] } });
    expect(verifyProgram(result)).toEqual([]);
    expect(printProgram(result).split("\n").slice(10, 15)).toEqual([
      "  %6: f32 = loss.global %5",
      "  %9 act_1: f32[D] = math.exp %0",
      "  %7: f32[D] = math.cos %9",
      "  %10 act_2: f32[D] = math.sin %9",
      "  %8: f32[D] = math.mul %7, %10",
    ]);
    expect(gradient(result)).toEqual(gradient(program));
  });

  test("makes functions of what is kept again where nothing is asked for", () => {
    const result = recompute.run(program, { sizes });
    expect(verifyProgram(result)).toEqual([]);
    expect(printProgram(result).split("\n").slice(10, 14)).toEqual([
      "  %6: f32 = loss.global %5",
      "  %7: f32[D] = math.cos %1",
      "  %9 act_2: f32[D] = math.sin %1",
      "  %8: f32[D] = math.mul %7, %9",
    ]);
    expect(gradient(result)).toEqual(gradient(program));
    expect(printProgram(recompute.run(program, { sizes, recompute: { values: ["other"] } }))).toBe(
      printProgram(result),
    );
  });

  test("keeps what a product reads, and functions of what is not kept", () => {
    const squared = text.replace("math.mul %7, %2", "tensor.contract %7, %2");
    expect(squared).not.toBe(text);
    const read = parseProgram(squared.replace("%8: f32[D] = tensor", "%8: f32 = tensor"));
    expect(recompute.run(read, { sizes })).toBe(read);
    const free = parseProgram(text.replace("math.cos %1", "math.cos %0"));
    expect(recompute.run(free, { sizes })).toBe(free);
  });

  test("lowers the peak to a budget if it can", () => {
    const before = peakBytes(program, sizes);
    const result = recompute.run(program, { sizes, recompute: { budget: before - 1 } });
    expect(verifyProgram(result)).toEqual([]);
    expect(peakBytes(result, sizes)).toBeLessThan(before);
    expect(gradient(result)).toEqual(gradient(program));
  });
});
