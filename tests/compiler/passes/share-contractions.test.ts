import { describe, expect, test } from "vitest";
import { runProgram } from "../../../compiler/reference/run.ts";
import { shareContractions } from "../../../compiler/passes/share-contractions.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";

/** Weights, values, results, gradients of results, slopes of weights, and the sum of weights times slopes. */
const BACKWARD = `program @backward
dims { T = ?, S = ?, H = 2, V = 3 }
{
  %0: bf16[T, H, S] = program.input {name = "p"}
  %1: bf16[S, H, V] = program.input {name = "v"}
  %2: bf16[T, H, V] = program.input {name = "up"}
  %3: bf16[T, H, V] = tensor.contract %0, %1
  %4: bf16[T, H, S] = tensor.contract %2, %1
  %5: bf16[T, H] = tensor.contract %0, %4
  program.output %3 {name = "out"}
  program.output %5 {name = "sum"}
}
`;

function shared(text: string): string {
  const result = shareContractions.run(parseProgram(text), {});
  expect(verifyProgram(result)).toEqual([]);
  return printProgram(result);
}

describe("share-contractions", () => {
  test("weights times slopes of weights are results times their gradients", () => {
    expect(shared(BACKWARD)).toBe(BACKWARD.replace("tensor.contract %0, %4", "tensor.contract %2, %3"));
  });

  test("gives the same sums", () => {
    const program = parseProgram(BACKWARD);
    const data = (n: number): Float64Array => Float64Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + n));
    const values = new Map([
      ["p", { data: data(4 * 2 * 5) }],
      ["v", { data: data(5 * 2 * 3) }],
      ["up", { data: data(4 * 2 * 3) }],
    ]);
    const run = (p: typeof program): number[] => [
      ...runProgram(p, { sizes: { T: 4, S: 5 }, values }, { precision: "f64" }).outputs.get("sum")!.data,
    ];
    const [before, after] = [run(program), run(shareContractions.run(program, {}))];
    before.forEach((value, i) => expect(after[i]).toBeCloseTo(value, 12));
  });

  test.each([
    ["in f32", BACKWARD.replaceAll("bf16", "f32")],
    ["where results are sums of other values", BACKWARD.replace("tensor.contract %0, %1", "tensor.contract %0, %2")],
    ["where heads are summed, too", BACKWARD.replace("%5: bf16[T, H]", "%5: bf16[T]")],
  ])("keeps it as it is %s", (_, text) => {
    const program = parseProgram(text);
    expect(printProgram(shareContractions.run(program, {}))).toBe(text);
  });
});
