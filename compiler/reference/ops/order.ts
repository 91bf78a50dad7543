import type { DimLabel } from "../../tensor-ir/types.ts";
import { offsets, type Sizes, sizeOf, stridesOf, type Tensor } from "../tensor.ts";

/** Calls `visit` for every row of x along a dim, with the offsets of the row in x and in the result. */
export function eachRow(
  x: Tensor,
  result: Tensor,
  dim: DimLabel,
  sizes: Sizes,
  visit: (atX: number, atResult: number) => void,
): void {
  const others = x.dims.filter((label) => label !== dim);
  const inX = offsets(others, sizes, stridesOf(x));
  const inResult = offsets(others, sizes, stridesOf(result));
  for (let i = 0; i < inX.length; i++) visit(inX[i]!, inResult[i]!);
}

/** Calls `visit` for every row with its indices in descending order of the elements: see `descending`. */
export function eachOrderedRow(
  x: Tensor,
  result: Tensor,
  dim: DimLabel,
  sizes: Sizes,
  visit: (order: readonly number[], atResult: number) => void,
): void {
  const stride = stridesOf(x).get(dim)!;
  const indices = Array.from({ length: sizeOf(sizes, dim) }, (_, i) => i);
  eachRow(x, result, dim, sizes, (atX, atResult) => {
    const row = indices.map((i) => x.data[atX + i * stride]!);
    visit(
      indices.toSorted((i, j) => descending(row[i]!, row[j]!)),
      atResult,
    );
  });
}

/** Larger first, NaN last. Sorting is stable: the lowest index first among equals. */
function descending(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a === b ? 0 : b > a ? 1 : -1;
}
