import { describe, expect, test } from "vitest";
import type { Inputs } from "../../../compiler/reference/border.ts";
import type { Precision } from "../../../compiler/reference/rounding.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { SAMPLE_DIMS, sampleInputs } from "../../support/sample-ops.ts";

/** The output `y` of ops that read `x0`, `x1`, ... */
function evaluate(ops: string, data: readonly (readonly number[])[], precision: Precision = "f64"): number[] {
  return [...runProgram(program(ops), sampleInputs(data), { precision }).outputs.get("y")!.data];
}

function program(ops: string) {
  return parseProgram(`program @test\n${SAMPLE_DIMS}\n{\n${ops}\n}\n`);
}

/** One op with one operand of type `from`. */
function one(op: string, from: string, to: string, x: readonly number[], attrs = ""): number[] {
  return evaluate(
    `%0: ${from} = program.input {name = "x0"}\n%1: ${to} = ${op} %0 {${attrs}}\nprogram.output %1 {name = "y"}`,
    [x],
  );
}

describe("meaning of ops at the edges", () => {
  test("cast", () => {
    expect(one("tensor.cast", "f32[A]", "i32[A]", [-1.9, 1.9])).toEqual([-1, 1]);
    expect(one("tensor.cast", "f32[C]", "i32[C]", [1e10, -Infinity, NaN, -0.5])).toEqual([
      2 ** 31 - 1,
      -(2 ** 31),
      0,
      0,
    ]);
    expect(one("tensor.cast", "f32[C]", "bool[C]", [0, -0, 0.25, NaN])).toEqual([0, 0, 1, 1]);
    expect(one("tensor.cast", "i32[A]", "bool[A]", [0, 256])).toEqual([0, 1]);
    expect(one("tensor.cast", "bool[A]", "f32[A]", [0, 1])).toEqual([0, 1]);
  });

  test("reductions", () => {
    expect(one("tensor.reduce", "f32[A, B]", "f32[A]", [1, 5, 2, -4, -9, -3], 'kind = "max"')).toEqual([5, -3]);
    expect(one("tensor.reduce", "f32[A, B]", "f32[B]", [1, 5, 2, -4, -9, -3], 'kind = "min"')).toEqual([-4, -9, -3]);
    expect(one("tensor.reduce", "f32[A, B]", "f32", [1, 5, 2, -4, -9, NaN], 'kind = "max"')).toEqual([NaN]);
    expect(one("tensor.reduce", "i32[B]", "i32", [2 ** 31 - 1, 1, 0], 'kind = "sum"')).toEqual([-(2 ** 31)]);
  });

  test("cumsum", () => {
    const x = [1, 2, 4, 8, 16, 32];
    const sums = (exclusive: boolean, reverse: boolean): number[] =>
      one("tensor.cumsum", "f32[A, B]", "f32[A, B]", x, `dim = "B", exclusive = ${exclusive}, reverse = ${reverse}`);
    expect(sums(false, false)).toEqual([1, 3, 7, 8, 24, 56]);
    expect(sums(true, false)).toEqual([0, 1, 3, 0, 8, 24]);
    expect(sums(false, true)).toEqual([7, 6, 4, 56, 48, 32]);
  });

  test("i32 arithmetic wraps", () => {
    expect(one("math.square", "i32[A]", "i32[A]", [65_537, 3])).toEqual([131_073, 9]);
    expect(one("math.neg", "i32[A]", "i32[A]", [-(2 ** 31), 3])).toEqual([-(2 ** 31), -3]);
  });

  test("sign and relu of zero", () => {
    expect(one("math.sign", "f32[B]", "f32[B]", [0, -2, 3])).toEqual([0, -1, 1]);
    expect(one("math.relu", "f32[B]", "f32[B]", [0, -2, 3])).toEqual([0, 0, 3]);
  });

  test("exponentials far out stay finite", () => {
    const far = [-800, 0, 800];
    expect(one("math.sigmoid", "f32[B]", "f32[B]", far)).toEqual([0, 0.5, 1]);
    expect(one("math.softplus", "f32[B]", "f32[B]", far)).toEqual([0, Math.LN2, 800]);
    expect(one("nn.softmax", "f32[B]", "f32[B]", far, 'dim = "B"')).toEqual([0, 0, 1]);
    expect(one("nn.logsumexp", "f32[B]", "f32", far, 'dim = "B"')).toEqual([800]);
  });

  test("a row with everything masked", () => {
    const inputs = '%0: f32[A, B] = program.input {name = "x0"}\n%1: bool[A, B] = program.input {name = "x1"}\n';
    const data = [
      [1, 2, 3, 4, 5, NaN],
      [0, 0, 0, 1, 0, 0],
    ];
    const output = 'program.output %2 {name = "y"}';
    expect(evaluate(`${inputs}%2: f32[A, B] = nn.softmax %0, %1 {dim = "B"}\n${output}`, data)).toEqual([
      0, 0, 0, 1, 0, 0,
    ]);
    expect(evaluate(`${inputs}%2: f32[A] = nn.logsumexp %0, %1 {dim = "B"}\n${output}`, data)).toEqual([-Infinity, 4]);
  });

  test("a gather may point along a dim that its index has", () => {
    const ops = `%0: f32[B, A] = program.input {name = "x0"}
      %1: i32[B] = program.input {name = "x1"}
      %2: f32[B, A] = tensor.gather %0, %1 {dim = "B"}
      %3: f32[B, A] = tensor.scatter_add %0, %1 {dim = "B"}
      program.output %OUT {name = "y"}`;
    const data = [
      [1, 2, 3, 4, 5, 6],
      [2, 0, 2],
    ];
    expect(evaluate(ops.replace("OUT", "2"), data)).toEqual([5, 6, 1, 2, 5, 6]);
    expect(evaluate(ops.replace("OUT", "3"), data)).toEqual([3, 4, 0, 0, 6, 8]);
  });

  test("an index beyond the end is an error", () => {
    const ops = `%0: f32[B] = program.input {name = "x0"}
      %1: i32 = program.input {name = "x1"}
      %2: f32 = tensor.gather %0, %1 {dim = "B"}`;
    expect(() => evaluate(ops, [[1, 2, 3], [3]])).toThrow(
      "op 2 tensor.gather %2: f32: index 3 is outside of dim B, which has 3",
    );
  });
});

