import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadParam, toCheckpoint } from "../../../runtime/io/params.ts";
import { Checkpoint, encodeSafetensors } from "../../../runtime/io/safetensors.ts";

function checkpoint(shapes: Readonly<Record<string, readonly number[]>>): Checkpoint {
  const tensors = Object.entries(shapes).map(([name, shape], index) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return [name, { shape, data: Array.from({ length: size }, (_, i) => 1000 * index + i) }] as const;
  });
  const path = join(mkdtempSync(join(tmpdir(), "params-")), "model.safetensors");
  writeFileSync(path, encodeSafetensors(new Map(tensors)));
  return new Checkpoint(path);
}

const layer = "model.layers.2";
const source = checkpoint({
  [`${layer}.mlp.gate.weight`]: [4, 3],
  [`${layer}.mlp.experts.0.up_proj.weight`]: [2, 3],
  [`${layer}.mlp.experts.1.up_proj.weight`]: [2, 3],
  [`${layer}.self_attn.kv_b_proj.weight`]: [10, 2],
  [`${layer}.self_attn.o_proj.weight`]: [3, 6],
  "model.norm.weight": [3],
});

test("a linear layer is stored outputs first", () => {
  expect(loadParam(source, { path: "trunk.2.ffn.gate", sizes: [3, 4] }).order).toEqual([1, 0]);
  expect(loadParam(source, { path: "trunk.2.mixer.wo", sizes: [2, 3, 3] }).order).toEqual([2, 0, 1]);
  expect(loadParam(source, { path: "norm.weight", sizes: [3] }).order).toEqual([0]);
});

test("experts are read one after the other", () => {
  const { data, order } = loadParam(source, { path: "trunk.2.ffn.experts.up", sizes: [2, 3, 2] });
  expect(order).toEqual([0, 2, 1]);
  expect(Array.from(data)).toEqual([
    ...[0, 1, 2, 3, 4, 5].map((i) => 1000 + i),
    ...[0, 1, 2, 3, 4, 5].map((i) => 2000 + i),
  ]);
});

test("keys and values share a tensor: of each head, rows of one, then of the other", () => {
  const keys = loadParam(source, { path: "trunk.2.mixer.wk_b", sizes: [2, 2, 3] });
  const values = loadParam(source, { path: "trunk.2.mixer.wv_b", sizes: [2, 2, 2] });
  expect(Array.from(keys.data, (x) => x - 3000)).toEqual([0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]);
  expect(Array.from(values.data, (x) => x - 3000)).toEqual([6, 7, 8, 9, 16, 17, 18, 19]);
  expect(keys.order).toEqual([1, 2, 0]);
});

test("what was loaded is written to the same places", () => {
  const params = [
    { path: "trunk.2.ffn.gate", sizes: [3, 4] },
    { path: "trunk.2.ffn.experts.up", sizes: [2, 3, 2] },
    { path: "trunk.2.mixer.wk_b", sizes: [2, 2, 3] },
    { path: "trunk.2.mixer.wv_b", sizes: [2, 2, 2] },
    { path: "trunk.2.mixer.wo", sizes: [2, 3, 3] },
    { path: "norm.weight", sizes: [3] },
  ];
  const written = toCheckpoint(
    source,
    params.map((param) => ({ ...param, data: inOwnOrder(param.sizes, loadParam(source, param)) })),
  );
  expect(new Set(written.keys())).toEqual(new Set(source.names));
  for (const [name, { shape, data }] of written) {
    expect(shape).toEqual(source.shapeOf(name));
    expect(Array.from(data)).toEqual(Array.from(source.read(name).data));
  }
});

test.each([
  [{ path: "trunk.3.ffn.gate", sizes: [3, 4] }, /no `model.layers.3.mlp.gate.weight`/],
  [
    { path: "trunk.2.ffn.gate", sizes: [3, 5] },
    /`model.layers.2.mlp.gate.weight` is 4 x 3; `trunk.2.ffn.gate` is 3 x 5/,
  ],
  [{ path: "trunk.2.oracle.gate", sizes: [3, 5] }, /`trunk.2.oracle.gate`: its name is in no table/],
])("%j is told apart", (param, message) => {
  expect(() => loadParam(source, param)).toThrow(message);
});

/** The elements in the param's own order of dims. */
function inOwnOrder(
  sizes: readonly number[],
  { data, order }: { data: ArrayLike<number>; order: readonly number[] },
): number[] {
  const strides = new Map<number, number>();
  let stride = 1;
  for (const dim of order.toReversed()) {
    strides.set(dim, stride);
    stride *= sizes[dim]!;
  }
  let offsets = [0];
  for (const [dim, size] of sizes.entries()) {
    offsets = offsets.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * strides.get(dim)!));
  }
  return offsets.map((at) => data[at]!);
}
