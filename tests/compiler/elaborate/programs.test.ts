import { describe, expect, test } from "vitest";
import { evaluationProgram, scoreProgram } from "../../../compiler/elaborate/score.ts";
import { draftPrograms, serveProgram } from "../../../compiler/elaborate/serve.ts";
import { type TrainPlan, trainStepProgram } from "../../../compiler/elaborate/train-step.ts";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import type { Block, Module } from "../../../compiler/model-ir/types.ts";
import { ProgramBuilder } from "../../../compiler/tensor-ir/builder.ts";
import { printOp } from "../../../compiler/tensor-ir/print.ts";
import type { Op, Program, TensorType } from "../../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { TINY } from "../../support/tiny-module.ts";

const module: Module = parseModule({ path: "tiny.model", text: TINY });

function named(program: Program, name: string): string[] {
  return program.ops.filter((op) => op.name === name).map((op) => String(op.attrs["name"]));
}

describe("score", () => {
  const program = scoreProgram(module, { hidden: true, gradients: true });

  test("is a sound program", () => {
    expect(verifyProgram(program)).toEqual([]);
  });

  test("reads every param of the model once, under its path and with the dim of its copies", () => {
    const params = program.ops.filter((op) => op.name === "model.param");
    const names = params.map((op) => op.attrs["name"]);
    expect(new Set(names).size).toBe(names.length);
    const experts = params.find((op) => op.attrs["name"] === "trunk.2.ffn.experts.up");
    expect(experts?.results[0]?.type.dims).toEqual(["E", "D", "F"]);
    expect(names).not.toContain("mtp.0.join");
  });

  test("keeps nothing between calls", () => {
    const names = new Set(program.ops.map((op) => op.name));
    expect(names).not.toContain("cache.append");
    expect(named(program, "program.input").toSorted()).toEqual(["pos", "seq", "target.1", "tokens"]);
  });

  test("gives logits, hidden states of all layers and one gradient per param", () => {
    const outputs = named(program, "program.output");
    expect(outputs.slice(0, 5)).toEqual(["logits", "hidden.0", "hidden.1", "hidden.2", "hidden.3"]);
    expect(outputs.filter((name) => name.startsWith("grad.")).map((name) => name.slice(5))).toEqual(
      named(program, "model.param"),
    );
    expect(named(program, "loss.term")).toEqual(["next_token"]);
  });

  test("evaluates with the loss alone", () => {
    const evaluation = evaluationProgram(module, "f32");
    expect(verifyProgram(evaluation)).toEqual([]);
    expect(evaluation.name).toBe("evaluate");
    expect(named(evaluation, "program.output")).toEqual(["loss.next_token"]);
  });

  test("emits metrics on request only", () => {
    expect(named(program, "metric.emit")).toEqual([]);
    expect(named(scoreProgram(module, { metrics: true }), "metric.emit")).toEqual([
      "trunk.1.ffn.load",
      "trunk.2.ffn.load",
    ]);
  });
});

test("generation appends to caches under their paths and reads the positions of all kept rows", () => {
  const program = serveProgram(module, "decode");
  expect(verifyProgram(program)).toEqual([]);
  const caches = program.ops.filter((op) => op.name === "cache.append").map((op) => op.attrs["cache"]);
  expect(caches).toEqual(["trunk.0.mixer.keys", "trunk.1.mixer.keys", "trunk.2.mixer.keys"]);
  expect(named(program, "program.input")).toEqual(expect.arrayContaining(["key.pos", "key.seq"]));
  expect(named(program, "program.output")).toEqual(["logits", "hidden"]);
});

test("each look-ahead module is a program with caches of its own, and reads what the one before gives", () => {
  const [first, second, ...others] = draftPrograms(module);
  expect(others).toEqual([]);
  for (const program of [first!, second!]) {
    expect(verifyProgram(program)).toEqual([]);
    expect(named(program, "program.input")).toEqual(expect.arrayContaining(["hidden", "tokens", "key.seq", "rows"]));
    expect(named(program, "model.param")).not.toContain("trunk.0.mixer.wq");
  }
  expect(first!.name).toBe("draft.1");
  const caches = (program: Program): unknown[] =>
    program.ops.filter((op) => op.name === "cache.append").map((op) => op.attrs["cache"]);
  expect(caches(first!)).toEqual(["mtp.0.layer.mixer.keys"]);
  expect(caches(second!)).toEqual(["mtp.1.layer.mixer.keys"]);
  expect(named(first!, "program.output")).toEqual(["logits", "hidden"]);
  expect(named(second!, "program.output")).toEqual(["logits"]);
});

