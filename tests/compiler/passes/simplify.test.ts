import { describe, expect, test } from "vitest";
import { eliminateDead } from "../../../compiler/passes/eliminate-dead.ts";
import { simplify } from "../../../compiler/passes/simplify.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printOp } from "../../../compiler/tensor-ir/print.ts";
import type { Op } from "../../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";

const DIMS = "dims { T = ?, A = 2, B = 3, C = 4, K = 2, D = 3, E = 2, A+B = 5, A*B = 6 }";

/** Inputs that every case may read: %0 to %6. */
const INPUTS = [
  "x: f32[A, B]",
  "y: f32[A, B]",
  "v: f32[A]",
  "n: i32[A, B]",
  "c: bool[A, B]",
  "h: bf16[A, B]",
  "w: f32[A, K]",
].map((value, i) => `%${i} ${value} = program.input {name = "${value[0]}"}`);

/** What is left of the ops behind the inputs, without names and with values counted anew from %10. */
function simplified(lines: readonly string[]): string[] {
  const result = lines.at(-1)!.split(" ")[0]!.replace(":", "");
  const output = `program.output ${result} {name = "out"}`;
  const program = parseProgram(["program @p", DIMS, "{", ...INPUTS, ...lines, output, "}"].join("\n"));
  expect(verifyProgram(program)).toEqual([]);
  const after = eliminateDead.run(simplify.run(program, {}), {});
  expect(verifyProgram(after)).toEqual([]);
  const ids = new Map(INPUTS.map((_, id) => [id, id]));
  let next = 10;
  for (const { id } of after.ops.flatMap(({ results }) => results)) if (!ids.has(id)) ids.set(id, next++);
  const renamed = after.ops.map((op): Op => {
    const value = ({ id, type }: Op["results"][number]): Op["results"][number] => ({ id: ids.get(id)!, type });
    return { ...op, operands: op.operands.map(value), results: op.results.map(value) };
  });
  return renamed.filter(({ name }) => name !== "program.input").map((op) => printOp(op).replace(' {name = "out"}', ""));
}

const fill = (value: string, type = "f32"): string => `%10: ${type} = tensor.constant {value = ${value}}`;
const on = (name: string, a: number, b: number, type = "f32[A, B]"): string => `%11: ${type} = ${name} %${a}, %${b}`;

