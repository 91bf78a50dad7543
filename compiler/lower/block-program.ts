/** The ops of a group that runs block by block, as a program of its own: what is done for one block of rows. */
import type { Op, Program, Value } from "../tensor-ir/types.ts";
import type { Classes } from "./classes.ts";
import type { Storage } from "./storage.ts";
import type { Unit } from "./units.ts";

/**
 * Rows of a block. Many enough that reading the static operand of a product again for each block, and adding to what blocks
 * before summed up, cost little beside the multiplications: bench/RESULTS.md has 256 and 512. Few enough that a block of the
 * largest vocabularies is small beside the matrix of their head.
 */
export const BLOCK_ROWS = 512;

/** What the ops need from outside are inputs, and what is read outside are outputs; both have their places already. */
export function blockProgram({ ops }: Unit, classes: Classes, storage: Storage): Program {
  const own = new Set(ops);
  const all: Op[] = [];
  const seen = new Set<Op>();
  const provide = (value: Value): void => {
    const op = classes.producer(value);
    if (own.has(op) || seen.has(op)) return;
    seen.add(op);
    if (classes.of(op) === "view") {
      for (const x of op.operands) provide(x);
      all.push(op);
    } else {
      all.push({ name: "program.input", operands: [], results: [value], attrs: { name: `outside.${value.id}` } });
    }
  };
  for (const op of ops) {
    for (const x of op.operands) provide(x);
    all.push(op);
  }
  for (const { results } of ops) {
    for (const value of results) {
      if (storage.of(value) === undefined) continue;
      all.push({ name: "program.output", operands: [value], results: [], attrs: { name: `outside.${value.id}` } });
    }
  }
  return { name: classes.program.name, dims: classes.program.dims, ops: all };
}
