/** Sums across rows with what they sum: squares of a gradient, products of two values, are never stored. */
import type { Op } from "../tensor-ir/types.ts";
import { Classes } from "./classes.ts";
import { type Group, type Grouped, type Unit, unitsOf } from "./units.ts";

/** Elementwise ops that only one sum across rows reads are written into it. */
export function fuseSums(grouped: Grouped): Grouped {
  const { program, groups } = grouped;
  const classes = Classes.of(program);
  const units = unitsOf(grouped, classes);
  const unitOf = new Map(units.flatMap((unit) => unit.ops.map((op) => [op, unit] as const)));
  const sums = units.flatMap((unit): Group[] => {
    if (unit.kind !== "columns") return [];
    const [sum] = unit.ops;
    const ops = [...terms(sum!, unitOf, classes), sum!];
    return ops.length === 1 ? [] : [{ kind: "columns", ops }];
  });
  return { program, groups: [...groups, ...sums] };
}

/** What is read by this op alone, operands first. What it reads in turn is stored anyway. */
function terms(reader: Op, unitOf: ReadonlyMap<Op, Unit>, classes: Classes): Op[] {
  const from = new Set(reader.operands.flatMap((x) => classes.roots(x)).map((root) => classes.producer(root)));
  return [...from].flatMap((op) => {
    if (unitOf.get(op)?.kind !== "row" || !(op.name.startsWith("math.") || op.name === "tensor.cast")) return [];
    if (classes.readers(op).some((user) => user !== reader)) return [];
    const inner = terms(op, unitOf, classes);
    const stored = op.operands
      .flatMap((x) => classes.roots(x))
      .every((root) => {
        const needed = classes.producer(root);
        if (inner.includes(needed) || unitOf.get(needed)?.kind !== "row") return true;
        return classes.readers(needed).some((user) => unitOf.get(user) !== unitOf.get(needed));
      });
    return stored ? [...inner, op] : [];
  });
}
