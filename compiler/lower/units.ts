/** Which ops become one kernel, and the order of the kernels. */
import { type Op, type Program, sameType, type Value } from "../tensor-ir/types.ts";
import type { Classes, OpClass } from "./classes.ts";
import type { Fusion } from "./fusions.ts";
import type { Region } from "./planes.ts";
import { addTo } from "./grouping.ts";
import { LOOPS } from "./statements.ts";

/** Ops that run as one kernel, or as kernels for one block of rows after the other, in the order of the program. */
export interface Unit {
  readonly kind: Exclude<OpClass, "given" | "view" | "effect"> | "plane" | "blocks";
  readonly ops: readonly Op[];
  readonly level: number;
  readonly region?: Region;
  readonly sums?: readonly Op[];
}

/** Ops that a fusion makes one unit. Nothing that one of them needs depends on another one through ops outside. */
export interface Group {
  readonly kind: "plane" | "gemm" | "columns" | "blocks";
  /** In order of execution. */
  readonly ops: readonly Op[];
  /** Of a plane. */
  readonly region?: Region;
  /** Of blocks: additions of what a block gives to what those before gave. They are made in place of their first operand. */
  readonly sums?: readonly Op[];
}

/** A program, and what of it was fused. */
export interface Grouped {
  readonly program: Program;
  readonly groups: readonly Group[];
}

/**
 * Every op has a level: above those of what it needs, equal only inside of one row space or one group. Row ops
 * of one level and space that are connected become one kernel; a kernel never needs, through others, what it makes itself.
 *
 * Heavy ops run as early as they can. Row ops run as late as they can, so that what only the backward pass reads is made
 * there, unless they sum up: then early, so that what they read is free sooner.
 */
export function unitsOf(
  { program, groups }: Grouped,
  classes: Classes,
  without: ReadonlySet<Fusion> = new Set(),
): Unit[] {
  const coded = codedOps(program, classes);
  const groupOf = groupsByOp(groups);
  const edges = edgesOf(coded, classes, groupOf);
  const early = earliest(coded, edges, groupOf);
  const levels = latest(coded, edges, early, classes, groupOf);
  const end = 1 + Math.max(-1, ...levels.values());
  for (const op of coded) if (isLateCopy(op, classes)) levels.set(op, end);
  const position = new Map(program.ops.map((op, i) => [op, i] as const));
  const free = coded.filter((op) => !groupOf.has(op));
  return [
    ...groups.map((group): Unit => ({ ...group, level: levels.get(group.ops[0]!)! })),
    ...heavyUnits(free, levels, classes),
    ...rowUnits(free, edges, levels, classes, without),
  ].toSorted((a, b) => a.level - b.level || position.get(a.ops[0]!)! - position.get(b.ops[0]!)!);
}

/** Ops that some kernel has to run. */
function codedOps(program: Program, classes: Classes): Op[] {
  return program.ops.filter((op) => !["given", "view", "effect"].includes(classes.of(op)));
}

/** What each op of a kernel needs of other kernels. */
export function needsOf({ program, groups }: Grouped, classes: Classes): ReadonlyMap<Op, readonly Op[]> {
  const edges = edgesOf(codedOps(program, classes), classes, groupsByOp(groups));
  return new Map([...edges].map(([op, all]) => [op, all.map(({ from }) => from)]));
}

function groupsByOp(groups: readonly Group[]): Map<Op, Group> {
  return new Map(groups.flatMap((group) => group.ops.map((op) => [op, group] as const)));
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
type Groups = ReadonlyMap<Op, Group>;

function edgesOf(coded: readonly Op[], classes: Classes, groupOf: Groups): Edges {
  return new Map(
    coded.map((op) => {
      const group = groupOf.get(op);
      const inRow = group === undefined && classes.of(op) === "row";
      const needed = classes.operandsOf(op);
      const span = group?.region?.span;
      const bounds = span === undefined ? [] : [span.from, span.to];
      const all = [...needed, ...bounds.map((root) => ({ root, aligned: false }))];
      const edges = all.flatMap(({ root, aligned }): Edge[] => {
        const from = classes.producer(root);
        if (classes.of(from) === "given" || (group !== undefined && groupOf.get(from) === group)) return [];
        return [{ from, step: inRow && aligned && !groupOf.has(from) ? 0 : 1 }];
      });
      return [op, edges];
    }),
  );
}

/** All ops of a group have the level of the one that can run last. */
function earliest(coded: readonly Op[], edges: Edges, groupOf: Groups): Map<Op, number> {
  const levels = new Map<Op, number>();
  const level = (op: Op): number => {
    const known = levels.get(op);
    if (known !== undefined) return known;
    const together = groupOf.get(op)?.ops ?? [op];
    const own = Math.max(
      0,
      ...together.flatMap((each) => edges.get(each)!.map(({ from, step }) => level(from) + step)),
    );
    for (const each of together) levels.set(each, own);
    return own;
  };
  for (const op of coded) level(op);
  return levels;
}

function latest(
  coded: readonly Op[],
  edges: Edges,
  early: ReadonlyMap<Op, number>,
  classes: Classes,
  groupOf: Groups,
): Map<Op, number> {
  const bounds = new Map<Op, number>();
  const levels = new Map<Op, number>();
  // By early level first: what a group needs may stand behind its first op in the program.
  for (const op of coded.toSorted((a, b) => early.get(a)! - early.get(b)!).toReversed()) {
    const bound = bounds.get(op);
    const late = !groupOf.has(op) && classes.of(op) === "row" && bound !== undefined && !shrinks(op, classes);
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

function rowUnits(
  coded: readonly Op[],
  edges: Edges,
  levels: ReadonlyMap<Op, number>,
  classes: Classes,
  without: ReadonlySet<Fusion>,
): Unit[] {
  const rows = coded.filter((op) => classes.of(op) === "row");
  const parent = new Map(rows.map((op) => [op, op]));
  const find = (op: Op): Op => {
    let root = op;
    while (parent.get(root)! !== root) root = parent.get(root)!;
    parent.set(op, root);
    return root;
  };
  const siblings = new Map<string, Op>();
  for (const op of without.has("fuse-rows") ? [] : rows) {
    for (const { from, step } of edges.get(op)!) {
      if (step === 0 && levels.get(from) === levels.get(op)) parent.set(find(from), find(op));
    }
    // Rows of static dims are those of params: apart, their updates are one kernel for all shapes.
    if (without.has("fuse-siblings") || !isRunTime(op, classes)) continue;
    const key = `${levels.get(op)} ${classes.rowsOf(op).join()}`;
    const other = siblings.get(key) ?? op;
    siblings.set(key, other);
    parent.set(find(op), find(other));
  }
  const groups = new Map<Op, Op[]>();
  for (const op of rows) addTo(groups, find(op), op);
  return [...groups.values()].map((ops) => ({ kind: "row", ops, level: levels.get(ops[0]!)! }));
}

/** Whether rows are those of a run-time dim alone: codes of tiles of tokens have a row for each channel, and a printer of their own. */
function isRunTime(op: Op, classes: Classes): boolean {
  const [label, ...others] = classes.rowsOf(op);
  return others.length === 0 && label !== undefined && classes.program.dims.get(label) === null;
}
