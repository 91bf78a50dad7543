/** Copies where an effect hands out what has no code of its own, or what another effect hands out already. */
import { stringAttr } from "../tensor-ir/attrs.ts";
import type { Op, Value } from "../tensor-ir/types.ts";
import { builderFor } from "../passes/scope.ts";
import { Classes } from "./classes.ts";
import type { Fusion } from "./fusions.ts";
import { addTo } from "./grouping.ts";
import { LOOPS } from "./statements.ts";
import { type Grouped, unitsOf } from "./units.ts";

/**
 * After this, every operand of an effect is made by code, for this effect alone, so that it can be made where it has to
 * go. An update goes straight into its param or state where everybody else has read the old value before; otherwise a
 * copy at the end of the program writes it.
 */
export function placeEffects({ program, groups }: Grouped, without: ReadonlySet<Fusion>): Grouped {
  const classes = Classes.of(program);
  const direct = directUpdates({ program, groups }, classes, without);
  const builder = builderFor(program);
  const taken = new Set<number>();
  const late: Op[] = [];
  for (const op of program.ops) {
    // What a loss is made of is part of the program already: its mean is an output.
    if (op.name === "loss.term") continue;
    if (classes.of(op) !== "effect") {
      builder.push(op);
      continue;
    }
    const postponed = op.name === "model.update" && !direct.has(op);
    const operands = op.operands.map((value) => {
      const own = !["given", "view"].includes(classes.of(classes.producer(value)));
      const appended = classes.producer(value).name === "cache.append";
      if (own && !appended && !taken.has(value.id) && !postponed) {
        taken.add(value.id);
        return value;
      }
      const copy = builder.value(value.type, value.name);
      const cast: Op = { name: "tensor.cast", operands: [value], results: [copy], attrs: {} };
      if (postponed) late.push(cast);
      else builder.push(cast);
      return copy;
    });
    if (postponed) late.push({ ...op, operands });
    else builder.push({ ...op, operands });
  }
  for (const op of late) builder.push(op);
  return { program: builder.finish(program.name), groups };
}

/** Updates whose new value may overwrite the old one while it is made. */
function directUpdates({ program, groups }: Grouped, classes: Classes, without: ReadonlySet<Fusion>): Set<Op> {
  // Without updates nobody asks in which order kernels run.
  if (!program.ops.some(({ name }) => name === "model.update")) return new Set();
  const units = unitsOf({ program, groups }, classes, without);
  const place = new Map(units.flatMap((unit, at) => unit.ops.map((op) => [op, { unit, at }] as const)));
  const readers = new Map<string, { readonly op: Op; readonly plain: boolean }[]>();
  for (const op of program.ops) {
    if (!place.has(op)) continue;
    for (const operand of op.operands) {
      for (const root of classes.roots(operand)) {
        const store = classes.producer(root);
        if (store.name !== "model.param" && store.name !== "model.state") continue;
        const name = stringAttr(store.attrs, "name");
        const plain = root === operand && isElementwise(op, root);
        addTo(readers, name, { op, plain });
      }
    }
  }
  const stored = new Set(
    program.ops.flatMap((op) =>
      classes.of(op) === "effect" ? op.operands.map((value) => classes.producer(value)) : [],
    ),
  );
  return new Set(
    program.ops.filter((op) => {
      if (op.name !== "model.update") return false;
      const [value] = op.operands;
      const made = classes.producer(value!);
      const own = place.get(made);
      if (own === undefined || own.unit.kind !== "row") return false;
      return (readers.get(stringAttr(op.attrs, "name")) ?? []).every((reader) => {
        const there = place.get(reader.op)!;
        if (there.unit !== own.unit) return there.at < own.at;
        return reader.plain && isReadBefore(reader.op, made, own.unit.ops, stored, classes);
      });
    }),
  );
}

/**
 * Whether what an op of a unit reads is read when another one's result is written, at the latest in the same statement, element by
 * element. An op with one user is part of that one's statement, if it is not stored.
 */
function isReadBefore(reader: Op, made: Op, ops: readonly Op[], stored: ReadonlySet<Op>, classes: Classes): boolean {
  let op = reader;
  let isPlain = true;
  while (op !== made && !stored.has(op)) {
    const result = op.results[0]!;
    const users = ops.filter((user) => user.operands.some((operand) => classes.roots(operand).includes(result)));
    const [user] = users;
    if (user === undefined || users.length > 1) break;
    isPlain &&= user.operands.every((operand) => operand === result || !classes.roots(operand).includes(result));
    isPlain &&= isElementwise(user, result);
    op = user;
    if (LOOPS.has(op.name)) break;
  }
  return op === made ? isPlain : ops.indexOf(op) < ops.indexOf(made);
}

/** Whether an element of the result is made of the same element of an operand. */
function isElementwise({ name, results }: Op, operand: Value): boolean {
  return (name.startsWith("math.") || name === "tensor.cast") && sameOrder(operand, results[0]!);
}

function sameOrder(a: Value, b: Value): boolean {
  return a.type.dims.join() === b.type.dims.join();
}
