/** Codes in eight bits of params, and their scales, on CUDA: those of the interpreter to the bit, whichever way neighbors lie. */
import { expect, test } from "vitest";
import { quantizeProducts } from "../../../../compiler/elaborate/quantize-products.ts";
import { lowerPrograms } from "../../../../compiler/lower/lower.ts";
import { printCuda } from "../../../../compiler/targets/cuda/print.ts";
import { runProgram } from "../../../../compiler/reference/run.ts";
import { ProgramBuilder } from "../../../../compiler/tensor-ir/builder.ts";
import type { Program } from "../../../../compiler/tensor-ir/types.ts";
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

test("a block has a tile", () => {
  const text = [...printCuda(lowerPrograms([program(["K", "H", "N"])]).kernels)];
  const all = text.flatMap(([name, file]) => (name.endsWith(".cu") ? [file] : [])).join("");
  expect(all).toContain("__shared__ unsigned tile[128 * 33];");
});
