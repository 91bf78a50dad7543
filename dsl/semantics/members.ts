import type { Init, Store, Use } from "../../compiler/model-ir/types.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, type Checker, type Scope } from "./checker.ts";
import { checkDim, checkDims, checkDType, memberDim } from "./dim-members.ts";
import type { Dim } from "./dims.ts";
import type { Instance, Level, Member, UseInfo } from "./instance.ts";
import { isDType } from "./lookup.ts";
import { numberOf } from "./numbers.ts";
import { describe, type BlockTemplate, type Meaning } from "./values.ts";
import { keyed } from "./templates.ts";

/** Makes every dim, store and use of a block, used by its functions or not: they count. */
export function placeMembers(c: Checker, instance: Instance): boolean {
  let sound = true;
  for (const level of instance.levels) {
    for (const [name, dim] of level.formals)
      if (!instance.block.dims.has(name)) instance.block.dims.set(name, dim.label);
  }
  for (const [name, member] of instance.members) {
    if (member.item.kind !== "dim") continue;
    const dim = memberDim(c, instance, name);
    if (dim === undefined) sound = false;
    else instance.block.dims.set(name, dim.label);
  }
  for (const [name, { item, level }] of instance.members) {
    if (item.kind === "param" || item.kind === "state" || item.kind === "cache")
      sound = placeStore(c, instance, name, item, level) && sound;
  }
  sound = placeArguments(c, instance) && sound;
  for (const [name, member] of instance.members) {
    if (member.item.kind === "use") sound = placeUse(c, instance, name, member.item, member) && sound;
  }
  return sound;
}

