/** Meshes of devices: `256 nodes * 8 gpus(h800)`, `32 gpus`. */
import type * as ast from "../../syntax/ast.ts";
import type { UnitKind } from "../../syntax/units.ts";
import type { Context } from "./context.ts";
import { checkNumber } from "./numbers.ts";
import type { Type, Value } from "./types.ts";

interface Factor {
  readonly measure: UnitKind;
  readonly value: number;
  readonly device: string | undefined;
}

/** The kinds of devices that dskc knows: what the function `gpus` of the schemas takes. */
function deviceType({ schemas }: Context): Type {
  const type = schemas.functions.get("gpus")?.[0]?.params[0]?.type;
  if (type === undefined) throw new Error("dsl/std/sections declares no `gpus`");
  return type;
}

function factorOf(c: Context, expr: ast.Expr): Factor | undefined {
  const call = expr.kind === "call" ? expr : undefined;
  const quantity = call === undefined ? expr : call.callee;
  if (quantity.kind !== "quantity") return undefined;
  const device = call?.args[0]?.value;
  if (call !== undefined && (call.args.length !== 1 || device?.kind !== "name" || !/^gpus?$/.test(quantity.unit ?? "")))
    return undefined;
  // A kind of device that is unknown, which is told, says nothing about how many there are.
  if (device !== undefined) c.check(c, device, deviceType(c));
  const value = checkNumber(c, quantity, [
    { kind: "quantity", measure: "nodes" },
    { kind: "quantity", measure: "gpus" },
  ]);
  if (value.kind !== "number") return { measure: "gpus", value: NaN, device: undefined };
  return { measure: value.measure!, value: value.value, device: device?.kind === "name" ? device.name : undefined };
}

function factorsOf(expr: ast.Expr): ast.Expr[] {
  if (expr.kind === "binary" && expr.op === "*") return [...factorsOf(expr.left), ...factorsOf(expr.right)];
  return [expr.kind === "paren" ? expr.inner : expr];
}

/** The mesh that an expression means; undefined when it does not look like one. */
export function checkMesh(c: Context, expr: ast.Expr): Value | undefined {
  const factors = factorsOf(expr).map((factor) => factorOf(c, factor));
  if (factors.some((factor) => factor === undefined)) return undefined;
  const all = factors as Factor[];
  if (all.some((factor) => Number.isNaN(factor.value))) return { kind: "error", span: expr.span };
  const nodes = all.filter((factor) => factor.measure === "nodes");
  const gpus = all.filter((factor) => factor.measure === "gpus");
  if (nodes.length > 1 || gpus.length !== 1) {
    const what = gpus.length === 0 ? "nothing says how many GPUs a node has" : "each stands once";
    c.diagnostics.report("DSK3009", expr.span, { what }, { help: "`256 nodes * 8 gpus(h800)` or `8 gpus`" });
    return { kind: "error", span: expr.span };
  }
  const count = nodes[0]?.value ?? 1;
  return { kind: "mesh", nodes: count, gpus: count * gpus[0]!.value, device: gpus[0]!.device, span: expr.span };
}
