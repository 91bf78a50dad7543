/**
 * A model in bf16 on every device, on CUDA with its products on the tensor cores of Hopper: results are as near to those without
 * rounding as the interpreter's are when it rounds every value to its declared dtype.
 */
import { describe, expect, test } from "vitest";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { lowerPrograms } from "../../compiler/lower/lower.ts";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import { outputTypes, scoreOn } from "../../compiler/package/score-on.ts";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { type RowScores, scoreRows } from "../../compiler/reference/score-rows.ts";
import { rounding } from "../../compiler/reference/rounding.ts";
import { printCuda } from "../../compiler/targets/cuda/print.ts";
import { encoded } from "../../runtime/device/elements.ts";
import type { Session } from "../../runtime/device/session.ts";
import type { SimtKernels } from "../../runtime/program/grids.ts";
import { onCpu } from "../support/on-cpu.ts";
import { onCuda } from "../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";
import { checkedModel } from "../support/probe.ts";
import { drawnWeights } from "../support/random-config.ts";

const latent = (width: number): string => `Mla[D, H](Q: 64, C: 64, N: 32, R: R, Vh: ${width}, rope: Rope[R])`;

/** A model with layers: mixers, and what follows them. */
const model = (layers: readonly (readonly [mixer: string, ffn: string])[]): string => `edition 2026

import { Mla, Mqa } from "std/attention"
import { DeepSeekMoe } from "std/moe"
import { Decoder, Embedding, RmsNorm, SwiGlu } from "std/nn"
import { Rope } from "std/rope"

model Small {
  dim V = 192
  dim D = 128
  dim H = 2
  dim R = 32
  dtype = bf16

  use embed = Embedding[V, D]
  use trunk = stack {
${layers.map(([mixer, ffn]) => `    1 of Decoder[D](mixer: ${mixer}, ffn: ${ffn})`).join("\n")}
  }
  use norm = RmsNorm[D]
  use head = Embedding[V, D].transposed

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return head(norm(trunk(embed(tokens), pos)))
  }
}
`;

const MODELS = {
  "latent attention and experts": model([
    [latent(64), "SwiGlu[D, 192]"],
    [latent(64), "DeepSeekMoe[D](E: 4, F: 64, K: 2, G: 2, keep: 1)"],
  ]),
  // Slopes of scores are the distance of two numbers that are the same: if one of them is rounded, that is all of it, times large keys.
  "attention to one token": model([
    ["Mqa[D, H, 64](window: 1)", "SwiGlu[D, 192]"],
    ["Mqa[D, H, 64](window: 1)", "SwiGlu[D, 192]"],
  ]),
};

const OPTIONS = { gradients: true, metrics: true } as const;
const rows = [19, 40, 11].map((length, r) => Array.from({ length }, (_, i) => (i * i * 7 + 13 * r + 5 * i) % 192));
const bf16 = rounding("bf16");
const weightOf = (path: string, shape: readonly number[]): number[] =>
  Array.from(drawnWeights(path, shape), (x) => bf16(/mixer\.(wq|wk)$/.test(path) ? 4 * x : x));

/**
 * How far results lie from those without rounding, by name: the norm of the difference over that of the whole. Not those that are zeros
 * but for rounding.
 */
function distances(exact: RowScores, { tensors, gradients }: RowScores): Map<string, number> {
  const own = new Map([...tensors, ...gradients].map(([name, { data }]) => [name, data] as const));
  return new Map(
    [...exact.tensors, ...exact.gradients].flatMap(([name, { data }]) => {
      const got = own.get(name)!;
      let [apart, whole] = [0, 0];
      for (let i = 0; i < data.length; i++) {
        apart += (got[i]! - data[i]!) ** 2;
        whole += data[i]! ** 2;
      }
      return whole < 1e-24 ? [] : [[name, Math.sqrt(apart / whole)] as const];
    }),
  );
}

describe.each(Object.entries(MODELS))("%s", (_, text) => {
  const { module } = checkedModel(text);
  const program = runPasses(scoreProgram(module, OPTIONS));
  const weights = new Map(weightsOf(module).map(({ path, shape }) => [path, { data: weightOf(path, shape) }]));
  const exact = scoreRows(module, weights, rows, { ...OPTIONS, precision: "f64" });
  const rounded = scoreRows(module, weights, rows, { ...OPTIONS, precision: "declared" });

  const check = async (session: Session): Promise<void> => {
    for (const { name, dtype, shape } of session.stores) session.write(name, encoded(weightOf(name, shape), dtype));
    const got = await scoreOn(session, outputTypes(program), rows, (label) => module.dims.get(label)!);
    session.close();
    const [predicted, found] = [distances(exact, rounded), distances(exact, got)];
    const typical = [...predicted.values()].toSorted((a, b) => a - b)[Math.floor(predicted.size / 2)]!;
    // Rounding moves results by a percent or so; without it, this would be no test of bf16.
    expect(typical).toBeGreaterThan(1e-3);
    const far = [...found].filter(([name, distance]) => !(distance <= 2 * predicted.get(name)! + typical));
    expect(far.map(([name, distance]) => [name, distance, predicted.get(name)!])).toEqual([]);
  };

  test("cpu", async () => check(await onCpu([program])), 120_000);

  test.skipIf(!HAS_WEBGPU)("webgpu", async () => check(await onWebGpu([program])), 120_000);

  test("cuda, products on tensor cores", async () => {
    const { kernels } = lowerPrograms([program]);
    const table = JSON.parse(printCuda(kernels).get("cuda.json")!) as SimtKernels;
    const products = kernels.filter(({ family }) => family === "gemm").map(({ name }) => name);
    const onTensorCores = table.kernels.filter(
      ({ name, entries }) => products.includes(name) && entries.some(({ only }) => only === "sm_90a"),
    );
    expect(onTensorCores.length).toBeGreaterThan(products.length / 2);
    await check(await onCuda([program]));
  }, 600_000);

  test("cuda, on tensor cores that are older than Hopper's", async () => {
    process.env["DSK_CAPABILITY"] = "8.0";
    try {
      await check(await onCuda([program]));
    } finally {
      delete process.env["DSK_CAPABILITY"];
    }
  }, 600_000);
});
