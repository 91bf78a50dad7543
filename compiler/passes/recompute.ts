import { isGiven, lifetimes, peakBytes, valueBytes } from "../analysis/liveness.ts";
import { opDefinition } from "../tensor-ir/ops/table.ts";
import type { DimLabel, Op, Program, Value } from "../tensor-ir/types.ts";
import type { Pass } from "./pass.ts";
import { builderFor } from "./scope.ts";

/** How often a budget may be tried for: each time the largest value goes. */
const MOST_TRIES = 200;

/**
 * Computes values of the forward part again where the backward part first needs them, instead of keeping them. Which ones:
 * functions of one value that is kept as well, where only elementwise ops read them, which is faster than memory; those with the
 * names given; or, for a budget, the largest ones that cost no matrix work until the peak fits. Values with effects, parameters
 * and inputs are never computed twice.
 */
export const recompute: Pass = {
  name: "recompute",
  run(program, { recompute: wanted, sizes = new Map() }) {
    const boundary = program.ops.findIndex(({ name }) => name === "loss.global");
    if (boundary < 0) return program;
    const kept = keptAcross(program, boundary);
    const chosen = elementwise(program, boundary, kept);
    if (wanted !== undefined && "budget" in wanted)
      return withinBudget(program, boundary, kept, chosen, wanted.budget, sizes);
    const patterns = (wanted?.values ?? []).map(patternOf);
    for (const { id, name } of kept) if (name !== undefined && patterns.some((p) => p.test(name))) chosen.add(id);
    return again(program, boundary, chosen);
  },
};

/** Functions of one kept value that only elementwise ops read behind the boundary. */
function elementwise(program: Program, boundary: number, kept: readonly Value[]): Set<number> {
  const ids = new Set(kept.map(({ id }) => id));
  const isMath = ({ name }: Op): boolean => name.startsWith("math.");
  const functions = program.ops
    .slice(0, boundary)
    .filter(
      (op) => isMath(op) && op.operands.length === 1 && ids.has(op.operands[0]!.id) && ids.has(op.results[0]!.id),
    );
  const others = program.ops.slice(boundary).filter((op) => !isMath(op));
  const read = new Set(others.flatMap(({ operands }) => operands.map(({ id }) => id)));
  return new Set(functions.map(({ results }) => results[0]!.id).filter((id) => !read.has(id)));
}

function patternOf(text: string): RegExp {
  return new RegExp(
    `^${text
      .split("*")
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`,
  );
}

/** Values made before the boundary and read behind it, that may be made twice. */
function keptAcross(program: Program, boundary: number): Value[] {
  return lifetimes(program)
    .filter(({ from, to }) => from < boundary && to >= boundary && mayRepeat(program.ops[from]!))
    .map(({ value }) => value);
}

function mayRepeat(op: Op): boolean {
  return !isGiven(op) && !opDefinition(op.name).effect && op.results.length === 1;
}

/** The program with these values made again behind the boundary, just before their first use there. */
function again(program: Program, boundary: number, chosen: ReadonlySet<number>): Program {
  if (chosen.size === 0) return program;
  const builder = builderFor(program);
  const made = new Map(program.ops.slice(0, boundary).flatMap((op) => op.results.map(({ id }) => [id, op] as const)));
  const copies = new Map<number, Value>();
  const copyOf = (value: Value): Value => {
    if (!chosen.has(value.id)) return value;
    const known = copies.get(value.id);
    if (known !== undefined) return known;
    const op = made.get(value.id)!;
    const operands = op.operands.map(copyOf);
    const copy = builder.value(value.type, value.name);
    builder.push({ ...op, operands, results: [copy] });
    copies.set(value.id, copy);
    return copy;
  };
  for (const [i, op] of program.ops.entries()) {
    builder.loc = op.loc;
    builder.push(i < boundary ? op : { ...op, operands: op.operands.map(copyOf) });
  }
  return builder.finish(program.name);
}

function withinBudget(
  program: Program,
  boundary: number,
  kept: readonly Value[],
  first: ReadonlySet<number>,
  budget: number,
  sizes: ReadonlyMap<DimLabel, number>,
): Program {
  const ops = new Map(program.ops.flatMap((op) => op.results.map(({ id }) => [id, op] as const)));
  const cheap = kept.filter(({ id }) => !/contract|combine|dispatch/.test(ops.get(id)!.name));
  const largest = cheap.toSorted((a, b) => valueBytes(b, program, sizes) - valueBytes(a, program, sizes));
  const chosen = new Set(first);
  let result = again(program, boundary, chosen);
  for (const { id } of largest.slice(0, MOST_TRIES)) {
    if (peakBytes(result, sizes) <= budget) break;
    chosen.add(id);
    result = again(program, boundary, chosen);
  }
  return result;
}
