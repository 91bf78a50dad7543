/** How products of few rows (few-rows.ts) read their operands. */
import { add, dtypeOf, index, known, substitute } from "../../kernel-ir/expr.ts";
import type { Arg, Axis, Expr, GemmKernel, Product } from "../../kernel-ir/types.ts";
import { codesOf, insideGroup, linear, operandOf, type Place } from "../operands.ts";
import { knownSize } from "../simt/axes.ts";
import { blocksOf } from "./scale-blocks.ts";

export const WARPS = 8;
export const THREADS = WARPS * 32;
/** Warps whose sums lie in shared memory: others add theirs to them. */
export const KEPT = WARPS / 2;
/** Terms of floats that warps share, of all rows that are taken together: at least what they read at a time. */
export function stagedTerms(products: number): number {
  return products === 1 ? 256 : 128;
}
/** Rows that are taken together: the columns of B of `mma.m16n8k16`. */
export const EIGHT = 8;

/** The operand that is read once. */
export interface Weights {
  readonly arg: Arg;
  /** Indices of an element, with rows' columns and terms at 0. */
  readonly at: readonly Expr[];
  /** Elements between columns, and between terms; one of both is 1. */
  readonly outer: number;
  readonly inner: number;
  /** Of codes. */
  readonly scales?: Scales;
}

/** What codes are multiplied by: a number for each column and group of terms. */
export interface Scales {
  readonly arg: Arg;
  /** Indices of a number, with rows' columns and terms at 0. */
  readonly at: readonly Expr[];
  /** Elements between columns. */
  readonly outer: number;
  /** Terms of a group, and elements between groups: 0 where a column has one number. */
  readonly group: number;
  readonly stride: number;
  /** Groups of a column that can be read at a time. */
  readonly together: number;
}

export interface Shape {
  /** Of the entry point. */
  readonly name: string;
  readonly columns: number;
  /** Eights of rows that a block has at a time. */
  readonly eights: number;
}

export interface Stream {
  readonly number: number;
  readonly product: Product;
  readonly weights: Weights;
  /** On tensor cores. */
  readonly mma: boolean;
  /** Where the rows of A begin, when their terms are neighbors in memory. */
  readonly rows?: { readonly arg: Arg; readonly at: readonly Expr[] };
}

/** How a product reads its large operand; undefined where that is not in lines of memory. */
export function streamOf(kernel: GemmKernel, number: number): Stream | undefined {
  const { batch, m, n, args, groups } = kernel;
  const product = insideGroup(kernel.products[number]!, kernel, () => undefined);
  const { k } = product;
  const terms = knownSize(k);
  const operand = codesOf(product.b, n, k, args);
  if (operand.kind !== "strided" || terms === undefined || product.dtype === "f64") return undefined;
  const arg = args.find(({ name }) => name === operand.arg)!;
  const isCode = operand.scale !== undefined;
  if (!isCode && arg.dtype !== "bf16" && arg.dtype !== "f32") return undefined;
  // Codes are bf16 without loss.
  const mma = (isCode || arg.dtype === "bf16") && dtypeOf(product.a) === "bf16";
  const [outer, inner] = [linear(n, operand.at.outer, arg.shape), linear(k, operand.at.k, arg.shape)];
  if (outer === undefined || inner === undefined || (outer !== 1 && inner !== 1)) return undefined;
  const neighbors = mma && inner === 1 ? 8 : 4;
  const far = inner === 1 ? outer : inner;
  const fixed = [...batch, ...(groups === undefined ? [] : [groups.group])];
  if (far % 8 !== 0 || terms % stepOf(mma, inner === 1) !== 0) return undefined;
  if (!isWhole(operand.at.fixed, fixed, arg, 8)) return undefined;
  const scales = operand.scale && scalesOf(operand.scale, kernel, k, fixed, { isNear: inner === 1, mma });
  if (isCode && scales === undefined) return undefined;
  const a = operandOf(product.a, m, k, args);
  const from = a.kind === "strided" ? args.find(({ name }) => name === a.arg)! : undefined;
  const inLines =
    mma &&
    a.kind === "strided" &&
    from!.dtype === "bf16" &&
    linear(k, a.at.k, from!.shape) === 1 &&
    isWhole(placeWithoutTerms(a), [...batch, ...m, ...(groups === undefined ? [] : [groups.group])], from!, neighbors);
  return {
    number,
    product,
    weights: { arg, at: operand.at.fixed, outer, inner, ...(scales === undefined ? {} : { scales }) },
    mma,
    ...(inLines ? { rows: { arg: from!, at: placeWithoutTerms(a) } } : {}),
  };
}

/** The scales at a place; undefined where they are not read in lines, or terms that a warp takes at a time have several. */
function scalesOf(
  { arg: name, at }: Place,
  { n, args }: GemmKernel,
  k: readonly Axis[],
  fixed: readonly Axis[],
  { isNear, mma }: { readonly isNear: boolean; readonly mma: boolean },
): Scales | undefined {
  const arg = args.find((one) => one.name === name)!;
  const outer = linear(n, at.outer, arg.shape);
  const groups = blocksOf(k, at.k, arg);
  if (outer === undefined || groups === undefined) return undefined;
  const { length: group, stride } = groups;
  if (stride !== 0 && group % stepOf(mma, isNear) !== 0) return undefined;
  const isAligned = (by: number): boolean => isWhole(at.fixed, fixed, arg, by);
  if (!isNear && (outer !== 1 || stride % 8 !== 0 || !isAligned(8))) return undefined;
  const together = isNear && stride === 1 ? [8, 4, 2].find((by) => outer % by === 0 && isAligned(by)) : undefined;
  return { arg, at: at.fixed, outer, group, stride, together: together ?? 1 };
}

function placeWithoutTerms({ at }: Place): Expr[] {
  return at.fixed.map((x, i) => add(x, at.outer[i]!));
}

/** Whether indices are sums of axes times multiples of a number of elements. */
function isWhole(at: readonly Expr[], axes: readonly Axis[], { shape }: Arg, by: number): boolean {
  const others = (own: Axis): ReadonlyMap<string, Expr> =>
    new Map(axes.filter((axis) => axis !== own).map(({ name }) => [name, index(0)]));
  return axes.length === 0
    ? at.every((x) => known(x) === 0)
    : axes.every((axis) => {
        const alone = at.map((x) => substitute(x, others(axis), () => undefined));
        const stride = linear([axis], alone, shape);
        return stride !== undefined && stride % by === 0;
      });
}

/** Terms that a warp takes at a time. */
export function stepOf(mma: boolean, isNear: boolean): number {
  return (mma ? 16 : 4) * (!isNear ? 1 : mma ? 2 : 4);
}
