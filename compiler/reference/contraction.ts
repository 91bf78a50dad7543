import type { DimLabel } from "../tensor-ir/types.ts";
import { offsets, type Sizes, stridesOf, type Tensor } from "./tensor.ts";

/** Offsets over one group of dims into both operands and into the result. */
interface Group {
  readonly a: Int32Array;
  readonly b: Int32Array;
  readonly result: Int32Array;
}

/** A product of two tensors over some dims, with sums over those that the result lacks, as a batch of matrix products. */
export interface Contraction {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly result: Tensor;
  /** Dims of all three. */
  readonly batch: Group;
  /** Dims of a and the result. */
  readonly rows: Group;
  /** Dims of b and the result. */
  readonly columns: Group;
  readonly summed: Group;
  /** Whether neighbors in b are neighbors in the sum, rather than columns. */
  readonly dot: boolean;
}

export function planContraction(
  a: Tensor,
  b: Tensor,
  result: Tensor,
  over: readonly DimLabel[],
  sizes: Sizes,
): Contraction {
  const strides = { a: stridesOf(a), b: stridesOf(b), result: stridesOf(result) };
  const group = (dims: readonly DimLabel[]): Group => ({
    a: offsets(dims, sizes, strides.a),
    b: offsets(dims, sizes, strides.b),
    result: offsets(dims, sizes, strides.result),
  });
  const kept = over.filter((label) => strides.result.has(label));
  const summed = over.filter((label) => !strides.result.has(label));
  const columns = kept.filter((label) => !strides.a.has(label));
  const nearest = (dims: readonly DimLabel[]): number =>
    Math.min(...dims.map((label) => strides.b.get(label) ?? Infinity));
  return {
    a,
    b,
    result,
    batch: group(kept.filter((label) => strides.a.has(label) && strides.b.has(label))),
    rows: group(kept.filter((label) => !strides.b.has(label))),
    columns: group(columns),
    summed: group(summed),
    dot: nearest(summed) <= nearest(columns),
  };
}

/**
 * Adds the products to the result, from these elements of the tensors on. Sums run in the order that `over` gives the summed
 * dims, whatever the loops, so the last bit does not depend on the memory order of b.
 */
export function contract(plan: Contraction, atA = 0, atB = 0, atResult = 0): void {
  const { batch, rows } = plan;
  const row = plan.dot ? dotRow : axpyRow;
  const sums = new Float64Array(plan.columns.b.length);
  for (let i = 0; i < batch.a.length; i++) {
    for (let j = 0; j < rows.a.length; j++) {
      const [a, b] = [atA + batch.a[i]! + rows.a[j]!, atB + batch.b[i]! + rows.b[j]!];
      row(plan, a, b, sums);
      addRow(plan, atResult + batch.result[i]! + rows.result[j]!, sums);
    }
  }
}

/** One sum after the other. */
function dotRow({ a, b, columns, summed }: Contraction, atA: number, atB: number, sums: Float64Array): void {
  const [x, y] = [a.data, b.data];
  const [inA, inB, count] = [summed.a, summed.b, summed.a.length];
  for (let j = 0; j < sums.length; j++) {
    const at = atB + columns.b[j]!;
    let sum = 0;
    for (let k = 0; k < count; k++) sum += x[atA + inA[k]!]! * y[at + inB[k]!]!;
    sums[j] = sum;
  }
}

/** All sums of the row at once. */
function axpyRow({ a, b, columns, summed }: Contraction, atA: number, atB: number, sums: Float64Array): void {
  const [x, y] = [a.data, b.data];
  const inB = columns.b;
  sums.fill(0);
  for (let k = 0; k < summed.a.length; k++) {
    const factor = x[atA + summed.a[k]!]!;
    const at = atB + summed.b[k]!;
    for (let j = 0; j < sums.length; j++) sums[j]! += factor * y[at + inB[j]!]!;
  }
}

function addRow({ result, columns }: Contraction, at: number, sums: Float64Array): void {
  const { data } = result;
  for (let j = 0; j < sums.length; j++) data[at + columns.result[j]!]! += sums[j]!;
}
