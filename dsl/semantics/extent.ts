import type { Block, Fn, Module, Use } from "../../compiler/model-ir/types.ts";
import type { DimLabel } from "../../compiler/tensor-ir/types.ts";

/**
 * The most parts and the most operations of one pass that a model may have. Whatever follows looks at each of them, and a
 * short text can ask for more than any machine holds: blocks that each use two of the next one.
 */
export const LARGEST = 1_000_000;

export interface Extent {
  /** Places where a block stands, every layer counted. */
  readonly parts: number;
  /** Operations of the forward pass and of the look-ahead modules, every call counted. */
  readonly ops: number;
  /** Elements of params and states: sums of them are exact up to 2^53. */
  readonly elements: number;
}

/** Counts without walking through the copies. */
export function extentOf({ root, forward, fns, ahead, dims }: Module): Extent {
  const ops = opCounter(fns);
  let total = ops(forward);
  for (const { depth, ...called } of ahead.values()) {
    const { embed, head } = called;
    total += depth * [called.forward, called.readout, embed.fn, head.fn].reduce((sum, fn) => sum + ops(fn), 0);
  }
  const size = (label: DimLabel): number => dims.get(label) ?? 1;
  const kept = ({ stores }: Block): number =>
    [...stores.values()]
      .filter(({ kind }) => kind !== "cache")
      .reduce((sum, { type }) => sum + type.dims.reduce((product, label) => product * size(label), 1), 0);
  return {
    parts: blockCounter(
      () => 1,
      () => 1,
    )(root),
    ops: total,
    elements: blockCounter(kept, size)(root),
  };
}

/** Sums what blocks have of their own over all places where they stand; copies over a dim count as `copies` says. */
function blockCounter(own: (block: Block) => number, copies: (over: DimLabel) => number): (block: Block) => number {
  const known = new Map<Block, number>();
  const ofUse = (use: Use): number => {
    if (use.kind === "alias") return 0;
    if (use.kind === "stack") return use.layers.reduce((sum, { count, block }) => sum + count * of(block), 0);
    if (use.kind === "ahead") return use.depth * of(use.block);
    return (use.over === undefined ? 1 : copies(use.over)) * of(use.block);
  };
  const of = (block: Block): number => {
    let count = known.get(block);
    if (count === undefined) {
      count = [...block.uses.values()].reduce((sum, use) => sum + ofUse(use), own(block));
      known.set(block, count);
    }
    return count;
  };
  return of;
}

function opCounter(fns: ReadonlyMap<string, Fn>): (fn: Fn) => number {
  const known = new Map<Fn, number>();
  const of = (fn: Fn): number => {
    let count = known.get(fn);
    if (count === undefined) {
      count = 0;
      for (const { name, attrs } of fn.ops) {
        const callee = name === "model.call" ? fns.get(String(attrs["fn"])) : undefined;
        count += callee === undefined ? 1 : Number(attrs["count"]) * of(callee);
      }
      known.set(fn, count);
    }
    return count;
  };
  return of;
}
