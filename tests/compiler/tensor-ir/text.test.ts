import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OP_NAMES } from "../../../compiler/tensor-ir/ops/table.ts";
import { parseDims, parseOp, parseProgram, parseValue } from "../../../compiler/tensor-ir/parse.ts";
import { printDims, printOp, printProgram, printValue } from "../../../compiler/tensor-ir/print.ts";
import { DTYPES, type Op, type Program, type Value } from "../../../compiler/tensor-ir/types.ts";
import { sampleProgram } from "../../support/sample-ops.ts";

const SCORE = `program @score
dims { T = ?, S = ?, B = ?, V = 5, D = 64, N = 16, R = 8, N+R = 24 }
{
  %0 tokens: i32[T] = program.input {name = "tokens"}
  %1: f32[V, D] = model.param {name = "embed.weight"}
  %2 x: f32[T, D] = tensor.gather %1, %0 {dim = "V"}
  %3: f32[D, N+R] = model.param {name = "trunk.7.\\"wq\\""}
  %4: f32[T, N+R] = tensor.contract %2, %3
  %5: f32 = tensor.constant {value = -inf}
  %6: bool = tensor.constant {value = false}
  %7: f32[T, N+R] = tensor.cumsum %4 {dim = "N+R", exclusive = true, reverse = false}
  program.output %7 {name = "logits"}
}
`;

const SINGLE: Value = { id: 0, type: { dtype: "f32", dims: [] } };

describe("text of programs", () => {
  test("parses and prints back the same", () => {
    const program = parseProgram(SCORE);
    expect(printProgram(program)).toBe(SCORE);
    expect(program.dims.get("T")).toBeNull();
    expect(program.dims.get("N+R")).toBe(24);
    expect(program.ops[2]).toEqual({
      name: "tensor.gather",
      operands: [program.ops[1]!.results[0], program.ops[0]!.results[0]],
      results: [{ id: 2, name: "x", type: { dtype: "f32", dims: ["T", "D"] } }],
      attrs: { dim: "V" },
    });
    expect(program.ops[5]!.attrs).toEqual({ value: -Infinity });
  });

  test("does not mind blank lines and indentation", () => {
    expect(parseProgram(SCORE.replaceAll("\n", "\n\n   "))).toEqual(parseProgram(SCORE));
  });

  test("sorts attributes and keeps every number", () => {
    const attrs = { z: 1e-20, a: -0, m: [1, 2.5], n: NaN, s: ["x y", '"'], e: [] };
    const op: Op = { name: "some.op", operands: [], results: [], attrs };
    expect(printOp(op)).toBe('some.op {a = -0, e = [], m = [1, 2.5], n = nan, s = ["x y", "\\""], z = 1e-20}');
    expect(parseOp(printOp(op), () => SINGLE)).toEqual(op);
  });

  test("several results", () => {
    const text = "%1: f32, %2 y: i32[T] = model.call %0, %0";
    const op = parseOp(text, () => SINGLE);
    expect(op.results.map(({ id }) => id)).toEqual([1, 2]);
    expect(printOp(op)).toBe(text);
  });

  test.each([
    ["program score", "line 1: expected `program @name`"],
    ["program @a\ndims { T = x }", "line 2, column 12: x is no size"],
    ["program @a\ndims { T = 1, T = 2 }", "line 2, column 17: dim T is listed twice"],
    ["program @a\ndims { }\n{\n  %0: f31 = x.y\n}", "line 4, column 7: f31 is no dtype"],
    ["program @a\ndims { }\n{\n  %0: f32 = x.y %1\n}", "line 4, column 18: %1 is not defined before"],
    ["program @a\ndims { }\n{\n  %0: f32 = x.y {a = }\n}", "line 4, column 22: expected a value at `}`"],
    ["program @a\ndims { }\n{\n  %0: f32 = x.y {a = 1, a = 2}\n}", "line 4, column 27: attribute a is given twice"],
    [
      "program @a\ndims { }\n{\n  %0: f32 = x.y {a = [1, true]}\n}",
      "line 4, column 30: a list holds either strings or numbers",
    ],
    ["program @a\ndims { }\n{\n  %0: f32[T = x.y\n}", "line 4, column 13: expected `]` at `= x.y`"],
    ["program @a\ndims { }\n{\n  x.y\n", "line 4: the text ends before `}`"],
    ["program @a\ndims { }\n{\n}\nx.y", "line 5: `x.y` follows the program"],
  ])("rejects %j", (text, message) => {
    expect(() => parseProgram(text)).toThrow(new Error(message));
  });

  test("random programs", () => {
    fc.assert(
      fc.property(programs, (program) => {
        const text = printProgram(program);
        expect(parseProgram(text)).toEqual(program);
      }),
      { numRuns: 200 },
    );
  });

  test.each(OP_NAMES)("%s", (name) => {
    const { program } = sampleProgram(name);
    expect(program.ops.map((op) => op.name)).toContain(name);
    expect(parseProgram(printProgram(program))).toEqual(program);
  });

  test("pieces", () => {
    const dims = new Map([
      ["T", null],
      ["F/G.2", 3],
    ] as const);
    expect(parseDims(printDims(dims))).toEqual(dims);
    expect(parseDims(printDims(new Map()))).toEqual(new Map());
    const value: Value = { id: 12, name: "x", type: { dtype: "bf16", dims: ["T", "2*R"] } };
    expect(parseValue(printValue(value))).toEqual(value);
  });
});

/** Programs of the right form, whatever their ops mean. */
const label = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_+\-*/.]{0,4}$/);
const attr = fc.oneof(
  fc.boolean(),
  fc.double(),
  fc.string(),
  fc.array(fc.string(), { maxLength: 3 }),
  fc.array(fc.double(), { maxLength: 3 }),
);
const draft = fc.record({
  name: fc.stringMatching(/^[a-z]{1,5}\.[a-z_]{1,5}$/),
  results: fc.array(
    fc.record({
      name: fc.option(fc.stringMatching(/^[a-z]\w{0,3}$/), { nil: undefined }),
      type: fc.record({ dtype: fc.constantFrom(...DTYPES), dims: fc.array(label, { maxLength: 3 }) }),
    }),
    { maxLength: 3 },
  ),
  operands: fc.array(fc.nat(), { maxLength: 3 }),
  attrs: fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), attr, { maxKeys: 3, noNullPrototype: true }),
});
const programs: fc.Arbitrary<Program> = fc
  .record({
    name: fc.stringMatching(/^[a-z_]{1,8}$/),
    dims: fc.array(fc.tuple(label, fc.option(fc.nat()))),
    drafts: fc.array(draft, { maxLength: 6 }),
  })
  .map(({ name, dims, drafts }) => {
    const values: Value[] = [];
    const ops = drafts.map(({ name: opName, results, operands, attrs }): Op => {
      const used = values.length === 0 ? [] : operands.map((n) => values[n % values.length]!);
      const made = results.map(({ name: valueName, type }, i) => ({
        id: values.length + i,
        type,
        ...(valueName === undefined ? {} : { name: valueName }),
      }));
      values.push(...made);
      return { name: opName, operands: used, results: made, attrs };
    });
    return { name, dims: new Map(dims), ops };
  });
