import type { DimLabel, DimTable, Value } from "../types.ts";

/* Label arithmetic that the op rules, autodiff and the interpreter share. Order matters: it is memory order. */

/** The union in order of appearance: dims of the first list, then those of the next that are new. */
export function joinDims(...lists: readonly (readonly DimLabel[])[]): DimLabel[] {
  return [...new Set(lists.flat())];
}

/** The labels of `dims` that are not in `removed`. */
export function withoutDims(dims: readonly DimLabel[], removed: readonly DimLabel[]): DimLabel[] {
  return dims.filter((label) => !removed.includes(label));
}

/** `dims` with `label` replaced, at its place, by `by`. */
export function replaceDim(dims: readonly DimLabel[], label: DimLabel, by: readonly DimLabel[]): DimLabel[] {
  return dims.flatMap((d) => (d === label ? by : [d]));
}

/** Whether every label of `inner` is in `outer`. */
export function isWithin(inner: readonly DimLabel[], outer: readonly DimLabel[]): boolean {
  return inner.every((label) => outer.includes(label));
}

/** Whether both lists hold the same labels, in any order. */
export function sameDims(a: readonly DimLabel[], b: readonly DimLabel[]): boolean {
  return a.length === b.length && isWithin(a, b);
}

/** `T, D`, or `none` for a scalar: for messages. */
export function dimsText(dims: readonly DimLabel[]): string {
  return dims.length === 0 ? "none" : dims.join(", ");
}

/** The size of a dim when it is known at compile time. */
export function knownSize(dims: DimTable, label: DimLabel): number | undefined {
  return dims.get(label) ?? undefined;
}

/** The product of the sizes, or undefined when one of them is bound at run time. */
export function knownProduct(dims: DimTable, labels: readonly DimLabel[]): number | undefined {
  return knownTotal(dims, labels, 1, (a, b) => a * b);
}

/** The sum of the sizes, or undefined when one of them is bound at run time. */
export function knownSum(dims: DimTable, labels: readonly DimLabel[]): number | undefined {
  return knownTotal(dims, labels, 0, (a, b) => a + b);
}

function knownTotal(
  dims: DimTable,
  labels: readonly DimLabel[],
  start: number,
  add: (a: number, b: number) => number,
): number | undefined {
  let total = start;
  for (const label of labels) {
    const size = knownSize(dims, label);
    if (size === undefined) return undefined;
    total = add(total, size);
  }
  return total;
}

export function dimsOf(value: Value): readonly DimLabel[] {
  return value.type.dims;
}

/** A fault when the result has labels that are not allowed: none of the operands gives them. */
export function resultWithin(result: Value, allowed: readonly DimLabel[]): string | false {
  const extra = withoutDims(dimsOf(result), allowed);
  return extra.length > 0 && `no operand gives the result the dims ${dimsText(extra)}`;
}
