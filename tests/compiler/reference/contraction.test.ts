import fc from "fast-check";
import { expect, test } from "vitest";
import { contract, planContraction } from "../../../compiler/reference/contraction.ts";
import { stridesOf, type Tensor, zeros } from "../../../compiler/reference/tensor.ts";

const SIZES = new Map([
  ["A", 2],
  ["B", 3],
  ["C", 2],
  ["D", 4],
]);
const LABELS = [...SIZES.keys()];

const dims = fc.shuffledSubarray(LABELS);

function filled(labels: readonly string[], factor: number): Tensor {
  const tensor = zeros({ dtype: "f64", dims: labels }, SIZES);
  tensor.data.forEach((_, i) => (tensor.data[i] = ((i * factor) % 17) - 8));
  return tensor;
}

/** The element at an index by label. */
function offset(tensor: Tensor, index: ReadonlyMap<string, number>): number {
  let at = 0;
  for (const [label, stride] of stridesOf(tensor)) at += stride * index.get(label)!;
  return at;
}

function indices(labels: readonly string[]): Map<string, number>[] {
  return labels.reduce<Map<string, number>[]>(
    (all, label) =>
      all.flatMap((index) => Array.from({ length: SIZES.get(label)! }, (_, i) => new Map([...index, [label, i]]))),
    [new Map()],
  );
}

test("is the sum over what the result lacks, in whatever memory order", () => {
  fc.assert(
    fc.property(dims, dims, dims, (inA, inB, wanted) => {
      const all = LABELS.filter((label) => inA.includes(label) || inB.includes(label));
      const [a, b] = [filled(inA, 5), filled(inB, 7)];
      const type = { dtype: "f64", dims: wanted.filter((label) => all.includes(label)) } as const;
      const [result, expected] = [zeros(type, SIZES), zeros(type, SIZES)];
      contract(planContraction(a, b, result, all, SIZES));
      for (const index of indices(all)) {
        expected.data[offset(expected, index)]! += a.data[offset(a, index)]! * b.data[offset(b, index)]!;
      }
      expect(result.data).toEqual(expected.data);
    }),
    { numRuns: 300 },
  );
});

test("the order of a sum does not depend on the memory order of b", () => {
  const sizes = new Map([
    ["M", 3],
    ["K", 40],
    ["N", 5],
  ]);
  const a = zeros({ dtype: "f64", dims: ["M", "K"] }, sizes);
  a.data.forEach((_, i) => (a.data[i] = Math.sin(i) * 10 ** (i % 7)));
  const columns = zeros({ dtype: "f64", dims: ["K", "N"] }, sizes);
  columns.data.forEach((_, i) => (columns.data[i] = Math.cos(i)));
  const rows = zeros({ dtype: "f64", dims: ["N", "K"] }, sizes);
  for (let k = 0; k < 40; k++) for (let n = 0; n < 5; n++) rows.data[n * 40 + k] = columns.data[k * 5 + n]!;
  const [first, second] = [columns, rows].map((b) => {
    const result = zeros({ dtype: "f64", dims: ["M", "N"] }, sizes);
    contract(planContraction(a, b, result, ["M", "K", "N"], sizes));
    return result.data;
  });
  expect(second).toEqual(first);
});
