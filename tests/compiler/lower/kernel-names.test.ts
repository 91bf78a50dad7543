/** Kernels and launches say in the words of the `.dsk` text what they are. */
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../../../compiler/elaborate/score.ts";
import { lowered } from "../../../compiler/package/package.ts";
import { PRINTERS } from "../../../compiler/package/package.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";

const TEXT = `edition 2026

import { Embedding, RmsNorm } from "std/nn"

block Gate[D, F] {
  param gate: [D, F]
  param weight: [D, F]
  param down: [F, D]

  fn forward(x: [T, D]) -> [T, D] {
    return mixed(x) @ down
  }

  fn mixed(x: [T, D]) -> [T, F] {
    return sigmoid(x @ gate) * (x @ weight)
  }
}

model Small {
  dim V = 40
  dim D = 24
  use embed = Embedding[V, D]
  use norm = RmsNorm[D]
  use mixer = Gate[D, 72]

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    let h = embed(tokens)
    let more = h + mixer(norm(h))
    return embed.transposed(more)
  }
}
`;

const [model] = checkFile({ path: "some/folder/small.dsk", text: TEXT }, new Diagnostics()).models.values();
const { kernels, programs } = lowered([scoreProgram(model!.module, { gradients: true })]);

describe("kernels", () => {
  test("of products have the names of params, the block's for what is called `weight`", () => {
    const products = kernels.flatMap(({ name, family }) => (family === "gemm" ? [name] : []));
    expect(products).toEqual(expect.arrayContaining(["gemm_gate_mixer", "gemm_down", "gemm_grad", "gemm_grad_2"]));
    expect(products.filter((name) => /contract|mul|cast/.test(name))).toEqual([]);
  });

  test("that store nothing with a name have that of their function", () => {
    expect(kernels.map(({ name }) => name)).toContain("rows_rms_norm");
  });

  test("know all functions that they came from, and their files say it", () => {
    const mixed = kernels.find(({ name }) => name === "gemm_gate_mixer")!;
    expect(mixed.from).toEqual(["Gate.mixed"]);
    for (const [target, file] of [
      ["cpu", "gemm_gate_mixer.cc"],
      ["webgpu", "gemm_gate_mixer.wgsl"],
      ["cuda", "cuda/gemm_gate_mixer.cu"],
    ] as const) {
      const text = [...PRINTERS[target](kernels)].find(([path]) => path.endsWith(file))![1];
      expect(text.split("\n").slice(0, 2)).toEqual([`// gemm_gate_mixer: gemm`, "// of Gate.mixed"]);
    }
  });
});

test("launches know their place in the text, whatever folder it is in", () => {
  const places = new Map(programs[0]!.launches.map(({ kernel, at }) => [kernel, at]));
  expect(places.get("gemm_gate_mixer")).toBe("small.dsk:15:5");
  expect(places.get("gemm_down")).toBe("small.dsk:28:5");
  expect(places.get("rows_rms_norm")).toMatch(/^(small|std\/nn)\.dsk:\d+:\d+$/);
});
