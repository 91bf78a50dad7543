/** Which ops become one kernel, and the order of the kernels. */
import { type Op, type Program, sameType, type Value } from "../tensor-ir/types.ts";
import type { Classes, OpClass } from "./classes.ts";
import { LOOPS } from "./statements.ts";

/** Ops that run as one kernel, in the order of the program. */
export interface Unit {
  readonly kind: Exclude<OpClass, "given" | "view" | "effect">;
  readonly ops: readonly Op[];
  readonly level: number;
}

/**
 * Every op has a level: above those of what it needs, equal only inside of one row space. Ops of one level and space that
 * are connected become one kernel; a kernel never needs, through others, what it makes itself.
 *
 * Heavy ops run as early as they can. Row ops run as late as they can, so that what only the backward pass reads is made
 * there, unless they make less than they read: then early, so that what they read is free sooner.
 */
export function unitsOf(program: Program, classes: Classes): Unit[] {
  const coded = program.ops.filter((op) => !["given", "view", "effect"].includes(classes.of(op)));
  const edges = edgesOf(coded, classes);
  const early = earliest(coded, edges);
  const levels = latest(coded, edges, early, classes);
  const end = 1 + Math.max(-1, ...levels.values());
  for (const op of coded) if (isLateCopy(op, classes)) levels.set(op, end);
  return [...heavyUnits(coded, levels, classes), ...rowUnits(coded, edges, levels, classes)].toSorted(
    (a, b) => a.level - b.level || program.ops.indexOf(a.ops[0]!) - program.ops.indexOf(b.ops[0]!),
  );
}

/** A copy into a param or a state, whose old value others still read: see place-effects.ts. */
function isLateCopy(op: Op, classes: Classes): boolean {
  const [x] = op.operands;
  const [result] = op.results;
  if (op.name !== "tensor.cast" || !sameType(x!.type, result!.type)) return false;
  const users = classes.users.get(result!.id) ?? [];
  return users.length > 0 && users.every(({ name }) => name === "model.update");
}

interface Edge {
  readonly from: Op;
  /** The levels that lie between: none inside of one space. */
  readonly step: 0 | 1;
}

type Edges = ReadonlyMap<Op, readonly Edge[]>;

function edgesOf(coded: readonly Op[], classes: Classes): Edges {
  return new Map(
    coded.map((op) => {
      const inRow = classes.of(op) === "row";
      const edges = classes.operandsOf(op).flatMap(({ root, aligned }): Edge[] => {
        const from = classes.producer(root);
        if (classes.of(from) === "given") return [];
        return [{ from, step: inRow && aligned ? 0 : 1 }];
      });
      return [op, edges];
    }),
  );
}

function earliest(coded: readonly Op[], edges: Edges): Map<Op, number> {
  const levels = new Map<Op, number>();
  for (const op of coded) {
    levels.set(op, Math.max(0, ...edges.get(op)!.map(({ from, step }) => levels.get(from)! + step)));
  }
  return levels;
}

function latest(coded: readonly Op[], edges: Edges, early: ReadonlyMap<Op, number>, classes: Classes): Map<Op, number> {
  const bounds = new Map<Op, number>();
  const levels = new Map<Op, number>();
  for (const op of coded.toReversed()) {
    const bound = bounds.get(op);
    const late = classes.of(op) === "row" && bound !== undefined && !shrinks(op, classes);
    const level = late ? bound : early.get(op)!;
    levels.set(op, level);
    for (const { from, step } of edges.get(op)!) bounds.set(from, Math.min(bounds.get(from) ?? Infinity, level - step));
  }
  return levels;
}

/** Sums up: has fewer elements than the largest value that it reads, params and inputs aside. */
function shrinks(op: Op, classes: Classes): boolean {
  if (!LOOPS.has(op.name)) return false;
  const size = ({ type }: Value): number =>
    type.dims.reduce((n, label) => n * (classes.program.dims.get(label) ?? 4096), 1);
  const read = classes
    .operandsOf(op)
    .filter(({ root }) => classes.of(classes.producer(root)) !== "given")
    .map(({ root }) => size(root));
  return Math.max(0, ...read) > size(op.results[0]!);
}

function heavyUnits(coded: readonly Op[], levels: ReadonlyMap<Op, number>, classes: Classes): Unit[] {
  return coded.flatMap((op): Unit[] => {
    const kind = classes.of(op);
    if (kind === "row" || kind === "given" || kind === "view" || kind === "effect") return [];
    return [{ kind, ops: [op], level: levels.get(op)! }];
  });
}

function rowUnits(coded: readonly Op[], edges: Edges, levels: ReadonlyMap<Op, number>, classes: Classes): Unit[] {
  const rows = coded.filter((op) => classes.of(op) === "row");
  const parent = new Map(rows.map((op) => [op, op]));
  const find = (op: Op): Op => {
    let root = op;
    while (parent.get(root)! !== root) root = parent.get(root)!;
    parent.set(op, root);
    return root;
  };
  for (const op of rows) {
    for (const { from, step } of edges.get(op)!) {
      if (step === 0 && levels.get(from) === levels.get(op)) parent.set(find(from), find(op));
    }
  }
  const groups = new Map<Op, Op[]>();
  for (const op of rows) groups.set(find(op), [...(groups.get(find(op)) ?? []), op]);
  return [...groups.values()].map((ops) => ({ kind: "row", ops, level: levels.get(ops[0]!)! }));
}
