import { opDefinition } from "../tensor-ir/ops/table.ts";
import { type Op, typeText, type Value } from "../tensor-ir/types.ts";
import type { Pass } from "./pass.ts";
import { substitute } from "./scope.ts";

/**
 * Computes what is the same once: the rotary tables of all layers, masks, constants. Ops with effects are left alone, and
 * so is everything that differs in as little as the order of its dims. Draws are equal when their streams are.
 */
export const eliminateCommon: Pass = {
  name: "eliminate-common",
  run(program) {
    const first = new Map<string, Op>();
    const replaced = new Map<number, Value>();
    const ops: Op[] = [];
    for (const original of program.ops) {
      const op = substitute(original, replaced);
      const key = opDefinition(op.name).effect ? undefined : keyOf(op);
      const same = key === undefined ? undefined : first.get(key);
      if (same === undefined) {
        if (key !== undefined) first.set(key, op);
        ops.push(op);
      } else op.results.forEach(({ id }, i) => replaced.set(id, same.results[i]!));
    }
    return { ...program, ops };
  },
};

const COMMUTES = ["math.add", "math.mul", "math.and", "math.or", "math.eq", "math.ne", "tensor.contract"];

function keyOf({ name, operands, results, attrs }: Op): string {
  const ids = operands.map(({ id }) => id);
  return JSON.stringify([
    name,
    COMMUTES.includes(name) ? ids.toSorted((a, b) => a - b) : ids,
    results.map(({ type }) => typeText(type)),
    Object.keys(attrs)
      .toSorted()
      .map((key) => [key, exactly(attrs[key])]),
  ]);
}

/** JSON has neither infinities nor -0. */
function exactly(value: unknown): unknown {
  return typeof value === "number" ? `${Object.is(value, -0) ? "-0" : value}` : value;
}