/** Ops, the last of which is read, and what becomes of them. */
const CASES: Readonly<Record<string, readonly (readonly [before: readonly string[], after: readonly string[]])[]>> = {
  "constants that change nothing": [
    [[fill("0"), on("math.add", 0, 10)], ["program.output %0"]],
    [[fill("0"), on("math.add", 10, 0)], ["program.output %0"]],
    [[fill("0"), on("math.sub", 0, 10)], ["program.output %0"]],
    [[fill("1"), on("math.mul", 10, 0)], ["program.output %0"]],
    [[fill("1"), on("math.div", 0, 10)], ["program.output %0"]],
    [[fill("1"), on("math.pow", 0, 10)], ["program.output %0"]],
    [[fill("true", "bool"), on("math.and", 4, 10, "bool[A, B]")], ["program.output %4"]],
    [[fill("false", "bool"), on("math.or", 10, 4, "bool[A, B]")], ["program.output %4"]],
    // A constant that has a dim of its own spreads the other operand.
    [
      ["%10: f32[B] = tensor.constant {value = 0}", on("math.add", 2, 10)],
      ["%10: f32[A, B] = tensor.broadcast %2", "program.output %10"],
    ],
  ],
  "constants come last where the order means nothing": [
    [
      [fill("3"), on("math.mul", 10, 0)],
      [fill("3"), "%11: f32[A, B] = math.mul %0, %10", "program.output %11"],
    ],
    [
      [fill("3"), on("math.add", 10, 0)],
      [fill("3"), "%11: f32[A, B] = math.add %0, %10", "program.output %11"],
    ],
    [
      [fill("3"), on("math.sub", 10, 0)],
      [fill("3"), "%11: f32[A, B] = math.sub %10, %0", "program.output %11"],
    ],
  ],
  "constants that decide": [
    [
      [fill("0", "i32"), on("math.mul", 3, 10, "i32[A, B]")],
      ["%10: i32[A, B] = tensor.constant {value = 0}", "program.output %10"],
    ],
    [
      [fill("false", "bool"), on("math.and", 4, 10, "bool[A, B]")],
      ["%10: bool[A, B] = tensor.constant {value = false}", "program.output %10"],
    ],
    [[fill("true", "bool"), "%11: f32[A, B] = math.select %10, %0, %1"], ["program.output %0"]],
    [["%10: f32[A, B] = math.select %4, %0, %0"], ["program.output %0"]],
  ],
  "a float times 0 is not always 0": [
    [
      [fill("0"), on("math.mul", 0, 10)],
      [fill("0"), "%11: f32[A, B] = math.mul %0, %10", "program.output %11"],
    ],
    // What came from an integer is finite.
    [
      [
        "%10: f32[A, B] = tensor.cast %3",
        "%11: f32 = tensor.constant {value = 0}",
        "%12: f32[A, B] = math.mul %10, %11",
      ],
      ["%10: f32[A, B] = tensor.constant {value = 0}", "program.output %10"],
    ],
  ],
  arithmetic: [
    [
      [fill("-1"), on("math.mul", 0, 10)],
      ["%10: f32[A, B] = math.neg %0", "program.output %10"],
    ],
    [
      [fill("0"), on("math.sub", 10, 0)],
      ["%10: f32[A, B] = math.neg %0", "program.output %10"],
    ],
    [
      [fill("2"), on("math.pow", 0, 10)],
      ["%10: f32[A, B] = math.square %0", "program.output %10"],
    ],
    [["%10: f32[A, B] = math.neg %0", "%11: f32[A, B] = math.neg %10"], ["program.output %0"]],
    [["%10: bool[A, B] = math.not %4", "%11: bool[A, B] = math.not %10"], ["program.output %4"]],
    [["%10: f32[A, B] = math.max %0, %0"], ["program.output %0"]],
    [["%10: bool[A, B] = math.or %4, %4"], ["program.output %4"]],
    [
      ["%10: f32[A, B] = math.select %4, %0, %1", "%11: f32[A, B] = math.select %4, %10, %2"],
      ["%10: f32[A, B] = math.select %4, %0, %2", "program.output %10"],
    ],
    [
      ["%10: f32[A, B] = math.select %4, %0, %1", "%11: f32[A, B] = math.select %4, %2, %10"],
      ["%10: f32[A, B] = math.select %4, %2, %1", "program.output %10"],
    ],
  ],
  folding: [
    [
      [fill("2"), "%11: f32 = tensor.constant {value = 3}", "%12: f32 = math.add %10, %11"],
      ["%10: f32 = tensor.constant {value = 5}", "program.output %10"],
    ],
    // As f32 stores it: 0.1 + 0.2 of the decimal numbers would be 0.30000000000000004.
    [
      [fill("0.1"), "%11: f32 = tensor.constant {value = 0.2}", "%12: f32 = math.add %10, %11"],
      [
        `%10: f32 = tensor.constant {value = ${Math.fround(Math.fround(0.1) + Math.fround(0.2))}}`,
        "program.output %10",
      ],
    ],
    [
      ["%10: f32[A, B] = tensor.constant {value = 2}", '%11: f32[A] = tensor.reduce %10 {kind = "sum"}'],
      ["%10: f32[A] = tensor.constant {value = 6}", "program.output %10"],
    ],
    // Of a run-time dim nobody knows the sum.
    [
      ["%10: f32[A, T] = tensor.constant {value = 2}", '%11: f32[A] = tensor.reduce %10 {kind = "sum"}'],
      [
        "%10: f32[A, T] = tensor.constant {value = 2}",
        '%11: f32[A] = tensor.reduce %10 {kind = "sum"}',
        "program.output %11",
      ],
    ],
    // 2 / 3 in bf16 is rounded in ways that devices differ in: left alone.
    [
      [fill("2", "bf16"), "%11: bf16 = tensor.constant {value = 3}", "%12: bf16 = math.div %10, %11"],
      [
        fill("2", "bf16"),
        "%11: bf16 = tensor.constant {value = 3}",
        "%12: bf16 = math.div %10, %11",
        "program.output %12",
      ],
    ],
  ],
  "casts and broadcasts": [
    [["%10: f32[B, A] = tensor.broadcast %0", "%11: f32[A, B] = tensor.broadcast %10"], ["program.output %0"]],
    [["%10: f32[A, B] = tensor.cast %0"], ["program.output %0"]],
    [["%10: f32[A, B] = tensor.cast %5", "%11: bf16[A, B] = tensor.cast %10"], ["program.output %5"]],
    // Through fewer bits something is lost.
    [
      ["%10: bf16[A, B] = tensor.cast %0", "%11: f32[A, B] = tensor.cast %10"],
      ["%10: bf16[A, B] = tensor.cast %0", "%11: f32[A, B] = tensor.cast %10", "program.output %11"],
    ],
    [
      ["%10: f32[A, B] = tensor.broadcast %2", "%11: f32[A, B] = math.mul %0, %10"],
      ["%10: f32[A, B] = math.mul %0, %2", "program.output %10"],
    ],
    // Here the broadcast brings B.
    [
      ["%10: f32[A, B] = tensor.broadcast %2", "%11: f32[A, B] = math.mul %2, %10"],
      ["%10: f32[A, B] = tensor.broadcast %2", "%11: f32[A, B] = math.mul %2, %10", "program.output %11"],
    ],
  ],
  moves: [
    [
      [
        '%10: f32[K, B] = tensor.rename %0 {from = ["A"], to = ["K"]}',
        '%11: f32[A, B] = tensor.rename %10 {from = ["K"], to = ["A"]}',
      ],
      ["program.output %0"],
    ],
    [
      [
        '%10: f32[K, B] = tensor.rename %0 {from = ["A"], to = ["K"]}',
        '%11: f32[E, D] = tensor.rename %10 {from = ["K", "B"], to = ["E", "D"]}',
      ],
      ['%10: f32[E, D] = tensor.rename %0 {from = ["A", "B"], to = ["E", "D"]}', "program.output %10"],
    ],
    [
      ['%10: f32[K, B] = tensor.slice %0 {dim = "A", start = 0, to = "K"}'],
      ['%10: f32[K, B] = tensor.rename %0 {from = ["A"], to = ["K"]}', "program.output %10"],
    ],
    [
      [
        '%10: f32[A, C] = tensor.pad %0 {dim = "B", start = 1, to = "C"}',
        '%11: f32[A, D] = tensor.slice %10 {dim = "C", start = 1, to = "D"}',
        '%12: f32[A, E] = tensor.slice %11 {dim = "D", start = 1, to = "E"}',
      ],
      [
        '%10: f32[A, C] = tensor.pad %0 {dim = "B", start = 1, to = "C"}',
        '%11: f32[A, E] = tensor.slice %10 {dim = "C", start = 2, to = "E"}',
        "program.output %11",
      ],
    ],
    [
      [
        '%10: f32[A, A+B] = tensor.concat %6, %0 {dims = ["K", "B"], to = "A+B"}',
        '%11: f32[A, D] = tensor.slice %10 {dim = "A+B", start = 2, to = "D"}',
      ],
      ['%10: f32[A, D] = tensor.rename %0 {from = ["B"], to = ["D"]}', "program.output %10"],
    ],
    [
      [
        '%10: f32[A*B] = tensor.merge_dims %0 {dims = ["A", "B"], to = "A*B"}',
        '%11: f32[E, D] = tensor.split_dim %10 {dim = "A*B", into = ["E", "D"]}',
      ],
      ['%10: f32[E, D] = tensor.rename %0 {from = ["A", "B"], to = ["E", "D"]}', "program.output %10"],
    ],
    // 6 as 3 times 2 is another order of elements.
    [
      [
        '%10: f32[A*B] = tensor.merge_dims %0 {dims = ["A", "B"], to = "A*B"}',
        '%11: f32[D, E] = tensor.split_dim %10 {dim = "A*B", into = ["D", "E"]}',
      ],
      [
        '%10: f32[A*B] = tensor.merge_dims %0 {dims = ["A", "B"], to = "A*B"}',
        '%11: f32[D, E] = tensor.split_dim %10 {dim = "A*B", into = ["D", "E"]}',
        "program.output %11",
      ],
    ],
    [["%10: f32[A, B] = tensor.stop_gradient %0"], ["program.output %0"]],
  ],
  "sums and contractions": [
    [
      ['%10: f32[A] = tensor.reduce %0 {kind = "sum"}', '%11: f32 = tensor.reduce %10 {kind = "sum"}'],
      ['%10: f32 = tensor.reduce %0 {kind = "sum"}', "program.output %10"],
    ],
    [
      ['%10: f32[A] = tensor.reduce %0 {kind = "max"}', '%11: f32 = tensor.reduce %10 {kind = "sum"}'],
      [
        '%10: f32[A] = tensor.reduce %0 {kind = "max"}',
        '%11: f32 = tensor.reduce %10 {kind = "sum"}',
        "program.output %11",
      ],
    ],
    [
      ['%10: f32[B, A] = tensor.reduce %0 {kind = "max"}'],
      ["%10: f32[B, A] = tensor.broadcast %0", "program.output %10"],
    ],
    [
      ["%10: f32[A, B] = tensor.broadcast %2", "%11: f32[B] = tensor.contract %0, %10"],
      ["%10: f32[B] = tensor.contract %0, %2", "program.output %10"],
    ],
    [
      ["%10: f32[B] = tensor.constant {value = 3}", "%11: f32[A] = tensor.contract %0, %10"],
      [
        '%10: f32[A] = tensor.reduce %0 {kind = "sum"}',
        "%11: f32 = tensor.constant {value = 3}",
        "%12: f32[A] = math.mul %10, %11",
        "program.output %12",
      ],
    ],
  ],
};

describe.each(Object.entries(CASES))("%s", (_, cases) => {
  test.each(cases)("%j", (before, after) => expect(simplified(before)).toEqual(after));
});
