import { expect, test } from "vitest";
import { execute } from "../../support/execute.ts";
import { checkedModel } from "../../support/probe.ts";
import { trainStepProgram } from "../../../compiler/elaborate/train-step.ts";
import type { Row } from "../../support/plain.ts";
import { expectClose } from "./close.ts";

/** Logits are rows of one matrix; the gradient of the loss is softmax minus the target. */
const model = checkedModel(`edition 2026

import { Embedding } from "std/nn"

model Rows {
  dim V = 3
  dim W = 3
  use rows = Embedding[V, W]
  param shift: [W]
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, W] { return rows(tokens) + shift }
}
`);

const TOKENS = [0, 1, 2, 0];
const TARGETS = [1, 2, 0, 2];

/** The mean cross entropy's gradient for `rows` and `shift`, in plain numbers. */
function gradients(rows: Row, shift: Row): { rows: number[]; shift: number[] } {
  const found = { rows: rows.map(() => 0), shift: shift.map(() => 0) };
  for (const [t, token] of TOKENS.entries()) {
    const logits = shift.map((s, w) => rows[token * 3 + w]! + s);
    const total = logits.reduce((a, v) => a + Math.exp(v), 0);
    for (const [w, logit] of logits.entries()) {
      const g = (Math.exp(logit) / total - (TARGETS[t] === w ? 1 : 0)) / TOKENS.length;
      found.rows[token * 3 + w]! += g;
      found.shift[w]! += g;
    }
  }
  return found;
}

type Stores = Map<string, Row>;

/** Some steps of the program, beside the same steps in plain numbers. */
function compare(
  name: string,
  args: Readonly<Record<string, number | boolean>>,
  plain: (w: Row, g: Row, state: Record<string, number[]>, step: number, decayed: boolean) => number[],
  clip?: number,
): void {
  const { module, optimizer } = model.training();
  const program = trainStepProgram(module, {
    objective: [{ loss: "next_token", weight: 1 }],
    optimizer: (type, decayed) =>
      optimizer(name, new Map(Object.entries(decayed ? args : { ...args, decay: 0 })), type)!,
    ...(clip === undefined ? {} : { clip }),
  });
  const start: [string, Row][] = [
    ["rows.weight", [0.3, -0.2, 0.5, 0.1, 0.9, -0.4, 0.2, 0.2, -0.7]],
    ["shift", [0.1, 0, -0.3]],
  ];
  let stores: Stores = new Map(start);
  const wanted = new Map(start);
  const memory = { rows: {}, shift: {} };
  for (let step = 1; step <= 4; step++) {
    const inputs = new Map<string, Row>([
      ["tokens", TOKENS],
      ["pos", [0, 1, 2, 3]],
      ["seq", [0, 0, 0, 0]],
      ["target.1", TARGETS],
      ["lr", [0.05]],
      ["step", [step]],
    ]);
    const { updates, outputs } = execute(program, { stores, inputs, sizes: { T: 4, S: 4, B: 1 } });
    stores = new Map([...stores, ...updates]);
    const g = gradients(wanted.get("rows.weight")!, wanted.get("shift")!);
    const norm = Math.sqrt([...g.rows, ...g.shift].reduce((a, v) => a + v * v, 0));
    expectClose(outputs.get("grad_norm")!, [norm]);
    const scale = clip === undefined ? 1 : Math.min(1, clip / (norm + 1e-6));
    const clipped = { rows: g.rows.map((v) => v * scale), shift: g.shift.map((v) => v * scale) };
    wanted.set("rows.weight", plain(wanted.get("rows.weight")!, clipped.rows, memory.rows, step, true));
    wanted.set("shift", plain(wanted.get("shift")!, clipped.shift, memory.shift, step, false));
    for (const path of ["rows.weight", "shift"]) expectClose(stores.get(path)!, wanted.get(path)!, 1e-6);
  }
  expect(stores.get("shift")).not.toEqual(start[1]![1]);
}

function adamw(decay: number, [beta1, beta2] = [0.8, 0.9]): Parameters<typeof compare>[2] {
  return (w, g, state, step, decayed) => {
    const m = (state["m"] = g.map((v, i) => beta1! * (state["m"]?.[i] ?? 0) + (1 - beta1!) * v));
    const s = (state["v"] = g.map((v, i) => beta2! * (state["v"]?.[i] ?? 0) + (1 - beta2!) * v * v));
    return w.map((x, i) => {
      const [mHat, vHat] = [m[i]! / (1 - beta1! ** step), s[i]! / (1 - beta2! ** step)];
      return x * (1 - 0.05 * (decayed ? decay : 0)) - (0.05 * mHat) / (Math.sqrt(vHat) + 1e-8);
    });
  };
}

test("AdamW", () => {
  compare("AdamW", { beta1: 0.8, beta2: 0.9, eps: 1e-8, decay: 0.3 }, adamw(0.3));
});

test("AdamW with clipping", () => {
  compare("AdamW", { beta1: 0.8, beta2: 0.9, eps: 1e-8, decay: 0 }, adamw(0), 0.1);
});

test.each([false, true])("Sgd, nesterov %s", (nesterov) => {
  compare("Sgd", { momentum: 0.6, nesterov, decay: 0.2 }, (w, g, state, _step, decayed) => {
    const slope = g.map((v, i) => v + (decayed ? 0.2 : 0) * w[i]!);
    const velocity = (state["velocity"] = slope.map((v, i) => 0.6 * (state["velocity"]?.[i] ?? 0) + v));
    return w.map((x, i) => x - 0.05 * (nesterov ? slope[i]! + 0.6 * velocity[i]! : velocity[i]!));
  });
});
