/** Tokens that the device takes against those that JavaScript takes. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ProgramBuilder } from "../../../../compiler/tensor-ir/builder.ts";
import type { DimLabel, Program } from "../../../../compiler/tensor-ir/types.ts";
import { choose, runAndChoose } from "../../../../runtime/serve/sampling/choose.ts";
import { GREEDY } from "../../../../runtime/serve/sampling/sampling.ts";
import { HAS_WEBGPU, onWebGpu } from "../../../support/on-webgpu.ts";

const V = 150;

/** Logits f32[B, V] that are twice the input. */
function doubled(): Program {
  const builder = new ProgramBuilder(
    new Map<DimLabel, number | null>([
      ["B", null],
      ["V", V],
    ]),
  );
  const type = { dtype: "f32", dims: ["B", "V"] } as const;
  const x = builder.emit("program.input", [], type, { name: "x" }, "x");
  builder.effect("program.output", [builder.emit("math.add", [x, x], type)], { name: "logits" });
  return builder.finish("decode");
}

/** Few values, so that many are equal. */
const logit = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom(-3, -0.5, -0, 0, 0.25, 2) },
  { weight: 2, arbitrary: fc.constant(-Infinity) },
  { weight: 1, arbitrary: fc.constantFrom(Infinity, NaN, 3e38) },
);
/** GPUs may take the smallest numbers for 0. */
const normal = fc.float({ noNaN: true }).map((x) => (Math.abs(x) < 1e-30 ? 0 : x));
const row = fc.oneof(
  fc.array(logit, { minLength: V, maxLength: V }),
  fc.array(normal, { minLength: V, maxLength: V }),
  fc.constant(Array.from({ length: V }, () => -Infinity)),
);

test.skipIf(!HAS_WEBGPU)("the likeliest token is that of JavaScript", { timeout: 60_000 }, async () => {
  const session = await onWebGpu([doubled()]);
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 5 }), fc.integer({ min: 1, max: V + 3 }), async (rows, known) => {
      const x = Float32Array.from(rows.flat());
      const call = { program: "decode", sizes: { B: rows.length }, inputs: { x }, outputs: [] };
      const choices = rows.map((_, i) => ({ row: i, rules: GREEDY, noise: [1, 2] as const, touched: [], counts: [] }));
      const { outputs, chosen } = await runAndChoose(session, call, choices, known);
      expect(outputs).toEqual({});
      const logits = x.map((value) => value + value);
      expect(chosen).toEqual(
        choices.map((choice, i) => choose(logits.subarray(i * V, i * V + Math.min(known, V)), choice)),
      );
    }),
    { numRuns: 40 },
  );
  session.close();
});