describe("train_step", () => {
  const plan: TrainPlan = {
    objective: [
      { loss: "next_token", weight: 1 },
      { loss: "mtp", weight: "train.loss.mtp" },
      { loss: "balance", weight: 0.01 },
    ],
    optimizer: descent,
    clip: 1,
  };
  const program = trainStepProgram(module, plan);

  test("is a sound program", () => {
    expect(verifyProgram(program)).toEqual([]);
  });

  test("logs each loss, their sum and the norm of the gradient", () => {
    expect(named(program, "program.output")).toEqual([
      "loss.next_token",
      "loss.mtp",
      "loss.balance",
      "loss",
      "grad_norm",
    ]);
    expect(named(program, "loss.term")).toEqual([
      "trunk.1.ffn.balance",
      "trunk.2.ffn.balance",
      "next_token",
      "mtp.0.layer.ffn.balance",
      "mtp.0.mtp",
      "mtp.1.layer.ffn.balance",
      "mtp.1.mtp",
    ]);
  });

  test("updates every param it reads and the states of the blocks, also those of the look-ahead modules", () => {
    const updates = named(program, "model.update");
    expect(updates).toEqual([
      ...named(program, "model.param"),
      "trunk.1.ffn.bias",
      "trunk.2.ffn.bias",
      "mtp.0.layer.ffn.bias",
      "mtp.1.layer.ffn.bias",
    ]);
  });

  test("what counts as live in a look-ahead module has a token ahead", () => {
    const term = program.ops.find((op) => op.name === "loss.term" && op.attrs["name"] === "mtp.1.layer.ffn.balance");
    expect(inputsOf(program, term!)).toContain("ahead.2");
  });

  test("the loss of a look-ahead module may be divided by all tokens", () => {
    const denominator = (step: Program): string[] => {
      const term = step.ops.find((op) => op.name === "loss.term" && op.attrs["name"] === "mtp.0.mtp")!;
      return inputsOf(step, { ...term, operands: term.operands.slice(1) });
    };
    expect(denominator(program)).toEqual(["target.2"]);
    expect(denominator(trainStepProgram(module, { ...plan, divideAheadBy: "length" }))).toEqual(["seq"]);
  });

  test("leaves look-ahead modules alone when the objective does not ask for them", () => {
    const alone = trainStepProgram(module, { ...plan, objective: [{ loss: "next_token", weight: 1 }] });
    expect(named(alone, "model.update").filter((name) => name.startsWith("mtp."))).toEqual([]);
    expect(named(alone, "program.input")).not.toContain("ahead.1");
  });

  test("master weights are stored in f32 whatever the blocks compute in", () => {
    const half = parseModule({
      path: "tiny.model",
      text: TINY.replaceAll("f32[", "bf16[").replace("model @Tiny f32", "model @Tiny bf16"),
    });
    const step = trainStepProgram(half, { ...plan, objective: [{ loss: "next_token", weight: 1 }] });
    const dtypes = new Set(step.ops.filter((op) => op.name === "model.param").map((op) => op.results[0]!.type.dtype));
    expect([...dtypes]).toEqual(["f32"]);
    for (const op of step.ops.filter((o) => o.name === "model.update" && !String(o.attrs["name"]).endsWith("bias"))) {
      expect(printOp(op) + op.operands[0]!.type.dtype).toMatch(/f32$/);
    }
  });

  test("decays params with two dims and more of their own, not of their copies", () => {
    const decayed = new Map<string, boolean>();
    const optimizer = (type: TensorType, decays: boolean): Block => {
      decayed.set(type.dims.join(" "), decays);
      return descent(type);
    };
    trainStepProgram(module, { ...plan, optimizer });
    expect(decayed.get("E D F")).toBe(true);
    expect(decayed.get("E F")).toBe(false);
    expect(decayed.get("D")).toBe(false);
  });

  test("a loss that no block has is refused", () => {
    expect(() => trainStepProgram(module, { ...plan, objective: [{ loss: "router_z", weight: 1 }] })).toThrow(
      /router_z/,
    );
  });
});

/** weight - lr * grad. */
function descent(type: TensorType): Block {
  const builder = new ProgramBuilder();
  const input = (name: string, of: TensorType): ReturnType<typeof builder.value> =>
    builder.emit("program.input", [], of, { name });
  const [weight, grad, lr] = [input("weight", type), input("grad", type), input("lr", { dtype: "f32", dims: [] })];
  const step = builder.emit("math.mul", [grad, lr], type);
  builder.effect("model.update", [builder.emit("math.sub", [weight, step], type)], { name: "weight" });
  const onStep = { id: "Descent.on_step", params: [], results: [], ops: builder.ops };
  return { id: "Descent", names: ["Descent"], dims: new Map(), stores: new Map(), uses: new Map(), onStep };
}

/** The program inputs that an op depends on. */
function inputsOf(program: Program, op: Op): string[] {
  const needed = new Set(op.operands.map(({ id }) => id));
  const names: string[] = [];
  for (const other of program.ops.toReversed()) {
    if (!other.results.some(({ id }) => needed.has(id))) continue;
    for (const { id } of other.operands) needed.add(id);
    if (other.name === "program.input") names.push(String(other.attrs["name"]));
  }
  return names;
}
