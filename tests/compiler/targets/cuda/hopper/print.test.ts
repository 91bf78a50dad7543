import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseKernels } from "../../../../../compiler/kernel-ir/parse.ts";
import type { GemmKernel, PlaneKernel } from "../../../../../compiler/kernel-ir/types.ts";
import { printHopperAttention } from "../../../../../compiler/targets/cuda/hopper/attention.ts";
import { planAttention } from "../../../../../compiler/targets/cuda/hopper/attention-plan.ts";
import { printHopperBackward } from "../../../../../compiler/targets/cuda/hopper/backward.ts";
import { planBackward } from "../../../../../compiler/targets/cuda/hopper/backward-plan.ts";
import { ATTENTION_RESERVED, HOPPER_RESERVED } from "../../../../../compiler/targets/cuda/hopper/reserved.ts";
import { withoutReserved } from "../../../../../compiler/targets/reserved.ts";
import { printHopperGemm } from "../../../../../compiler/targets/cuda/hopper/gemm.ts";
import { planFew, planGemm } from "../../../../../compiler/targets/cuda/hopper/gemm-plan.ts";
import { compileCuda, noNvcc } from "../../../../support/nvcc.ts";

/**
 * Matrix products of DeepSeek-V3, in bf16, in eight bits, and of stored codes, as `dskc build specs/deepseek-v3.dsk --emit kernel` prints them.
 * Products with many results, or results of many inputs: GELU in the form of a tanh in training, gradients of experts of 520 columns.
 */
const kernels = ["v3.kernels", "fp8.kernels", "codes.kernels", "results.kernels"].flatMap(
  (name) => parseKernels(readFileSync(join(import.meta.dirname, name), "utf8")).kernels as GemmKernel[],
);

/** Attention of DeepSeek-V3, DeepSeek-V3.2 and Qwen3-30B-A3B, in training and with a cache, printed so; scores with a cap, of heads of 256, too. */
const planes = parseKernels(readFileSync(join(import.meta.dirname, "attention.kernels"), "utf8"))
  .kernels as PlaneKernel[];

/**
 * The same backward: DeepSeek-V3, where rows have kept what their softmaxes need and where they have not, DeepSeekMath 7B,
 * Qwen3-30B-A3B, DeepSeek-V3.2, and heads of 128 whose scores have a cap.
 */
const backward = parseKernels(readFileSync(join(import.meta.dirname, "backward.kernels"), "utf8"))
  .kernels as PlaneKernel[];

const files = [
  ...kernels.flatMap((kernel) => {
    const plan = planGemm(withoutReserved(kernel, HOPPER_RESERVED));
    if ("why" in plan) throw new Error(`${kernel.name}: ${plan.why}`);
    const few = planFew(plan);
    const text = { name: kernel.name, text: printHopperGemm(plan).text };
    return few === undefined ? [text] : [text, { name: `${kernel.name}_few`, text: printHopperGemm(few).text }];
  }),
  ...planes.flatMap((kernel) => {
    const plan = planAttention(withoutReserved(kernel, ATTENTION_RESERVED));
    if ("why" in plan) throw new Error(`${kernel.name}: ${plan.why}`);
    const { text, more = new Map<string, string>() } = printHopperAttention(plan);
    // What combines shares of columns is a file of its own.
    const [tensor] = more.values();
    if (tensor === undefined) return [{ name: kernel.name, text }];
    return [
      { name: kernel.name, text: tensor },
      { name: `${kernel.name}_combine`, text },
    ];
  }),
  ...backward.flatMap((kernel) => {
    const plan = planBackward(withoutReserved(kernel, ATTENTION_RESERVED));
    if ("why" in plan) throw new Error(`${kernel.name}: ${plan.why}`);
    const { text, more } = printHopperBackward(plan);
    return [
      { name: `${kernel.name}_columns`, text },
      ...[...more!.values()].map((rows) => ({ name: `${kernel.name}_rows`, text: rows })),
    ];
  }),
];

describe("kernels for Hopper", () => {
  test.each([
    "gemm_h",
    "gemm_mul",
    "gemm_cast_14",
    "gemm_contract_7",
    "gemm_h_few",
    "fp8_exact",
    "fp8_mul_3",
    "fp8_gradients",
    "fp8_gradients_of_experts",
    "int8_wo",
    "int4_down",
    "plane_latent",
    "plane_grouped_cached",
    "plane_absorbed",
    "plane_absorbed_combine",
    "plane_found_backward_rows",
    "plane_latent_backward_rows",
    "plane_latent_backward_columns",
  ])("%s is as it was reviewed", async (name) => {
    const { text } = files.find((file) => file.name === name)!;
    await expect(text).toMatchFileSnapshot(`${name}.cu`);
  });

  test.each(files)("$name has at most 400 lines, none of them wide", ({ text }) => {
    const lines = text.split("\n");
    expect(lines.length).toBeLessThanOrEqual(400);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(180);
  });

  test.skipIf(noNvcc !== undefined).each(files)(`$name compiles for sm_90a (${noNvcc ?? "nvcc"})`, ({ text }) => {
    const { seconds, ...rest } = compileCuda(text, "90a");
    expect(rest).toEqual({ errors: [], warnings: [], spilled: 0 });
    expect(seconds).toBeLessThan(5);
  });
});
