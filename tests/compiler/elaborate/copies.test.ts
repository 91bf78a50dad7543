import { describe, expect, test } from "vitest";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import { verifyModule } from "../../../compiler/model-ir/verify.ts";
import { storesOf } from "../../../compiler/model-ir/places.ts";
import type { Module } from "../../../compiler/model-ir/types.ts";
import type { Given } from "../../../compiler/reference/border.ts";
import { scoreRows } from "../../../compiler/reference/score-rows.ts";
import { printOp } from "../../../compiler/tensor-ir/print.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { TINY } from "../../support/tiny-module.ts";

function elaborate(text: string): Program {
  const module = parseModule({ path: "tiny.model", text });
  expect(verifyModule(module)).toEqual([]);
  const program = scoreProgram(module, { gradients: true, metrics: true });
  expect(verifyProgram(program)).toEqual([]);
  return program;
}

/** Weights that differ from each other. */
function waves(module: Module, seed: number): Map<string, Given> {
  return new Map(
    storesOf(module.root)
      .filter(({ store }) => store.kind !== "cache")
      .map(({ path, type }) => {
        const size = type.dims.reduce((product, label) => product * module.dims.get(label)!, 1);
        return [
          path,
          { data: Array.from({ length: size }, (_, i) => Math.sin((i + 1) * 12.9898 * seed + path.length)) },
        ];
      }),
  );
}

/** Some ops from the one that reads a param on, without the numbers of values. */
function opsAfter(program: Program, param: string, count: number): string[] {
  const at = program.ops.findIndex((op) => op.name === "model.param" && op.attrs["name"] === param);
  return program.ops.slice(at, at + count).map((op) => printOp(op).replaceAll(/%\d+/g, "%"));
}

describe("dense copies", () => {
  test("params have the dim in front, what depends on them has it behind T", () => {
    expect(opsAfter(elaborate(TINY), "trunk.0.ffn.experts.up", 5)).toEqual([
      '%: f32[A, D, F] = model.param {name = "trunk.0.ffn.experts.up"}',
      "%: f32[T, A, F] = tensor.contract %, %",
      '%: f32[A, F] = model.param {name = "trunk.0.ffn.experts.shift"}',
      "%: f32[T, A, F] = math.add %, %",
      "%: f32[T, A, F] = math.silu %",
    ]);
  });

  test("operands of ops that do not broadcast are spread", () => {
    const text = TINY.replace(
      '%5: f32[T, F] = math.silu %4\n  %6: f32[F, D] = model.param {name = "down"}\n  %7: f32[T, D] = tensor.contract %5, %6',
      [
        "%8: f32[T, D] = math.square %0",
        '%9: f32[F, D] = model.param {name = "down"}',
        "%10: f32[T, D] = tensor.contract %4, %9",
        '%11: f32[T, 2D] = tensor.concat %8, %10 {dims = ["D", "D"], to = "2D"}',
        '%7: f32[T, D] = tensor.slice %11 {dim = "2D", start = 2, to = "D"}',
      ].join("\n  "),
    ).replace("A = 2 }", "A = 2, 2D = 8 }");
    const program = elaborate(text);
    const concat = program.ops.find((op) => op.name === "tensor.concat");
    expect(concat?.operands.map(({ type }) => type.dims)).toEqual([
      ["T", "A", "D"],
      ["T", "A", "D"],
    ]);
  });
});

describe("routed copies", () => {
  test("a contraction with a param is grouped, other params are taken by the choice", () => {
    expect(opsAfter(elaborate(TINY), "trunk.1.ffn.experts.up", 5)).toEqual([
      '%: f32[E, D, F] = model.param {name = "trunk.1.ffn.experts.up"}',
      '%: f32[T, K, F] = moe.contract %, %, % {experts = "E", slot = "K"}',
      '%: f32[E, F] = model.param {name = "trunk.1.ffn.experts.shift"}',
      '%: f32[T, K, F] = tensor.gather %, % {dim = "E"}',
      "%: f32[T, K, F] = math.add %, %",
    ]);
  });

  test("what depends on params only is made once per copy", () => {
    const text = TINY.replaceAll(
      '%3: f32[F] = model.param {name = "shift"}\n  %4: f32[T, K, F] = math.add %2, %3',
      '%3: f32[F] = model.param {name = "shift"}\n  %8: f32[F] = math.exp %3\n  %4: f32[T, K, F] = math.add %2, %8',
    );
    expect(opsAfter(elaborate(text), "trunk.1.ffn.experts.shift", 3)[1]).toBe("%: f32[E, F] = math.exp %");
  });

  test("a result that does not depend on the row becomes rows", () => {
    const text = TINY.replace(
      "%7: f32[T, K, D] = tensor.contract %5, %6\n}",
      '%7: f32[D] = tensor.reduce %6 {kind = "sum"}\n  %8: f32[T, K, D] = tensor.broadcast %7\n}',
    ).replace("fn @Expert.forward.2(%0 x: f32[T, K, D]) -> (%7)", "fn @Expert.forward.2(%0 x: f32[T, K, D]) -> (%8)");
    elaborate(text);
  });
});

