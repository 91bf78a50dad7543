/** Units whose kernels are too much for a target are taken apart, and locals that have no room there become buffers. */
import type { Capability } from "../kernel-ir/capability.ts";
import { bindingsOf, isStatic, localBytes, localsOf } from "../kernel-ir/fit.ts";
import type { Kernel } from "../kernel-ir/types.ts";
import type { Op } from "../tensor-ir/types.ts";
import type { Built } from "./build-rows.ts";
import type { Classes } from "./classes.ts";
import type { Storage } from "./storage.ts";
import type { Unit } from "./units.ts";

/** A way to cut a program into kernels. */
export interface Cut {
  readonly units: readonly Unit[];
  /** Values that are stored even where no other kernel reads them. */
  readonly spilled: ReadonlySet<number>;
}

/**
 * The next cut to try, or undefined when everything fits, or what does not fit can't be taken apart: planes, and kernels that
 * write a param in place while they read it.
 * @param built the kernels of the units, in their order, and the buffers that they have; none for blocks, which have several
 */
export function narrowed(
  { units, spilled }: Cut,
  {
    built,
    storage: { buffers },
  }: { readonly built: readonly (Built<Kernel> | undefined)[]; readonly storage: Storage },
  target: Capability,
  classes: Classes,
): Cut | undefined {
  const spill = new Set(spilled);
  const parts = units.map((unit, i) => {
    const made = built[i];
    if (made === undefined) return [unit];
    const { kernel, values, buffers: given } = made;
    const bound = bindingsOf(given, buffers, target);
    if (bound > target.bindings) return split(unit, classes, Math.ceil(bound / target.bindings));
    for (const id of outsized(kernel as Kernel, values ?? new Map(), target)) spill.add(id);
    return [unit];
  });
  const next = parts.flat();
  return next.length === units.length && spill.size === spilled.size ? undefined : { units: next, spilled: spill };
}

/** Values whose locals have no room: those of a size that only the call knows, then the largest ones. */
function outsized(kernel: Kernel, values: ReadonlyMap<string, number>, target: Capability): number[] {
  if (kernel.family !== "rows") return [];
  const locals = localsOf(kernel).filter(({ name }) => values.has(name));
  const found = target.runTimeLocals ? [] : locals.filter(({ shape }) => !isStatic(shape));
  const fixed = locals.filter(({ shape }) => isStatic(shape)).toSorted((a, b) => localBytes([a]) - localBytes([b]));
  while (localBytes(fixed) > target.itemBytes) found.push(fixed.pop()!);
  return found.map(({ name }) => values.get(name)!);
}

/**
 * The unit as several, or as it is. Products part from their epilogues; rows between those that do not meet, else anywhere.
 * @param count how many there are of rows
 */
function split(unit: Unit, classes: Classes, count: number): Unit[] {
  const { kind, ops, level } = unit;
  const updates = ops.some(({ results }) =>
    results.some(({ id }) => classes.users.get(id)?.some(({ name }) => name === "model.update")),
  );
  if (kind === "plane" || ops.length < 2 || updates) return [unit];
  if (kind !== "row") {
    return ops.flatMap((op): Unit[] => {
      const own = classes.of(op);
      return own === "given" || own === "view" || own === "effect" ? [] : [{ kind: own, ops: [op], level }];
    });
  }
  const apart = components(ops, classes);
  const lists = apart.length > 1 ? apart : ops.map((op) => [op]);
  const size = Math.ceil(lists.length / count);
  return Array.from({ length: Math.ceil(lists.length / size) }, (_, i): Unit => {
    const mine = new Set(lists.slice(i * size, (i + 1) * size).flat());
    return { kind, level, ops: ops.filter((op) => mine.has(op)) };
  });
}

/** Ops that read each other's results, in the order of their first ones. */
function components(ops: readonly Op[], classes: Classes): Op[][] {
  const own = new Set(ops);
  const of = new Map<Op, Op[]>();
  for (const op of ops) {
    const needed = op.operands.flatMap((x) => classes.roots(x)).map((root) => classes.producer(root));
    const joined = new Set(needed.filter((from) => own.has(from)).map((from) => of.get(from)!));
    const all = [...[...joined].flat(), op];
    for (const each of all) of.set(each, all);
  }
  return [...new Set(of.values())];
}