describe("runProgram", () => {
  test("rounds every result as the precision says", () => {
    const ops = `%0: f32 = tensor.constant {value = 0.1}
      %1: bf16 = tensor.constant {value = 0.1}
      %2: f32 = math.add %0, %1
      program.output %2 {name = "y"}`;
    expect(evaluate(ops, [])).toEqual([0.2]);
    expect(evaluate(ops, [], "f32")).toEqual([Math.fround(2 * Math.fround(0.1))]);
    expect(evaluate(ops, [], "declared")).toEqual([Math.fround(Math.fround(0.1) + 0.10009765625)]);
  });

  test("a sum is rounded once", () => {
    const ops = `%0: f32[B] = program.input {name = "x0"}
      %1: f32 = tensor.reduce %0 {kind = "sum"}
      program.output %1 {name = "y"}`;
    expect(evaluate(ops, [[2 ** 24, 1, 1]], "f32")).toEqual([2 ** 24 + 2]);
  });

  test("inputs may have their dims in another order", () => {
    const text = '%0: f32[A, B] = model.param {name = "w"}\nprogram.output %0 {name = "y"}';
    const given = { data: Float32Array.of(1, 2, 3, 4, 5, 6), dims: ["B", "A"] };
    const run = runProgram(program(text), { sizes: {}, values: new Map([["w", given]]) });
    expect(run.outputs.get("y")).toEqual({
      dtype: "f32",
      dims: ["A", "B"],
      shape: [2, 3],
      data: Float64Array.of(1, 3, 5, 2, 4, 6),
    });
  });

  test("caches go from call to call", () => {
    const text = `%0: f32[T, A] = program.input {name = "x0"}
      %1: f32[A, S] = cache.append %0 {at = "S", cache = "rows", from = "T"}
      program.output %1 {name = "y"}`;
    const call = (T: number, S: number, data: readonly number[], caches: Inputs["caches"] = new Map()) =>
      runProgram(program(text), { sizes: { T, S }, values: new Map([["x0", { data }]]), caches });
    const first = call(2, 2, [1, 2, 3, 4]);
    const second = call(1, 3, [5, 6], first.caches);
    expect([...second.outputs.get("y")!.data]).toEqual([1, 3, 5, 2, 4, 6]);
    expect(() => call(1, 2, [5, 6], first.caches)).toThrow("2 rows of rows and 1 new ones, but S is 2");
  });

  test("metrics and losses of one name are listed in order", () => {
    const text = `%0: f32 = tensor.constant {value = 1}
      %1: f32 = tensor.constant {value = 2}
      metric.emit %0 {name = "load"}
      metric.emit %1 {name = "load"}
      loss.term %0, %1 {name = "ce"}
      loss.term %1, %1 {name = "ce"}`;
    const { metrics, losses } = runProgram(program(text), { sizes: {}, values: new Map() });
    expect(metrics.get("load")!.map(({ data }) => data[0])).toEqual([1, 2]);
    expect(losses.get("ce")).toEqual([
      { numerator: 1, denominator: 2 },
      { numerator: 2, denominator: 2 },
    ]);
  });

  test.each([
    ['%0: f32[A] = model.param {name = "w"}', "op 0 model.param %0: f32[A]: no value is given for model.param w"],
    ['%0: f32[A] = model.param {name = "x0"}', "op 0 model.param %0: f32[A]: x0 is given with 3 elements, A is 2"],
    [
      '%0: f32[Q] = model.param {name = "x0"}',
      "program test after binding sizes:\nop 0 model.param: %0: dim Q is not in the dim table",
    ],
    [
      '%0: f32[T] = tensor.constant {value = 0}\n%1: f32[S] = tensor.rename %0 {from = ["T"], to = ["S"]}',
      "program test after binding sizes:\nop 1 tensor.rename: dim T has size 2, S has 3",
    ],
    [
      '%0: f32 = tensor.constant {value = 0}\nprogram.output %0 {name = "y"}\nprogram.output %0 {name = "y"}',
      "op 2 program.output: a second output y",
    ],
  ])("rejects %s", (text, message) => {
    expect(() => runProgram(program(text), sampleInputs([[1, 2, 3]]))).toThrow(new Error(message));
  });
});