const ROUTED_MOE = `fn @Moe.routed(%0 x: f32[T, K, D]) -> (%9) {
  %1: f32[D, E] = model.param {name = "gate"}
  %2: f32[T, K, E] = tensor.contract %0, %1
  %3: f32[E] = model.state {name = "bias"}
  %4: f32[T, K, E] = math.add %2, %3
  %5: i32[T, K, L] = tensor.top_k %4 {dim = "E", to = "L"}
  %6: f32[T, K, L] = tensor.gather %2, %5 {dim = "E"}
  %7: f32[T, K, L, D] = moe.dispatch %0, %5 {experts = "E", slot = "L"}
  %8: f32[T, K, L, D] = model.call %7, %5 {count = 1, first = 0, fn = "Expert.rows", over = "E", slot = "L", use = "experts"}
  %9: f32[T, K, D] = moe.combine %8, %6, %5 {experts = "E", slot = "L"}
}

fn @Expert.rows(%0 x: f32[T, K, L, D]) -> (%3) {
  %1: f32[D, F] = model.param {name = "up"}
  %2: f32[T, K, L, F] = tensor.contract %0, %1
  %4: f32[F] = model.param {name = "shift"}
  %5: f32[T, K, L, F] = math.add %2, %4
  %6: f32[F, D] = model.param {name = "down"}
  %3: f32[T, K, L, D] = tensor.contract %5, %6
}
`;

describe("copies of copies", () => {
  const routedInDense = TINY.replace(
    "use experts = block @Expert forward over A",
    "use experts = block @Moe forward over A",
  ).replace('fn = "Expert.forward", over = "A"', 'fn = "Moe.forward", over = "A"');

  test("a routed layer in dense copies computes what the copies compute by themselves", () => {
    const plain = parseModule({
      path: "plain.model",
      text: TINY.replace("use ffn = block @Mixture forward", "use ffn = block @Moe forward").replace(
        'fn = "Mixture.forward"',
        'fn = "Moe.forward"',
      ),
    });
    const mixed = parseModule({ path: "mixed.model", text: routedInDense });
    const hidden = (module: Module, weights: ReadonlyMap<string, Given>): number[] =>
      Array.from(
        scoreRows(module, weights, [[1, 2, 3, 4, 5, 6]], { hidden: true, precision: "f64" }).tensors.get("hidden.1")!
          .data,
      );
    const [first, second] = [1, 2].map((seed) => waves(plain, seed)) as [Map<string, Given>, Map<string, Given>];
    const common = ["embed.weight", ...["wq", "wk", "wo"].map((name) => `trunk.0.mixer.${name}`)];
    for (const path of common) second.set(path, first.get(path)!);
    const both = waves(mixed, 3);
    for (const path of common) both.set(path, first.get(path)!);
    // Equal shares of both copies.
    both.set("trunk.0.ffn.gate", { data: Array.from({ length: 8 }, () => 0) });
    for (const name of ["gate", "bias", "experts.up", "experts.shift", "experts.down"]) {
      const parts = [first, second].map((weights) => Array.from(weights.get(`trunk.0.ffn.${name}`)!.data));
      both.set(`trunk.0.ffn.experts.${name}`, { data: parts.flat() });
    }
    const [one, other] = [hidden(plain, first), hidden(plain, second)];
    const mean = one.map((value, i) => (value + other[i]!) / 2);
    hidden(mixed, both).forEach((value, i) => expect(value).toBeCloseTo(mean[i]!, 5));
  });

  test("a routed layer in dense copies: copy and expert become one dim", () => {
    const program = elaborate(routedInDense);
    const up = program.ops.find((op) => op.attrs["name"] === "trunk.0.ffn.experts.experts.up");
    expect(up?.results[0]?.type.dims).toEqual(["A", "E", "D", "F"]);
    const contraction = program.ops.find(
      (op) => op.name === "moe.contract" && op.operands[2]!.type.dims.includes("A"),
    )!;
    expect(contraction.attrs["experts"]).toBe("A*E");
    expect(program.dims.get("A*E")).toBe(10);
    const metric = program.ops.find((op) => op.name === "metric.emit")!;
    expect(metric.attrs["name"]).toBe("trunk.0.ffn.experts.load");
    expect(metric.operands[0]!.type.dims).toEqual(["A", "E"]);
  });

  test("a routed layer as routed copy", () => {
    const text = `${TINY.replace("A = 2 }", "A = 2, L = 1, C = 3 }")
      .replace(
        "use experts = block @Expert forward over E\n  on step",
        "use experts = block @Inner forward over C\n  on step",
      )
      .replace(
        "param gate: f32[D, E] = normal(0.02)\n  state bias: f32[E] = 0\n  use experts = block @Inner",
        "param gate: f32[D, C] = normal(0.02)\n  state bias: f32[C] = 0\n  use experts = block @Inner",
      )
      .replace(
        "block @Expert : Expert {",
        "block @Inner : Moe {\n  dims { D = D, E = E }\n  param gate: f32[D, E] = normal(0.02)\n  state bias: f32[E] = 0\n  use experts = block @Expert forward over E\n}\n\nblock @Expert : Expert {",
      )
      .replace(/(?<=fn @Moe\.(?:forward|on_step)\([^]*?)(?=fn @Expert\.forward\()/, "")}\n${ROUTED_MOE}`;
    const moe = /fn @Moe\.forward[^]*?\n\}\n/.exec(text)![0];
    const step = /fn @Moe\.on_step[^]*?\n\}\n/.exec(text)![0];
    const outer = moe.replaceAll(/\bE\b/g, "C").replace('fn = "Expert.forward.2"', 'fn = "Moe.routed"');
    const program = elaborate(text.replace(moe, outer).replace(step, step.replaceAll("[E]", "[C]")));
    const contraction = program.ops.find(
      (op) => op.name === "moe.contract" && op.operands[0]!.type.dims.includes("L"),
    )!;
    expect(contraction.attrs["experts"]).toBe("C*E");
    expect(contraction.operands[2]!.type.dims).toEqual(["T", "K", "L"]);
  });
});
