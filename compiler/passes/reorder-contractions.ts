import { joinDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import { commonDtype } from "../tensor-ir/ops/dtypes.ts";
import type { ProgramBuilder } from "../tensor-ir/builder.ts";
import type { DimLabel, Op, Program, Value } from "../tensor-ir/types.ts";
import type { Pass } from "./pass.ts";
import { builderFor } from "./scope.ts";

/** Chains of more factors are cut: the search takes 3^n steps. */
const MOST_FACTORS = 8;

/**
 * Brings chains of contractions into the cheapest order, by multiplications at the assumed sizes of run-time dims. With few
 * tokens against many kept positions, `q @ (latent @ wk)` becomes `(q @ wk) @ latent`: the weight absorption of
 * DeepSeek-V2 section 2.1.2. Only results without other uses are taken apart; what lost its use stays behind. A chain
 * with a dim of unknown size keeps its order.
 */
export const reorderContractions: Pass = {
  name: "reorder-contractions",
  run(program, { sizes = new Map() }) {
    const known = new Map(sizes);
    for (const [label, size] of program.dims) if (size !== null) known.set(label, size);
    const chains = new Chains(program);
    const builder = builderFor(program);
    for (const op of program.ops) {
      builder.loc = op.loc;
      const chain = chains.of(op);
      const better = chain === undefined ? undefined : cheaperOrder(chain, known);
      if (chain === undefined || better === undefined) builder.push(op);
      else writeOrder(chain, better, builder);
    }
    return builder.finish(program.name);
  },
};

/** A sum over products of factors: over all labels that the result lacks. */
interface Chain {
  readonly root: Op;
  readonly factors: readonly Value[];
  /** How the program multiplies them now. */
  readonly order: Order;
}

/** The place of a factor, or a product of two. */
type Order = number | readonly [Order, Order];

class Chains {
  readonly #contractions = new Map<number, Op>();
  readonly #uses = new Map<number, number>();

  constructor({ ops }: Program) {
    for (const op of ops) {
      if (op.name === "tensor.contract") this.#contractions.set(op.results[0]!.id, op);
      for (const { id } of op.operands) this.#uses.set(id, (this.#uses.get(id) ?? 0) + 1);
    }
  }

  /** The chain that ends in an op, if it has three factors or more. */
  of(root: Op): Chain | undefined {
    if (root.name !== "tensor.contract") return undefined;
    const factors: Value[] = [];
    const order = this.#expand(root, factors, root.results[0]!.type.dims, new Set(summed(root)));
    return factors.length < 3 ? undefined : { root, factors, order };
  }

  /**
   * `outside` are the labels that mean something to the rest of the chain, `sums` those that some product of it sums: an
   * inner sum over one of them is another sum, and stays closed.
   */
  #expand({ operands: [a, b] }: Op, factors: Value[], outside: readonly DimLabel[], sums: Set<DimLabel>): Order {
    const left = this.#operand(a!, factors, joinDims(outside, b!.type.dims), sums, 2);
    return [left, this.#operand(b!, factors, joinDims(outside, a!.type.dims), sums, 1)];
  }

  #operand(value: Value, factors: Value[], outside: readonly DimLabel[], sums: Set<DimLabel>, room: number): Order {
    const inner = this.#contractions.get(value.id);
    const fits = factors.length + room < MOST_FACTORS && this.#uses.get(value.id) === 1;
    if (inner === undefined || !fits || summed(inner).some((label) => outside.includes(label) || sums.has(label))) {
      return factors.push(value) - 1;
    }
    for (const label of summed(inner)) sums.add(label);
    return this.#expand(inner, factors, outside, sums);
  }
}

function summed({ operands, results }: Op): DimLabel[] {
  return withoutDims(joinDims(...operands.map((x) => x.type.dims)), results[0]!.type.dims);
}

type Sizes = ReadonlyMap<DimLabel, number>;

/** The order with the fewest multiplications, if it has fewer than the present one. */
function cheaperOrder({ root, factors, order }: Chain, sizes: Sizes): Order | undefined {
  const labels = joinDims(...factors.map((f) => f.type.dims));
  if (labels.some((label) => !sizes.has(label))) return undefined;
  const count = (dims: readonly DimLabel[]): number => dims.reduce((n, label) => n * sizes.get(label)!, 1);
  const all = (1 << factors.length) - 1;
  /** Labels of the product of some factors: those that the result or another factor has as well. */
  const dimsOf = (set: number): readonly DimLabel[] => {
    const inside = joinDims(...factors.filter((_, i) => set & (1 << i)).map((f) => f.type.dims));
    const outside = joinDims(
      root.results[0]!.type.dims,
      ...factors.filter((_, i) => !(set & (1 << i))).map((f) => f.type.dims),
    );
    return inside.filter((label) => outside.includes(label));
  };
  const dims = Array.from({ length: all + 1 }, (_, set) =>
    isSingle(set) ? factors[Math.log2(set)]!.type.dims : dimsOf(set),
  );
  const join = (a: number, b: number): number => count(joinDims(dims[a]!, dims[b]!));
  const best: ({ readonly cost: number; readonly order: Order } | undefined)[] = [];
  for (let set = 1; set <= all; set++) {
    if (isSingle(set)) best[set] = { cost: 0, order: Math.log2(set) };
    else {
      for (let part = (set - 1) & set; part > 0; part = (part - 1) & set) {
        const other = set ^ part;
        if (part > other) continue;
        const cost = best[part]!.cost + best[other]!.cost + join(part, other);
        const found = best[set];
        if (found === undefined || cost < found.cost)
          best[set] = { cost, order: [best[part]!.order, best[other]!.order] };
      }
    }
  }
  const present = costOf(order, join).cost;
  return best[all]!.cost < present ? best[all]!.order : undefined;
}

function isSingle(set: number): boolean {
  return set > 0 && (set & (set - 1)) === 0;
}

function costOf(order: Order, join: (a: number, b: number) => number): { readonly cost: number; readonly set: number } {
  if (typeof order === "number") return { cost: 0, set: 1 << order };
  const [a, b] = [costOf(order[0], join), costOf(order[1], join)];
  return { cost: a.cost + b.cost + join(a.set, b.set), set: a.set | b.set };
}

/** Writes a chain in another order; its last product gives the root's own result. */
function writeOrder({ root, factors }: Chain, order: Order, builder: ProgramBuilder): void {
  const write = (part: Order, outside: readonly DimLabel[]): Value => {
    if (typeof part === "number") return factors[part]!;
    const [left, right] = operands(part, outside);
    const dims = joinDims(left.type.dims, right.type.dims).filter((label) => outside.includes(label));
    return builder.emit("tensor.contract", [left, right], { dtype: commonDtype([left, right]), dims });
  };
  const operands = ([a, b]: readonly [Order, Order], outside: readonly DimLabel[]): [Value, Value] => [
    write(a, joinDims(outside, labelsOf(b, factors))),
    write(b, joinDims(outside, labelsOf(a, factors))),
  ];
  const result = root.results[0]!;
  if (typeof order === "number") throw new Error("a chain has two factors or more");
  const [left, right] = operands(order, result.type.dims);
  if (commonDtype([left, right]) === result.type.dtype) builder.push({ ...root, operands: [left, right] });
  else throw new Error(`a chain of ${commonDtype([left, right])} gives ${result.type.dtype}`);
}

function labelsOf(order: Order, factors: readonly Value[]): readonly DimLabel[] {
  return typeof order === "number"
    ? factors[order]!.type.dims
    : joinDims(...order.map((part) => labelsOf(part, factors)));
}
