import type { DType } from "../../compiler/tensor-ir/types.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import type { Checker, Scope } from "./checker.ts";
import { checkDim, checkDims, checkDType } from "./dim-members.ts";
import { dimsText, type Dim } from "./dims.ts";
import { dtypeOf } from "./emit.ts";
import { isDType } from "./lookup.ts";
import { numberOf } from "./numbers.ts";
import { describe, ERROR, type Meaning, type Tensor } from "./values.ts";

const STATIC = ["Number", "Bool", "String", "Block"] as const;
export type StaticType = (typeof STATIC)[number];

/** `Number`, `Bool`, `String` or `Block`: known when the model is built. */
export function staticType(type: ast.Type): StaticType | undefined {
  if (type.kind === "tuple" || type.dims !== undefined) return undefined;
  return STATIC.find((name) => name === type.base?.text);
}

/** Checks that a compile-time value is of a type. */
export function checkStatic(c: Checker, value: Meaning, type: StaticType, at: Span): Meaning {
  if (value.kind === "error") return ERROR;
  const number = type === "Number" ? numberOf(value) : undefined;
  if (number !== undefined) return number;
  if (type === "Bool" && value.kind === "bool") return value;
  if (type === "String" && value.kind === "string") return value;
  if (type === "Block" && (value.kind === "block" || value.kind === "use")) return value;
  if (value.kind === "tensor") return c.fail("DSK1306", at, { what: `a ${type}` });
  const expected = { Number: "a number", Bool: "`true` or `false`", String: "a string", Block: "a block" }[type];
  return c.fail("DSK1303", at, { expected, found: describe(value) });
}

/** What a declared tensor type asks for: `undefined` dims after an error. */
export interface Pattern {
  /** Absent where the type names no dtype: any float. */
  readonly dtype: DType | undefined;
  readonly dims: readonly ast.TypeDim[];
}

export function patternOf(c: Checker, type: ast.Type & { kind: "tensor" }): Pattern | undefined {
  if (type.base === undefined) return { dtype: undefined, dims: type.dims ?? [] };
  const dtype = checkDType(c, type.base, "f32", isDType);
  return dtype === undefined ? undefined : { dtype, dims: type.dims ?? [] };
}

/**
 * The dims of a pattern without `..` and formal dims of the function, as the caller knows them; `lost` after an error in them.
 */
export function plainDims(
  c: Checker,
  pattern: Pattern,
  formals: readonly ast.DimFormal[],
  scope: Scope,
): Dim[] | "lost" | undefined {
  const generic = new Set(formals.map((f) => (f.kind === "name" ? f.name.text : "..")));
  const plain = pattern.dims.every((d) => d.kind === "dim" && !(d.value.kind === "name" && generic.has(d.value.name)));
  if (!plain) return undefined;
  const dims = checkDims(c, pattern.dims, scope);
  return dims?.map((d) => scope.instance.aliases.get(d) ?? d) ?? "lost";
}

/** The bindings that matching arguments makes. */
export interface Bindings {
  rest: readonly Dim[] | undefined;
  readonly fnDims: Map<string, Dim>;
}

export interface Matched {
  /** Dims of the argument that the function knows under another one: renamed on entry. */
  readonly from: readonly Dim[];
  readonly to: readonly Dim[];
  /** The dims in the order of the declaration, `..` in the order of the argument. */
  readonly order: readonly Dim[];
}

/** Matches an argument's dims with a pattern: formal dims take the trailing dims, `..` takes what is left. */
export function matchDims(
  c: Checker,
  tensor: Tensor,
  pattern: Pattern,
  formals: readonly ast.DimFormal[],
  bindings: Bindings,
  callee: Scope,
  at: Span,
  param: Span,
): Matched | undefined {
  const generic = new Set(formals.map((f) => (f.kind === "name" ? f.name.text : "")));
  const left = [...tensor.dims];
  for (const [back, dim] of pattern.dims.toReversed().entries()) {
    if (dim.kind === "rest") break;
    if (dim.value.kind !== "name" || !generic.has(dim.value.name) || bindings.fnDims.has(dim.value.name)) continue;
    const found = tensor.dims.at(-1 - back);
    if (found !== undefined) bindings.fnDims.set(dim.value.name, found);
  }
  const [from, to]: [Dim[], Dim[]] = [[], []];
  let hasRest = false;
  const missing: Dim[] = [];
  const declared = new Map<ast.TypeDim, Dim>();
  const expectedText: string[] = [];
  const scope: Scope = { ...callee, fnDims: bindings.fnDims, rest: bindings.rest };
  for (const dim of pattern.dims) {
    if (dim.kind === "rest") {
      hasRest = true;
      expectedText.push("..");
      continue;
    }
    if (dim.value.kind === "name" && generic.has(dim.value.name) && !bindings.fnDims.has(dim.value.name)) {
      return wrongDims(c, at, [dim.value.name], tensor, param);
    }
    const wanted = checkDim(c, dim.value, scope);
    if (wanted === undefined) return undefined;
    const actual = left.includes(wanted) ? wanted : (callee.instance.aliases.get(wanted) ?? wanted);
    declared.set(dim, wanted);
    expectedText.push(actual.label);
    const index = left.indexOf(actual);
    if (index < 0) {
      missing.push(actual);
      continue;
    }
    left.splice(index, 1);
    if (actual !== wanted) {
      from.push(actual);
      to.push(wanted);
    }
  }
  if (missing.length > 0 || (!hasRest && left.length > 0)) return wrongDims(c, at, expectedText, tensor, param);
  if (hasRest) {
    const rest = bindings.rest;
    if (rest === undefined) bindings.rest = left;
    else if (rest.length !== left.length || !left.every((d) => rest.includes(d))) {
      return wrongDims(c, at, [...rest.map((d) => d.label), ...expectedText.filter((t) => t !== "..")], tensor, param);
    }
  }
  const order = pattern.dims.flatMap((dim) => (dim.kind === "rest" ? (bindings.rest ?? []) : [declared.get(dim)!]));
  return { from, to, order };
}

function wrongDims(c: Checker, at: Span, expected: readonly string[], tensor: Tensor, param: Span): undefined {
  c.fail(
    "DSK1206",
    at,
    { expected: expected.join(", "), found: tensor.dims.map((d) => d.label).join(", ") },
    {
      label: `has ${dimsText(tensor.dims)}`,
      secondary: [{ span: param, text: "declared here" }],
    },
  );
  return undefined;
}

/** An argument's dtype beside the declared one: floats convert into each other, nothing else does. */
export function acceptsDType(tensor: Tensor, dtype: DType | undefined): boolean {
  const found = dtypeOf(tensor);
  const float = found !== "i32" && found !== "bool";
  if (dtype === undefined) return float;
  return found === dtype || (float && dtype !== "i32" && dtype !== "bool");
}
