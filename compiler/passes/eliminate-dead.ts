import { isStrings } from "../tensor-ir/attrs.ts";
import { liveOps } from "../tensor-ir/liveness.ts";
import { opDefinition } from "../tensor-ir/ops/table.ts";
import type { DimTable, Op } from "../tensor-ir/types.ts";
import type { Pass } from "./pass.ts";

/** Removes ops that no effect depends on, and dims that nothing has. */
export const eliminateDead: Pass = {
  name: "eliminate-dead",
  run(program) {
    const live = liveOps(program.ops, [], (op) => opDefinition(op.name).effect);
    const ops = program.ops.filter((op) => live.has(op));
    return { ...program, dims: usedDims(program.dims, ops), ops };
  },
};

function usedDims(dims: DimTable, ops: readonly Op[]): DimTable {
  const used = new Set<string>();
  for (const { results, attrs } of ops) {
    for (const { type } of results) for (const label of type.dims) used.add(label);
    for (const attr of Object.values(attrs)) {
      if (typeof attr === "string") used.add(attr);
      else if (isStrings(attr)) for (const label of attr) used.add(label);
    }
  }
  return new Map([...dims].filter(([label]) => used.has(label)));
}
