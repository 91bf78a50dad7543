import type { Init, Store } from "../../compiler/model-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, type Checker, type Scope } from "./checker.ts";
import { checkDims, checkDType } from "./dim-members.ts";
import type { Instance, Level } from "./instance.ts";
import { isDType } from "./lookup.ts";
import { numberOf } from "./numbers.ts";
import { describe } from "./values.ts";

/** Makes a param, state or cache of a block. */
export function placeStore(c: Checker, instance: Instance, name: string, item: ast.StoreItem, level: Level): void {
  const scope = bodyScope(instance, level);
  if (item.type.kind === "tuple") {
    c.fail("DSK1303", item.type.span, { expected: "a tensor type", found: "a tuple" });
    return;
  }
  const dtype = checkDType(c, item.type.base, c.dtype, isDType);
  const dims = checkDims(c, item.type.dims ?? [], scope);
  const init = item.value === undefined ? (item.kind === "param" ? c.init : ZERO) : initOf(c, item.value, scope);
  if (dtype === undefined || dims === undefined || init === undefined) return;
  const runTime = dims.find((d) => d.size === null);
  if (runTime !== undefined) {
    c.fail(
      "DSK1306",
      item.type.span,
      { what: `dim ${runTime.label} of \`${name}\`` },
      {
        help:
          item.kind === "cache"
            ? "a cache names the dims of one row; S comes by itself"
            : "T, S and B are only known when the program runs",
      },
    );
    return;
  }
  if (item.kind === "param" && (dtype === "i32" || dtype === "bool")) {
    c.fail("DSK1301", item.type.span, { expected: "floats", found: dtype }, { help: "only floats are trained" });
    return;
  }
  const store: Store = {
    kind: item.kind,
    name,
    type: { dtype, dims: dims.map((d) => d.label) },
    init,
    span: item.span,
  };
  instance.stores.set(name, { store, dims });
  instance.block.stores.set(name, store);
}

const ZERO: Init = { kind: "constant", value: 0 };

/** `zeros`, `0.5`, `normal(0.02)`. */
export function initOf(c: Checker, expr: ast.Expr, scope: Scope): Init | undefined {
  if (
    expr.kind === "call" &&
    expr.callee.kind === "name" &&
    (expr.callee.name === "normal" || expr.callee.name === "uniform")
  ) {
    const arg = expr.args[0];
    const scale = arg === undefined || expr.args.length > 1 ? undefined : numberOf(c.check(arg.value, scope));
    if (scale === undefined) {
      c.fail("DSK1304", expr.span, { callee: expr.callee.name, why: "takes one number, its scale" });
      return undefined;
    }
    return { kind: expr.callee.name, scale: scale.value ?? 0 };
  }
  const value = c.check(expr, scope);
  if (value.kind === "init") return value.init;
  if (value.kind === "error") return undefined;
  const number = numberOf(value);
  if (number !== undefined) return { kind: "constant", value: number.value ?? 0 };
  c.fail(
    "DSK1303",
    expr.span,
    { expected: "an initial value", found: describe(value) },
    { help: "`zeros`, `ones`, a number, `normal(deviation)` or `uniform(bound)`" },
  );
  return undefined;
}
