import { describe, expect, test } from "vitest";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import type { Program, Value } from "../../../compiler/tensor-ir/types.ts";
import { assertVerified, verifyOp, verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { SAMPLE_DIMS } from "../../support/sample-ops.ts";

/** A program of these ops; `x: f32[A, B]`, `n: i32[T, K]` and `m: bool[B]` are %0, %1 and %2. */
function programOf(...ops: readonly string[]): Program {
  const inputs = ["x: f32[A, B]", "n: i32[T, K]", "m: bool[B]"].map(
    (value, i) => `%${i} ${value} = program.input {name = "${value[0]}"}`,
  );
  return parseProgram(["program @faulty", SAMPLE_DIMS, "{", ...inputs, ...ops, "}"].join("\n"));
}

/** One op (%3 = ...) and what is wrong with it. */
const FAULTS: readonly (readonly [op: string, fault: string])[] = [
  ["%3: f32[A, B] = math.cube %0", "there is no such op"],
  ["%3: f32[A, B] = math.add %0", "1 operand, expected 2"],
  ['%3: f32[A, B] = nn.softmax %0, %2, %2 {dim = "B"}', "3 operands, expected 1 to 2"],
  ['%3: f32[A, B] = tensor.concat {dims = [], to = "B"}', "0 operands, expected at least 1"],
  ['program.output %0, %0 {name = "y"}', "2 operands, expected 1"],
  ["math.neg %0", "0 results, expected 1"],
  ['%3: f32[A, B] = model.update %0 {name = "w"}', "1 result, expected 0"],
  ["%3: f32[A, B] = model.param", "attribute name is missing"],
  ["%3: f32[A, B] = model.param {name = 3}", "attribute name must be a string"],
  ['%3: f32[A] = tensor.reduce %0 {kind = "mean"}', "attribute kind must be one of sum, max, min"],
  ['%3: f32[A, B] = math.neg %0 {dim = "A"}', "unknown attribute dim"],
  ['%3: i32[A, B] = tensor.rank %0 {dim = "Q"}', "attribute dim: dim Q is not in the dim table"],
  ['%3: f32[A, B] = tensor.rename %0 {from = "A", to = ["K"]}', "attribute from must be a list of dim labels"],

  ["%3: f32[A, B] = math.exp %1", "operand is i32, expected float"],
  ["%3: f32[B, A, T, K] = math.add %0, %1", "operands are f32 and i32: convert one with tensor.cast"],
  ["%3: f32[A] = math.neg %0", "result is f32[A], expected f32[A, B] in any order"],
  ["%3: bf16[B, A] = math.neg %0", "result is bf16[B, A], expected f32[A, B] in any order"],
  ["%3: f32[A, B] = math.lt %0, %0", "result is f32[A, B], expected bool[A, B] in any order"],
  ["%3: bool[B] = math.add %2, %2", "operand is bool, expected float or i32"],
  ["%3: f32[A, B] = math.select %0, %0, %0", "condition is f32, expected bool"],

  ["%3: f32 = tensor.constant {value = true}", "attribute value is true, the result f32"],
  ["%3: i32 = tensor.constant {value = 0.5}", "attribute value must be whole for i32"],
  ['%3: i32[A, B] = tensor.iota {dim = "A"}', "result must have the one dim A"],
  ['%3: i32[A] = tensor.random {kind = "normal", stream = "x"}', "result is i32, expected float"],
  ["%3: i32[A] = tensor.cast %0", "result has dims A, expected A, B in any order"],
  ["%3: f32[A, C] = tensor.broadcast %0", "result lacks the dims B"],
  ["%3: bf16[A, B] = tensor.broadcast %0", "result is bf16, expected f32"],
  ['%3: f32[C, B] = tensor.rename %0 {from = ["A"], to = ["C"]}', "dim A has size 2, C has 4"],
  ['%3: f32[A, B] = tensor.rename %0 {from = ["A"], to = []}', "from has 1 labels, to has 0"],
  [
    '%3: f32[A, B] = tensor.rename %0 {from = ["B"], to = ["A"]}',
    "result would have dim A twice; dim B has size 3, A has 2",
  ],
  ["%3: f32[A, C] = tensor.contract %0, %0", "no operand gives the result the dims C"],
  ["%3: bf16[A] = tensor.contract %0, %0", "result is bf16, expected f32"],
  ["%3: f32[A, B] = tensor.contract %0, %1", "operands are f32 and i32: convert one with tensor.cast"],
  ['%3: f32[C] = tensor.reduce %0 {kind = "sum"}', "no operand gives the result the dims C"],
  ['%3: f32 = tensor.reduce %2 {kind = "max"}', "operand is bool, expected float or i32; result is f32, expected bool"],
  ['%3: f32[A, K] = tensor.slice %0 {dim = "B", start = 2, to = "K"}', "elements 2 to 4 of B, which has 3"],
  ['%3: f32[A, K] = tensor.slice %0 {dim = "B", start = 0.5, to = "K"}', "attribute start is 0.5"],
  ['%3: f32[A, K] = tensor.slice %0 {dim = "C", start = 0, to = "K"}', "operand has no dim C"],
  ['%3: f32[A, C] = tensor.pad %0 {dim = "B", start = 2, to = "C"}', "elements 2 to 5 of C, which has 4"],
  ['%3: f32[A, C] = tensor.concat %0 {dims = ["B"], to = "C"}', "B has size 3, C has 4"],
  ['%3: f32[A, A+B] = tensor.concat %0, %0 {dims = ["B"], to = "A+B"}', "1 dims for 2 operands"],
  [
    '%3: f32[A, A+B] = tensor.concat %0, %0 {dims = ["B", "A"], to = "A+B"}',
    "operand 1 has beside A the dims B, operand 0 has A",
  ],
  ['%3: f32[A, C, K] = tensor.split_dim %0 {dim = "B", into = ["C", "K"]}', "C * K has size 8, B has 3"],
  [
    '%3: f32[A, C] = tensor.split_dim %0 {dim = "B", into = ["C"]}',
    "attribute into must be [outer, inner]; C has size 4, B has 3",
  ],
  ['%3: f32[C] = tensor.merge_dims %0 {dims = ["A", "B"], to = "C"}', "A * B has size 6, C has 4"],
  ['%3: f32[C] = tensor.merge_dims %0 {dims = ["A", "A"], to = "C"}', "attribute dims must be [outer, inner]"],
  ['%3: f32[A, B] = tensor.gather %0, %0 {dim = "B"}', "index is f32, expected i32"],
  ['%3: f32[A, T] = tensor.gather %0, %1 {dim = "B"}', "result is f32[A, T], expected f32[A, T, K] in any order"],
  ['%3: f32[A] = tensor.scatter_add %0, %1 {dim = "E"}', "result has no dim E"],
  ['%3: f32[C, E] = tensor.scatter_add %0, %1 {dim = "E"}', "no operand gives the result the dims C"],
  ['%3: i32[A, C] = tensor.top_k %0 {dim = "B", to = "C"}', "picks 4 of the 3 elements of B"],
  ['%3: f32[A, K] = tensor.top_k %0 {dim = "B", to = "K"}', "result is f32[A, K], expected i32[A, K] in any order"],
  ['%3: i32[A, B] = tensor.rank %0 {dim = "C"}', "operand has no dim C"],

  ['%3: f32[A, B] = nn.softmax %0 {dim = "C"}', "operand has no dim C"],
  ['%3: f32[A, B] = nn.softmax %0, %0 {dim = "B"}', "mask is f32, expected bool"],
  ['%3: f32[B] = nn.softmax %2 {dim = "B"}', "operand is bool, expected float"],
  ["%3: f32 = loss.global %0", "denominator must be a scalar"],
  [
    'loss.term %0, %1 {name = "ce"}',
    "numerator must be a scalar; denominator is i32, expected float; denominator must be a scalar",
  ],
  ['%3: f32[A, B] = cache.append %0 {at = "S", cache = "c", from = "T"}', "operand has no dim T"],

  ['%3: f32[T, K, A, B] = moe.dispatch %0, %1 {experts = "E", slot = "K"}', "x lacks the row dims T"],
  [
    '%3: f32[A, B] = moe.dispatch %0, %0 {experts = "E", slot = "K"}',
    "chosen is f32, expected i32; chosen has no dim K",
  ],
  ['%3: i32[C, B] = moe.tiles %1 {experts = "E", into = ["C"]}', "attribute into must be [tiles, place]"],
  ['%3: i32[C, S] = moe.tiles %1 {experts = "E", into = ["C", "S"]}', "the sizes of E and S have to be known"],
  ['%3: i32[S, A] = moe.tiles %1 {experts = "E", into = ["S", "A"]}', "rows of experts fill the tiles T/2*2+3, not S"],
];

describe("verifyProgram", () => {
  test("accepts a sound program", () => {
    expect(verifyProgram(programOf("%3: f32[B, A] = math.neg %0"))).toEqual([]);
  });

  test.each(FAULTS)("rejects %s", (op, fault) => {
    const program = programOf(op);
    expect(verifyOp(program.ops[3]!, program.dims).join("; ")).toBe(fault);
    expect(verifyProgram(program)).toEqual(fault.split("; ").map((text) => `op 3 ${program.ops[3]!.name}: ${text}`));
  });

  test.each([
    ['moe.contract %3, %4, %1 {experts = "E", slot = "K"}', "w may not have the row dims T"],
    [
      'moe.contract %3, %3, %1 {experts = "A", slot = "K"}',
      "x may not have the expert dim A; w may not have the row dims T, K; result may not have the expert dim A",
    ],
    [
      'moe.contract_weight %3, %0, %1 {experts = "E", slot = "K"}',
      "y lacks the row dims T, K; result has no dim E; no operand gives the result the dims T, K",
    ],
    ['moe.combine %3, %4, %1 {experts = "E", slot = "K"}', "weight must have the dims T, K of chosen"],
    ['moe.combine %3, %1, %1 {experts = "E", slot = "T"}', "weight is i32, expected float"],
  ])("rejects %s", (call, fault) => {
    const program = programOf(
      '%3: f32[T, K, A] = program.input {name = "rows"}',
      '%4: f32[E, A, T] = program.input {name = "w"}',
      `%5: f32[T, K, A] = ${call}`,
    );
    expect(verifyOp(program.ops[5]!, program.dims).join("; ")).toBe(fault);
  });

  test("rejects values that are defined twice or not at all, and types that differ", () => {
    const twice = programOf("%0: f32[A, B] = math.neg %0");
    expect(verifyProgram(twice)).toEqual(["op 3 math.neg: %0 is defined twice"]);
    const sound = programOf("%3: f32[A, B] = math.neg %0", "%4: f32[A, B] = math.neg %3");
    const { ops } = sound;
    expect(verifyProgram({ ...sound, ops: [...ops.slice(0, 3), ops[4]!, ops[3]!] })).toEqual([
      "op 3 math.neg: %3 is not defined before",
    ]);
    const wrong: Value = { id: 3, type: { dtype: "f32", dims: ["B", "A"] } };
    expect(verifyProgram({ ...sound, ops: [...ops.slice(0, 4), { ...ops[4]!, operands: [wrong] }] })).toEqual([
      "op 4 math.neg: %3 is used as f32[B, A], it is f32[A, B]",
    ]);
  });

  test("rejects dims that are not in the table, stand twice or have no size", () => {
    expect(verifyProgram(programOf('%3: f32[Q, A, A] = model.param {name = "w"}'))).toEqual([
      "op 3 model.param: %3: dim Q is not in the dim table",
      "op 3 model.param: %3: dim A stands twice in f32[Q, A, A]",
    ]);
    expect(verifyProgram({ name: "empty", dims: new Map([["A", -1]]), ops: [] })).toEqual(["dim A has size -1"]);
  });

  test("rejects names and labels that have no text", () => {
    const x: Value = { id: 0, name: "a, b", type: { dtype: "f32", dims: [] } };
    const op = { name: "tensor.constant", operands: [], results: [x], attrs: { value: 0 } };
    expect(verifyProgram({ name: "", dims: new Map([["A B", 1]]), ops: [op] })).toEqual([
      '"" cannot be a name',
      '"A B" cannot be a label',
      'op 0 tensor.constant: "a, b" cannot be a name',
    ]);
  });

  test("sizes that are bound at run time may be anything", () => {
    expect(verifyProgram(programOf('%3: i32[S, K] = tensor.rename %1 {from = ["T"], to = ["S"]}'))).toEqual([]);
  });

  test("assertVerified names the pass", () => {
    expect(() => assertVerified(programOf("%3: f32[A] = math.neg %0"), "simplify")).toThrow(
      "program faulty after simplify:\nop 3 math.neg: result is f32[A], expected f32[A, B] in any order",
    );
  });
});
