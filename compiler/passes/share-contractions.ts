import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import type { DimLabel, Op, Value } from "../tensor-ir/types.ts";
import type { Pass } from "./pass.ts";
import { builderFor } from "./scope.ts";

/**
 * `x (a b)` becomes `a (x b)` where `x b` is there already. In attention's backward pass, the sum over positions of weights times
 * their slopes is the sum of results times their gradients (Dao et al., FlashAttention, arXiv 2205.14135, appendix B.2): no row has to be
 * gone through before its gradients. In bf16, where tensor cores have such rows; in f32 a row has both factors at hand.
 */
export const shareContractions: Pass = {
  name: "share-contractions",
  run(program) {
    const made = new Map<number, Op>();
    const known = new Map<string, Value>();
    const builder = builderFor(program);
    for (const op of program.ops) {
      builder.loc = op.loc;
      const shared = op.name === "tensor.contract" ? sharedOf(op, made, (a, b) => known.get(keyOf(a, b))) : undefined;
      builder.push(shared === undefined ? op : { ...op, operands: shared });
      if (op.name !== "tensor.contract") continue;
      const [result] = op.results;
      made.set(result!.id, op);
      known.set(keyOf(op.operands[0]!, op.operands[1]!), result!);
    }
    return builder.finish(program.name);
  },
};

function keyOf(a: Value, b: Value): string {
  return [a.id, b.id].toSorted((i, j) => i - j).join(" ");
}

/** The operands of the same sum, one of which is a sum that is there already. */
function sharedOf(
  { operands, results: [result] }: Op,
  made: ReadonlyMap<number, Op>,
  find: (a: Value, b: Value) => Value | undefined,
): readonly [Value, Value] | undefined {
  if (result!.type.dtype !== "bf16") return undefined;
  for (const [x, y] of bothWays(operands)) {
    for (const [a, b] of bothWays(made.get(y.id)?.operands ?? [])) {
      const other = find(x, b);
      if (other === undefined || other.type.dtype !== y.type.dtype) continue;
      // What the inner product sums over is nothing to x; the other one sums over what the whole does, and a knows nothing of it.
      const terms = withoutDims(dimsOf(a, b), y.type.dims);
      const sums = withoutDims(dimsOf(x, y), result!.type.dims);
      const isApart =
        !terms.some((label) => x.type.dims.includes(label)) && !sums.some((label) => a.type.dims.includes(label));
      const isSame = (dims: readonly DimLabel[], wanted: readonly DimLabel[]): boolean =>
        dims.length === wanted.length && dims.every((label) => wanted.includes(label));
      if (
        isApart &&
        isSame(withoutDims(dimsOf(x, b), other.type.dims), sums) &&
        isSame(withoutDims(dimsOf(a, other), result!.type.dims), terms)
      )
        return [a, other];
    }
  }
  return undefined;
}

function bothWays([a, b]: readonly Value[]): readonly (readonly [Value, Value])[] {
  return a === undefined || b === undefined
    ? []
    : [
        [a, b],
        [b, a],
      ];
}

function dimsOf(a: Value, b: Value): readonly DimLabel[] {
  return joinDims(a.type.dims, b.type.dims);
}
