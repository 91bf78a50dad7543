import { describe, expect, test } from "vitest";
import { eliminateCommon } from "../../../compiler/passes/eliminate-common.ts";
import { eliminateDead } from "../../../compiler/passes/eliminate-dead.ts";
import type { Pass } from "../../../compiler/passes/pass.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";

const DIMS = "T = ?, A = 2, B = 3, K = 1";

function text(lines: readonly string[], dims = DIMS): string {
  return `program @p\ndims { ${dims} }\n{\n${lines.map((line) => `  ${line}\n`).join("")}}\n`;
}

function expectPass(pass: Pass, before: string, after: string): void {
  const program = parseProgram(before);
  expect(verifyProgram(program)).toEqual([]);
  const result = pass.run(program, {});
  expect(verifyProgram(result)).toEqual([]);
  expect(printProgram(result)).toBe(after);
}

const X = '%0 x: f32[A, B] = program.input {name = "x"}';
const Y = '%1 y: f32[A, B] = program.input {name = "y"}';
const out = (id: number, name = "out"): string => `program.output %${id} {name = "${name}"}`;

describe("eliminate-common", () => {
  const unchanged = (...lines: readonly string[]): void => {
    expectPass(eliminateCommon, text(lines), text(lines));
  };

  test("computes what is the same once, and what follows from it", () => {
    expectPass(
      eliminateCommon,
      text([
        X,
        "%1: f32[A, B] = math.cos %0",
        "%2: f32[A, B] = math.cos %0",
        "%3: f32[A, B] = math.neg %1",
        "%4: f32[A, B] = math.neg %2",
        out(3),
        out(4, "again"),
      ]),
      text([X, "%1: f32[A, B] = math.cos %0", "%3: f32[A, B] = math.neg %1", out(3), out(3, "again")]),
    );
  });

  test("knows which ops commute", () => {
    expectPass(
      eliminateCommon,
      text([X, Y, "%2: f32[A, B] = math.mul %0, %1", "%3: f32[A, B] = math.mul %1, %0", out(2), out(3, "again")]),
      text([X, Y, "%2: f32[A, B] = math.mul %0, %1", out(2), out(2, "again")]),
    );
    unchanged(X, Y, "%2: f32[A, B] = math.sub %0, %1", "%3: f32[A, B] = math.sub %1, %0", out(2), out(3, "other"));
  });

  test("tells attributes and types apart", () => {
    unchanged(
      X,
      '%1: f32[A] = tensor.reduce %0 {kind = "sum"}',
      '%2: f32[A] = tensor.reduce %0 {kind = "max"}',
      '%3: f32[B] = tensor.reduce %0 {kind = "sum"}',
      "%4: f32 = tensor.constant {value = 0}",
      "%5: f32 = tensor.constant {value = -0}",
      "%6: i32 = tensor.constant {value = 0}",
      ...[1, 2, 3, 4, 5, 6].map((id) => out(id, `o${id}`)),
    );
  });

  test("keeps effects, and draws of other streams", () => {
    unchanged(
      '%0: f32[T, A] = program.input {name = "x"}',
      '%1: f32[A] = tensor.random {kind = "normal", stream = "a"}',
      '%2: f32[A] = tensor.random {kind = "normal", stream = "b"}',
      '%3: f32[K, A] = cache.append %0 {at = "K", cache = "k", from = "T"}',
      '%4: f32[K, A] = cache.append %0 {at = "K", cache = "k", from = "T"}',
      ...[1, 2, 3, 4].map((id) => out(id, `o${id}`)),
    );
    expectPass(
      eliminateCommon,
      text([
        '%0: f32[A] = tensor.random {kind = "normal", stream = "a"}',
        '%1: f32[A] = tensor.random {kind = "normal", stream = "a"}',
        out(0),
        out(1, "again"),
      ]),
      text(['%0: f32[A] = tensor.random {kind = "normal", stream = "a"}', out(0), out(0, "again")]),
    );
  });
});

describe("eliminate-dead", () => {
  test("removes what no effect needs, and dims that nothing has", () => {
    expectPass(
      eliminateDead,
      text([X, Y, "%2: f32[A, B] = math.exp %1", "%3: f32[A, B] = math.neg %2", "%4: f32[A, B] = math.neg %0", out(4)]),
      text([X, "%4: f32[A, B] = math.neg %0", out(4)], "A = 2, B = 3"),
    );
  });

  test("keeps what metrics, updates, losses and caches need", () => {
    const lines = [
      '%0: f32[T, A] = program.input {name = "x"}',
      '%1: f32[A] = tensor.reduce %0 {kind = "sum"}',
      'metric.emit %1 {name = "m"}',
      '%2: f32[A] = tensor.reduce %0 {kind = "max"}',
      'model.update %2 {name = "w"}',
      '%3: f32 = tensor.reduce %2 {kind = "sum"}',
      'loss.term %3, %3 {name = "l"}',
      // What is kept of a token is read by later calls.
      '%4: f32[B, A] = cache.append %0 {at = "B", cache = "k", from = "T"}',
    ];
    expectPass(eliminateDead, text(lines), text(lines, "T = ?, A = 2, B = 3"));
  });
});
