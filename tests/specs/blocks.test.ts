import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { elementsOf } from "../../compiler/analysis/bytes.ts";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { serveProgram } from "../../compiler/elaborate/serve.ts";
import { storesOf } from "../../compiler/model-ir/places.ts";
import type { Module } from "../../compiler/model-ir/types.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import type { Tensor } from "../../compiler/reference/tensor.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { dot, randoms, type Row } from "../support/plain.ts";
import { checkedModel } from "../support/probe.ts";

/** Blocks that the compiler has never heard of: gradients are right, and decoding token by token gives what scoring gives. */
const root = resolve(import.meta.dirname, "../../specs/blocks");
const files = readdirSync(root).filter((name) => name.endsWith(".dsk"));

const TOKENS = [5, 61, 17, 17, 3, 40, 8];
const SEQ = [0, 0, 0, 0, 1, 1, 1];
const POS = [0, 1, 2, 3, 0, 1, 2];
const TARGET = [61, 17, 17, -1, 40, 8, -1];

type Values = Map<string, Row>;

function valuesOf(module: Module): Values {
  const stores = storesOf(module.root).filter(({ store }) => store.kind !== "cache");
  return new Map(
    stores.map(({ path, type }, i) => [path, randoms(104_729 * (i + 1), elementsOf(type, module.dims), 0.7)]),
  );
}

function given(values: Values, inputs: Readonly<Record<string, Row>>): Map<string, { data: Row }> {
  return new Map([...values, ...Object.entries(inputs)].map(([name, data]) => [name, { data }]));
}

/** The mean next-token loss of both sequences, with its gradients where the program has them. */
function run(program: Program, values: Values): { loss: number; outputs: ReadonlyMap<string, Tensor> } {
  const { outputs, losses } = runProgram(
    program,
    {
      sizes: { T: TOKENS.length, S: TOKENS.length, B: 2 },
      values: given(values, { tokens: TOKENS, pos: POS, seq: SEQ, "target.1": TARGET }),
    },
    { precision: "f64" },
  );
  const { numerator, denominator } = losses.get("next_token")![0]!;
  return { loss: numerator / denominator, outputs };
}

describe.each(files)("%s", (name) => {
  const path = join(root, name);
  const text = readFileSync(path, "utf8");
  const model = checkedModel(text, path);
  const scores = ["as it scores", model.module] as const;
  const trains = ["as it trains", model.training().module] as const;

  test.each(text.includes("training()") ? [scores, trains] : [trains])(
    "gradients are those of finite differences, %s",
    (_, module) => {
      const values = valuesOf(module);
      const { outputs } = run(scoreProgram(module, { gradients: true }), values);
      const program = scoreProgram(module);
      const step = 1e-6;
      let moved = 0;
      for (const [i, [param, value]] of [...values].entries()) {
        const gradient = outputs.get(`grad.${param}`);
        // States have none.
        if (gradient === undefined) continue;
        const direction = randoms(1_299_709 * (i + 1), value.length);
        const at = (by: number): number =>
          run(program, new Map([...values, [param, value.map((v, k) => v + by * direction[k]!)]])).loss;
        const central = (by: number): number => (at(by) - at(-by)) / (2 * by);
        const wanted = dot([...gradient.data], direction);
        const off = (slope: number): number => Math.abs(slope - wanted) / (1e-7 + 1e-6 * Math.abs(wanted));
        let slope = central(step);
        // A norm of almost nothing bends a lot: then without the error of third order.
        if (off(slope) > 1) slope = (4 * central(step / 2) - slope) / 3;
        expect(off(slope), `${param}: ${slope}, not ${wanted}`).toBeLessThan(1);
        if (slope !== 0) moved++;
      }
      expect(moved).toBeGreaterThan(8);
    },
  );

  test("decoding token by token gives the logits of scoring", () => {
    const { module } = model;
    const values = valuesOf(module);
    const whole = run(scoreProgram(module), values).outputs.get("logits")!;
    const width = whole.data.length / TOKENS.length;
    const program = serveProgram(module, "decode");
    let caches: ReadonlyMap<string, Tensor> = new Map();
    const first = SEQ.lastIndexOf(0) + 1;
    for (let t = 0; t < first; t++) {
      const call = {
        tokens: [TOKENS[t]!],
        pos: [t],
        seq: [0],
        "key.pos": POS.slice(0, t + 1),
        "key.seq": SEQ.slice(0, t + 1),
        rows: [0],
      };
      const sizes = { T: 1, S: t + 1, B: 1 };
      const result = runProgram(program, { sizes, values: given(values, call), caches }, { precision: "f64" });
      ({ caches } = result);
      const row = Array.from(result.outputs.get("logits")!.data);
      const wanted = Array.from(whole.data.slice(t * width, (t + 1) * width));
      expect(Math.max(...row.map((v, k) => Math.abs(v - wanted[k]!)))).toBeLessThan(1e-9);
    }
  });
});
