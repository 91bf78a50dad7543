/** The largest elements of rows, few and many, with everything that has an order of its own. */
import { expect, test } from "vitest";
import { parseProgram } from "../../../../compiler/tensor-ir/parse.ts";
import { onCpu } from "../../../support/on-cpu.ts";

const ROWS = 60;
const SPECIAL = [NaN, -Infinity, Infinity, 0, -0, 1e-42, -1e-42, 1, -1];

/** Larger first, the lower index first among equals, NaN last. */
function largest(row: Float32Array, count: number): number[] {
  const rank = (x: number): number => (Number.isNaN(x) ? 1 : 0);
  const indices = [...row.keys()];
  indices.sort((i, j) => rank(row[i]!) - rank(row[j]!) || (row[i]! > row[j]! ? -1 : row[i]! < row[j]! ? 1 : i - j));
  return indices.slice(0, count);
}

test.each([3, 16, 64, 65])("the largest of %i", async (columns) => {
  const program = parseProgram(`program @order
dims { T = ?, C = ${columns}, K = 3 }
{
  %0: f32[T, C] = program.input {name = "x"}
  %1: i32[T, K] = tensor.top_k %0 {dim = "C", to = "K"}
  program.output %1 {name = "order"}
}
`);
  // One number in 7 is special, all of them meet.
  const x = Float32Array.from({ length: ROWS * columns }, (_, i) =>
    i % 7 === 0 ? SPECIAL[(i / 7) % SPECIAL.length]! : ((i * 29) % 11) - 5,
  );
  const session = await onCpu([program]);
  const { order } = await session.run({ program: "order", sizes: { T: ROWS }, inputs: { x } });
  session.close();
  const expected = Array.from({ length: ROWS }, (_, t) => largest(x.subarray(t * columns, (t + 1) * columns), 3));
  expect([...(order as Int32Array)]).toEqual(expected.flat());
});
