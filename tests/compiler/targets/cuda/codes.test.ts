/** Codes in eight bits of params, and their scales, on CUDA: those of the interpreter to the bit, whichever way neighbors lie. */
import { expect, test } from "vitest";
import { quantizeProducts } from "../../../../compiler/elaborate/quantize-products.ts";
import { lowerPrograms } from "../../../../compiler/lower/lower.ts";
import { printCuda } from "../../../../compiler/targets/cuda/print.ts";
import { runProgram } from "../../../../compiler/reference/run.ts";
import { ProgramBuilder } from "../../../../compiler/tensor-ir/builder.ts";
import type { Program, Value } from "../../../../compiler/tensor-ir/types.ts";
import { e4m3Number } from "../../../support/e4m3.ts";
import { onCuda } from "../../../support/on-cuda.ts";

const SIZES = { H: 2, N: 192, K: 200 };

/** y[T, H, N] = x[T, K] w, whose dims are in this order, in eight bits, with codes and scales of w as outputs. */
function program(dims: readonly string[]): Program {
  const builder = new ProgramBuilder(new Map<string, number | null>([["T", null], ...Object.entries(SIZES)]));
  const x = builder.emit("program.input", [], { dtype: "f32", dims: ["T", "K"] }, { name: "x" });
  const w = builder.emit("model.param", [], { dtype: "f32", dims }, { name: "w" });
  const y = builder.emit("tensor.contract", [x, w], { dtype: "f32", dims: ["T", "H", "N"] });
  builder.effect("program.output", [y], { name: "y" });
  const eight = quantizeProducts(builder.finish("products"), {
    activations: 128,
    weights: [128, 128],
    quantizes: () => true,
  });
  const more = new ProgramBuilder(new Map(eight.dims), 1000);
  for (const op of eight.ops) more.push(op);
  for (const value of eight.ops.flatMap(({ results }) => results)) {
    if ((value.name !== "codes" && value.name !== "scale") || value.type.dims.includes("T")) continue;
    more.effect("program.output", [value], { name: value.name });
  }
  return more.finish("products");
}

/** A product and the gradient of its weights in eight bits, from numbers in bf16. */
function gradient(): Program {
  const builder = new ProgramBuilder(new Map<string, number | null>([["T", null], ...Object.entries(SIZES)]));
  const input = (name: string, dims: readonly string[]): Value =>
    builder.emit("program.input", [], { dtype: "bf16", dims }, { name });
  const [x, dy] = [input("x", ["T", "K"]), input("dy", ["T", "N"])];
  const w = builder.emit("model.param", [], { dtype: "f32", dims: ["K", "N"] }, { name: "w" });
  const narrow = builder.emit("tensor.cast", [w], { dtype: "bf16", dims: ["K", "N"] });
  const y = builder.emit("tensor.contract", [x, narrow], { dtype: "bf16", dims: ["T", "N"] });
  const dw = builder.emit("tensor.contract", [x, dy], { dtype: "bf16", dims: ["K", "N"] });
  builder.effect("program.output", [y], { name: "y" });
  builder.effect("program.output", [dw], { name: "dw" });
  const quantization = { activations: 128, weights: [128, 128], quantizes: () => true } as const;
  return quantizeProducts(builder.finish("gradient"), quantization);
}

function drawn(size: number, seed: number): Float32Array {
  let word = seed;
  return Float32Array.from({ length: size }, () => {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
    // Tiles of very different sizes.
    return (word / 2 ** 31 - 1) * 2 ** ((word >>> 8) % 12);
  });
}

test.each([[["K", "H", "N"]], [["H", "N", "K"]]])(
  "of a param [%s]",
  async (dims) => {
    const eight = program(dims);
    const T = 9;
    const [x, w] = [drawn(T * SIZES.K, 1), drawn(SIZES.H * SIZES.N * SIZES.K, 2)];
    const values = new Map([
      ["x", { data: [...x] }],
      ["w", { data: [...w] }],
    ]);
    const want = runProgram(eight, { sizes: { T }, values }).outputs;
    const session = await onCuda([eight]);
    session.write("w", w);
    const got = await session.run({ program: "products", sizes: { T }, inputs: { x } });
    session.close();
    expect(Array.from(got["scale"]!)).toEqual(Array.from(want.get("scale")!.data));
    expect(Array.from(got["codes"]!, e4m3Number)).toEqual(Array.from(want.get("codes")!.data));
  },
  300_000,
);

test("so has one of tokens, whatever their number, also where channels fill no block", () => {
  const [{ kernels }, channels] = [lowerPrograms([gradient()]), [192, 200]];
  const text = [...printCuda(kernels)].flatMap(([name, file]) => (name.startsWith("rows_codes") ? [file] : []));
  for (const count of channels) {
    const own = text.filter((file) => file.includes(`write codes: f8e4m3[T_by_128, ${count}, 128]`)).join("");
    expect(own).toContain("__shared__ unsigned tile[128 * 33];");
    expect(own).toContain(`min(first_of_tile + r, ${count - 1})`);
  }
});

test("a block has a tile", () => {
  const text = [...printCuda(lowerPrograms([program(["K", "H", "N"])]).kernels)];
  const all = text.flatMap(([name, file]) => (name.endsWith(".cu") ? [file] : [])).join("");
  expect(all).toContain("__shared__ unsigned tile[128 * 33];");
});