function placeStore(c: Checker, instance: Instance, name: string, item: ast.StoreItem, level: Level): boolean {
  const scope = bodyScope(instance, level);
  if (item.type.kind === "tuple") {
    c.fail("DSK1303", item.type.span, { expected: "a tensor type", found: "a tuple" });
    return false;
  }
  const dtype = checkDType(c, item.type.base, c.dtype, isDType);
  const dims = checkDims(c, item.type.dims ?? [], scope);
  const init = item.value === undefined ? (item.kind === "param" ? c.init : ZERO) : initOf(c, item.value, scope);
  if (dtype === undefined || dims === undefined || init === undefined) return false;
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
    return false;
  }
  if (item.kind === "param" && (dtype === "i32" || dtype === "bool")) {
    c.fail("DSK1301", item.type.span, { expected: "floats", found: dtype }, { help: "only floats are trained" });
    return false;
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
  return true;
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

/** Blocks given as arguments are uses under the argument's name; one that is passed on is the same use. */
function placeArguments(c: Checker, instance: Instance): boolean {
  const placed = new Map<Meaning, string>();
  let sound = true;
  for (const level of instance.levels) {
    for (const [name, arg] of level.args) {
      const value = arg.get();
      if (value.kind === "error") sound = false;
      if (value.kind !== "block" || instance.uses.has(name)) continue;
      const of = placed.get(value);
      const param = level.decl.kind === "block" ? level.decl.params.find((p) => p.name.text === name) : undefined;
      if (of !== undefined)
        addUse(instance, name, { kind: "alias", of, fn: value.fn }, { kind: "alias", of, fn: value.fn });
      else sound = placeBlock(c, instance, name, value, undefined, param?.span ?? level.decl.span) && sound;
      placed.set(value, name);
    }
  }
  return sound;
}

function addUse(instance: Instance, name: string, info: UseInfo, use: Use): void {
  instance.uses.set(name, info);
  instance.block.uses.set(name, use);
}

function placeBlock(
  c: Checker,
  instance: Instance,
  name: string,
  template: BlockTemplate,
  over: Dim | undefined,
  at: Span,
): boolean {
  const inner = c.rules.instantiate(c, template, at);
  if (inner === undefined) {
    instance.uses.set(name, { kind: "unknown" });
    return template.decl === undefined;
  }
  const { fn } = template;
  addUse(
    instance,
    name,
    { kind: "block", instance: inner, fn, over },
    { kind: "block", block: inner.block, fn, ...(over === undefined ? {} : { over: over.label }) },
  );
  return true;
}

function placeUse(c: Checker, instance: Instance, name: string, item: ast.UseItem, { level }: Member): boolean {
  const scope = bodyScope(instance, level);
  instance.uses.set(name, { kind: "unknown" });
  const over =
    item.over === undefined
      ? undefined
      : checkDim(c, { kind: "name", name: item.over.text, span: item.over.span }, scope);
  if (item.over !== undefined && over === undefined) return false;
  if (item.value.kind === "stack") return placeStack(c, instance, name, item.value, scope);
  if (item.value.kind === "call" && item.value.callee.kind === "name" && item.value.callee.name === "predict_ahead") {
    return placeAhead(c, instance, name, item.value, scope);
  }
  const value = c.check(item.value, scope);
  if (value.kind === "error") return false;
  if (value.kind === "use" && over === undefined) {
    const fn = value.fn ?? "forward";
    addUse(instance, name, { kind: "alias", of: value.name, fn }, { kind: "alias", of: value.name, fn });
    return true;
  }
  if (value.kind !== "block") {
    c.fail("DSK1303", item.value.span, { expected: "a block", found: describe(value) });
    return false;
  }
  return placeBlock(c, instance, name, value, over, item.value.span);
}

function placeStack(
  c: Checker,
  instance: Instance,
  name: string,
  expr: ast.Expr & { kind: "stack" },
  scope: Scope,
): boolean {
  const layers: { count: number; instance: Instance }[] = [];
  let sound = expr.layers.length > 0;
  if (!sound) c.fail("DSK2104", expr.span, { what: "the number of layers", value: "0" });
  for (const layer of expr.layers) {
    const count = numberOf(c.check(layer.count, scope))?.value;
    if (count === undefined || !Number.isSafeInteger(count) || count < 1) {
      if (count !== undefined) c.fail("DSK2104", layer.count.span, { what: "the number of layers", value: `${count}` });
      sound = false;
    }
    const value = c.check(layer.of, scope);
    if (value.kind === "error") sound = false;
    else if (value.kind !== "block") {
      c.fail("DSK1303", layer.of.span, { expected: "a block", found: describe(value) });
      sound = false;
    } else {
      const inner = c.rules.instantiate(c, value, layer.of.span);
      if (inner === undefined) sound = false;
      else layers.push({ count: count ?? 1, instance: inner });
    }
  }
  if (sound)
    addUse(
      instance,
      name,
      { kind: "stack", layers },
      { kind: "stack", layers: layers.map((l) => ({ count: l.count, block: l.instance.block })) },
    );
  return sound;
}

/** `predict_ahead(depth: 1, with: Decoder[D](...), shares: [embed, head], eps: 1e-6)` (DeepSeek-V3 section 2.2). */
function placeAhead(
  c: Checker,
  instance: Instance,
  name: string,
  expr: ast.Expr & { kind: "call" },
  scope: Scope,
): boolean {
  const given = new Map(expr.args.map((a) => [a.name?.text ?? "", a.value]));
  const fail = (at: Span, why: string): boolean => {
    c.fail(
      "DSK1304",
      at,
      { callee: "predict_ahead", why },
      { help: "`predict_ahead(depth: 1, with: Decoder[D](...), shares: [embed, head])`" },
    );
    return false;
  };
  for (const arg of expr.args) {
    if (!["depth", "with", "shares", "eps"].includes(arg.name?.text ?? ""))
      return fail(arg.span, arg.name === undefined ? "takes named arguments" : `has no argument \`${arg.name.text}\``);
  }
  const [depthExpr, layerExpr, sharesExpr, epsExpr] = ["depth", "with", "shares", "eps"].map((k) => given.get(k));
  if (layerExpr === undefined || sharesExpr === undefined)
    return fail(expr.span, `needs \`${layerExpr === undefined ? "with" : "shares"}\``);
  const depth = depthExpr === undefined ? 1 : numberOf(c.check(depthExpr, scope))?.value;
  if (depth === undefined || !Number.isSafeInteger(depth) || depth < 1) {
    c.fail("DSK2104", depthExpr?.span ?? expr.span, { what: "the depth", value: `${depth ?? "unknown"}` });
    return false;
  }
  const layer = c.check(layerExpr, scope);
  if (layer.kind === "error") return false;
  const dim = layer.kind === "block" ? layer.dims[0] : undefined;
  if (layer.kind !== "block" || dim === undefined || typeof dim === "number")
    return fail(layerExpr.span, "needs a layer with the model's width, `Decoder[D](...)`");
  const shares = sharesExpr.kind === "list" ? sharesExpr.items.map((i) => (i.kind === "name" ? i.name : "")) : [];
  if (shares.length !== 2 || shares.some((s) => instance.members.get(s)?.item.kind !== "use"))
    return fail(sharesExpr.span, "shares two uses of the model: the embedding and the head");
  const module = c.loader.standard("mtp").blocks.get("PredictAhead");
  if (module === undefined) throw new Error("std/mtp has no PredictAhead");
  const eps = epsExpr === undefined ? undefined : c.check(epsExpr, scope);
  const plain: BlockTemplate = {
    kind: "block",
    decl: module.decl,
    scope: module.scope,
    dims: [dim],
    args: new Map<string, Meaning>([["layer", layer], ...(eps === undefined ? [] : [["eps", eps] as const])]),
    fn: "forward",
    key: "",
  };
  const inner = c.rules.instantiate(c, keyed(plain), expr.span);
  if (inner === undefined) return false;
  addUse(
    instance,
    name,
    { kind: "ahead", depth, instance: inner, embed: shares[0]!, head: shares[1]!, span: expr.span },
    { kind: "ahead", depth, block: inner.block },
  );
  return true;
}
