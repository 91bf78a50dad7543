import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { serveProgram } from "../../../compiler/elaborate/serve.ts";
import { storesOf } from "../../../compiler/model-ir/places.ts";
import { assumedSizes } from "../../../compiler/passes/pipeline.ts";
import { selectRows } from "../../../compiler/passes/select-rows.ts";
import type { Given } from "../../../compiler/reference/border.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

function text(...lines: readonly string[]): string {
  return `program @p\ndims { T = ?, S = ?, B = ?, D = 4, V = 8 }\n{\n${lines.map((line) => `  ${line}\n`).join("")}}\n`;
}

function after(before: string): string {
  const program = parseProgram(before);
  expect(verifyProgram(program)).toEqual([]);
  const result = selectRows.run(program, { sizes: assumedSizes("prefill") });
  expect(verifyProgram(result)).toEqual([]);
  return printProgram(result);
}

const X = '%0 x: f32[T, D] = program.input {name = "x"}';
const W = '%1 w: f32[V, D] = model.param {name = "w"}';
const ROWS = '%3 rows: i32[B] = program.input {name = "rows"}';
const LOGITS = ['%4: f32[B, V] = tensor.gather %2, %3 {dim = "T"}', 'program.output %4 {name = "logits"}'];

describe("select-rows", () => {
  test("a head sees the rows that are wanted", () => {
    expect(after(text(X, W, "%2 y: f32[T, V] = tensor.contract %0, %1", ROWS, ...LOGITS))).toBe(
      text(
        X,
        W,
        ROWS,
        '%6: f32[B, D] = tensor.gather %0, %3 {dim = "T"}',
        "%5 y: f32[B, V] = tensor.contract %6, %1",
        'program.output %5 {name = "logits"}',
      ),
    );
  });

  test("stops where somebody else reads all rows", () => {
    const before = text(
      X,
      W,
      "%2 y: f32[T, V] = tensor.contract %0, %1",
      ROWS,
      ...LOGITS,
      'program.output %2 {name = "all"}',
    );
    expect(after(before)).toBe(before);
  });

  test("never makes more rows of few", () => {
    const spread = text(
      '%0 x: f32[B, D] = program.input {name = "x"}',
      "%1: f32[B, D] = math.exp %0",
      '%2 seq: i32[T] = program.input {name = "seq"}',
      '%3: f32[T, D] = tensor.gather %1, %2 {dim = "B"}',
      'program.output %3 {name = "all"}',
    );
    expect(after(spread)).toBe(spread);
  });

  test("stops at sums over rows, and where another run-time dim is", () => {
    const sum = text(
      '%0 x: f32[T, V] = program.input {name = "x"}',
      '%1: i32[T] = program.input {name = "to"}',
      '%2: f32[T, V] = tensor.cumsum %0 {dim = "T", exclusive = false, reverse = false}',
      ROWS,
      ...LOGITS,
    );
    expect(after(sum)).toBe(sum);
    const scores = text(
      '%0 p: f32[T, S] = program.input {name = "p"}',
      '%1 v: f32[S, V] = program.input {name = "v"}',
      "%2: f32[T, V] = tensor.contract %0, %1",
      ROWS,
      ...LOGITS,
    );
    expect(after(scores)).toBe(scores);
  });
});

describe("a whole model", () => {
  const path = resolve(import.meta.dirname, "../../fixtures/deepseek-v3-tiny.dsk");
  const { module } = checkFile({ path, text: readFileSync(path, "utf8") }, new Diagnostics()).models.get("TinyV3")!;
  const program = serveProgram(module, "prefill");
  const T = 9;
  const rows = [8, 3];
  const integers = (data: readonly number[]): Given => ({ data: [...data] });
  const values = new Map<string, Given>([
    ...storesOf(module.root).map(({ path: at, type }): [string, Given] => {
      const size = type.dims.reduce((product, label) => product * (module.dims.get(label) ?? 1), 1);
      return [at, { data: Array.from({ length: size }, (_, i) => 0.3 * Math.sin(i * 12.9898 + at.length * 78.233)) }];
    }),
    ["tokens", integers(Array.from({ length: T }, (_, i) => (i * 37) % 160))],
    ...["pos", "key.pos"].map((name): [string, Given] => [name, integers(Array.from({ length: T }, (_, i) => i))]),
    ...["seq", "key.seq"].map((name): [string, Given] => [name, integers(Array.from({ length: T }, () => 0))]),
    ["rows", integers(rows)],
  ]);
  const logitsOf = (one: Program): ArrayLike<number> =>
    runProgram(one, { sizes: { T, S: T, B: rows.length }, values }, { precision: "f32" }).outputs.get("logits")!.data;

  test("gives the same logits, to the last bit", () => {
    const selected = selectRows.run(program, { sizes: assumedSizes("prefill") });
    expect(verifyProgram(selected)).toEqual([]);
    expect(
      selected.ops.some(({ name, results }) => name === "tensor.contract" && results[0]!.type.dims[0] === "B"),
    ).toBe(true);
    expect(Array.from(logitsOf(selected))).toEqual(Array.from(logitsOf(program)));
  });
});
