import type { Span } from "../../compiler/diagnostics/source.ts";
import type { DType } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, type Checker, type Scope } from "./checker.ts";
import { linearText, sizeOf, type Dim } from "./dims.ts";
import { type Instance, instanceName } from "./instance.ts";
import { numberOf } from "./numbers.ts";
import { describe, type Meaning } from "./values.ts";

/** The dim of a `dim` item, made when it is first needed. Undefined after an error. */
export function memberDim(c: Checker, instance: Instance, name: string): Dim | undefined {
  const known = instance.dims.get(name);
  const { item, level } = instance.members.get(name)!;
  if (item.kind !== "dim") return undefined;
  if (known === "busy") {
    c.fail("DSK1104", item.name.span, { what: "dim", name });
    return undefined;
  }
  if (known !== undefined) return known;
  instance.dims.set(name, "busy");
  const given = instance.sizes.get(name);
  const value = given === undefined ? c.check(item.value, bodyScope(instance, level)) : given.get();
  const dim = dimOf(c, instance, name, value, given?.at ?? item.value.span, given !== undefined);
  if (dim === undefined) instance.dims.delete(name);
  else instance.dims.set(name, dim);
  return dim;
}

/** A dim given from outside is that dim itself; one that the block declares is a new one, of the same size. */
function dimOf(
  c: Checker,
  instance: Instance,
  name: string,
  value: Meaning,
  at: Span,
  given: boolean,
): Dim | undefined {
  if (value.kind === "error") return c.space.lost(name);
  if (given && value.kind === "dim") return c.space.compose(value.linear);
  const size = numberOf(value);
  if (size === undefined) {
    c.fail("DSK1303", at, { expected: "a size", found: describe(value) });
    return c.space.lost(name);
  }
  return c.space.atom(name, checkedSize(c, name, size.value, at), instanceName(instance));
}

/** Sizes are positive whole numbers; anything else is reported and treated as unknown. */
export function checkedSize(c: Checker, name: string, size: number | undefined, at: Span): number | undefined {
  if (size === undefined || (Number.isSafeInteger(size) && size > 0)) return size;
  c.fail("DSK1202", at, { name, size: `${size}` });
  return undefined;
}

/** The dim that an expression in brackets means: `T`, `N + R`. Undefined after an error. */
export function checkDim(c: Checker, expr: ast.Expr, scope: Scope): Dim | undefined {
  const value = c.check(expr, scope);
  if (value.kind === "error") return undefined;
  if (value.kind !== "dim") {
    c.fail(
      "DSK1201",
      expr.span,
      { found: describe(value) },
      {
        help:
          value.kind === "number"
            ? "give the number a name: `dim X = ...`"
            : "dims are declared by `dim`, or stand in the block's brackets",
      },
    );
    return undefined;
  }
  if (expr.kind !== "name") checkedSize(c, linearText(value.linear), sizeOf(value.linear), expr.span);
  return c.space.compose(value.linear);
}

/** The dims of a type or a `let`; `..` is the function's rest. Undefined after an error. */
export function checkDims(c: Checker, dims: readonly ast.TypeDim[], scope: Scope): Dim[] | undefined {
  const found: Dim[] = [];
  let sound = true;
  for (const dim of dims) {
    const parts = dim.kind === "rest" ? restOf(c, dim, scope) : [checkDim(c, dim.value, scope)];
    for (const part of parts) {
      if (part === undefined) sound = false;
      else if (found.includes(part)) {
        const help = `give it a second dim of the same size: \`dim ${part.label}2 = ${part.label}\``;
        c.fail(
          "DSK1208",
          dim.span,
          { dim: part.label },
          /^\w+$/.test(part.label) && part.size !== null ? { help } : {},
        );
        sound = false;
      } else found.push(part);
    }
  }
  return sound ? found : undefined;
}

function restOf(c: Checker, dim: ast.TypeDim, scope: Scope): readonly (Dim | undefined)[] {
  if (scope.rest !== undefined) return scope.rest;
  c.fail("DSK1309", dim.span, { what: "`..`", where: "a block or function whose dims have no `..`" });
  return [undefined];
}

/** The dtype that a type names, `fallback` where it names none. Undefined after an error. */
export function checkDType(
  c: Checker,
  base: ast.Name | undefined,
  fallback: DType,
  isDType: (t: string) => t is DType,
): DType | undefined {
  if (base === undefined) return fallback;
  if (isDType(base.text)) return base.text;
  c.fail(
    "DSK1302",
    base.span,
    { name: base.text },
    { help: "types of numbers are f64, f32, bf16, f16, f8e4m3, i32 and bool" },
  );
  return undefined;
}
