import type { AttrValue, Attrs, DimTable, Op, TensorType, Value } from "../types.ts";
import { isStrings } from "../attrs.ts";
import { typeText } from "../types.ts";
import { sameDims } from "./dims.ts";

/** `label` and `labels` are strings that name dims of the program; a list of strings is a choice of one of them. */
export type AttrKind = "string" | "number" | "boolean" | "number or boolean" | "label" | "labels" | readonly string[];

/** The sizes of all dims, the run-time ones included. */
export type DimSizes = ReadonlyMap<string, number>;

/** Infers the result's type from the operands. May assume the right number of operands and well-kinded attributes. */
export type Infer = (operands: readonly Value[], attrs: Attrs, dims: DimTable) => TensorType;

/** All that the compiler knows of an op, apart from its gradient and its meaning in the interpreter. */
export interface OpDefinition {
  /** The least and the largest number of operands. */
  readonly operands: readonly [number, number];
  readonly results: 0 | 1;
  readonly attrs: Readonly<Record<string, AttrKind>>;
  /** An op with an effect is never removed or duplicated. */
  readonly effect: boolean;
  /** Present where the operands determine the result's type up to the order of its dims. */
  readonly infer?: Infer;
  /** What is wrong with the op, one message each; empty when it is legal. Sizes of run-time dims are not checked. */
  readonly verify: (op: Op, dims: DimTable) => string[];
  /** Multiplications and additions of matrix work; 0 for every op that is not a contraction. */
  readonly flops: (op: Op, sizes: DimSizes) => number;
}

export interface OpSpec {
  /** A number, or the least and the largest number. */
  readonly operands: number | readonly [number, number];
  readonly results?: 0 | 1;
  readonly attrs?: Readonly<Record<string, AttrKind>>;
  readonly effect?: boolean;
  readonly infer?: Infer;
  /** The op's own rules, called when the number of operands and the attributes are right. */
  readonly rules?: (op: Op, dims: DimTable) => (string | false)[];
  readonly flops?: (op: Op, sizes: DimSizes) => number;
}

/** Completes an entry of the op table: the common checks run first, then the op's rules, then the inferred type. */
export function define(spec: OpSpec): OpDefinition {
  const operands = typeof spec.operands === "number" ? ([spec.operands, spec.operands] as const) : spec.operands;
  const results = spec.results ?? 1;
  const attrs = spec.attrs ?? {};
  const { infer, rules } = spec;
  function verify(op: Op, dims: DimTable): string[] {
    const shape = [...checkCount("operand", op.operands.length, operands), ...checkAttrs(op.attrs, attrs, dims)];
    shape.push(...checkCount("result", op.results.length, [results, results]));
    if (shape.length > 0) return shape;
    const faults = (rules?.(op, dims) ?? []).filter((message) => message !== false);
    if (faults.length > 0 || infer === undefined) return faults;
    return checkInferred(op.results[0]!.type, infer(op.operands, op.attrs, dims));
  }
  return {
    operands,
    results,
    attrs,
    effect: spec.effect ?? false,
    verify,
    flops: spec.flops ?? (() => 0),
    ...(infer === undefined ? {} : { infer }),
  };
}

function checkCount(what: string, count: number, [least, most]: readonly [number, number]): string[] {
  if (count >= least && count <= most) return [];
  const wanted = least === most ? `${least}` : most === Infinity ? `at least ${least}` : `${least} to ${most}`;
  return [`${count} ${what}${count === 1 ? "" : "s"}, expected ${wanted}`];
}

function checkAttrs(attrs: Attrs, schema: Readonly<Record<string, AttrKind>>, dims: DimTable): string[] {
  const faults: string[] = [];
  for (const [key, kind] of Object.entries(schema)) {
    const value = attrs[key];
    if (value === undefined) faults.push(`attribute ${key} is missing`);
    else if (!hasKind(value, kind)) faults.push(`attribute ${key} must be ${kindText(kind)}`);
    else if (kind === "label" || kind === "labels") {
      for (const label of [value].flat()) {
        if (!dims.has(String(label))) faults.push(`attribute ${key}: dim ${String(label)} is not in the dim table`);
      }
    }
  }
  for (const key of Object.keys(attrs)) if (!Object.hasOwn(schema, key)) faults.push(`unknown attribute ${key}`);
  return faults;
}

function hasKind(value: AttrValue, kind: AttrKind): boolean {
  if (typeof kind !== "string") return typeof value === "string" && kind.includes(value);
  if (kind === "labels") return isStrings(value);
  if (kind === "label") return typeof value === "string";
  return kind.split(" or ").includes(typeof value);
}

function kindText(kind: AttrKind): string {
  if (typeof kind !== "string") return `one of ${kind.join(", ")}`;
  if (kind === "labels") return "a list of dim labels";
  return kind === "label" ? "a dim label" : `a ${kind}`;
}

function checkInferred(type: TensorType, expected: TensorType): string[] {
  if (type.dtype === expected.dtype && sameDims(type.dims, expected.dims)) return [];
  return [`result is ${typeText(type)}, expected ${typeText(expected)} in any order`];
}
