/** Copies where an effect hands out what has no code of its own, or what another effect hands out already. */
import { stringAttr } from "../tensor-ir/attrs.ts";
import type { Op, Value } from "../tensor-ir/types.ts";
import { builderFor } from "../passes/scope.ts";
import { Classes } from "./classes.ts";
import type { Fusion } from "./fusions.ts";
import { addTo } from "./grouping.ts";
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
        const plain = root === operand && op.name.startsWith("math.") && sameOrder(root, op.results[0]!);
        addTo(readers, name, { op, plain });
      }
    }
  }
  return new Set(
    program.ops.filter((op) => {
      if (op.name !== "model.update") return false;
      const [value] = op.operands;
      const own = place.get(classes.producer(value!));
      if (own === undefined || own.unit.kind !== "row") return false;
      return (readers.get(stringAttr(op.attrs, "name")) ?? []).every((reader) => {
        const there = place.get(reader.op)!;
        return there.unit === own.unit ? reader.plain : there.at < own.at;
      });
    }),
  );
}

function sameOrder(a: Value, b: Value): boolean {
  return a.type.dims.join() === b.type.dims.join();
}
