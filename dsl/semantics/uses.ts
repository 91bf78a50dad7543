import { closest } from "../../compiler/diagnostics/did-you-mean.ts";
import type { Use } from "../../compiler/model-ir/types.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, type Checker, type Scope } from "./checker.ts";
import { checkDim } from "./dim-members.ts";
import type { Dim } from "./dims.ts";
import { LARGEST } from "./extent.ts";
import { noFunction } from "./functions.ts";
import { lookup, unknownName } from "./lookup.ts";
import type { Instance, Level, UseInfo } from "./instance.ts";
import { numberOf } from "./numbers.ts";
import { keyed } from "./templates.ts";
import { describe, type BlockTemplate, type Meaning } from "./values.ts";

/** Blocks given as arguments are uses under the argument's name; one that is passed on is the same use. */
export function placeArguments(c: Checker, instance: Instance): void {
  const placed = new Map<Meaning, string>();
  for (const level of instance.levels) {
    for (const [name, arg] of level.args) {
      const value = arg.get();
      if (value.kind !== "block" || instance.uses.has(name)) continue;
      const of = placed.get(value);
      const param = level.decl.kind === "block" ? level.decl.params.find((p) => p.name.text === name) : undefined;
      if (of !== undefined)
        addUse(instance, name, { kind: "alias", of, fn: value.fn }, { kind: "alias", of, fn: value.fn });
      else placeBlock(c, instance, name, value, undefined, value.at ?? param?.span ?? level.decl.span);
      placed.set(value, name);
    }
  }
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
): void {
  const inner = c.rules.instantiate(c, template, at);
  if (inner === undefined) {
    instance.uses.set(name, { kind: "unknown" });
    return;
  }
  const { fn } = template;
  if (template.fnAt !== undefined && !hasFunction(c, inner, name, fn, template.fnAt)) {
    instance.uses.set(name, { kind: "unknown" });
    return;
  }
  addUse(
    instance,
    name,
    { kind: "block", instance: inner, fn, over },
    { kind: "block", block: inner.block, fn, ...(over === undefined ? {} : { over: over.label }) },
  );
}

/** Whether a block has the function that shall stand for it; says so if it has not. */
function hasFunction(c: Checker, instance: Instance, use: string, fn: string, at: Span): boolean {
  const item = instance.members.get(fn)?.item;
  if (item?.kind === "fn") return true;
  // Something by that name that could not be parsed is told already.
  if (item?.kind !== "use" || item.value.kind !== "error") noFunction(c, { instance, use, fn }, at);
  return false;
}

/** Looks whether blocks have the functions that aliases of their uses name: once all uses are there. */
export function checkAliases(c: Checker, instance: Instance): void {
  for (const [name, use] of instance.uses) {
    if (use.kind !== "alias" || use.at === undefined) continue;
    let of = instance.uses.get(use.of);
    while (of?.kind === "alias") of = instance.uses.get(of.of);
    if (of?.kind === "block" && !hasFunction(c, of.instance, use.of, use.fn, use.at))
      instance.uses.set(name, { kind: "unknown" });
  }
}

/** Places what stands behind `use`; after an error nothing is known of it. */
export function placeUse(c: Checker, instance: Instance, name: string, item: ast.UseItem, level: Level): void {
  instance.uses.set(name, { kind: "busy" });
  place(c, instance, name, item, bodyScope(instance, level));
  if (instance.uses.get(name)!.kind === "busy") instance.uses.set(name, { kind: "unknown" });
}

/** True when the use that an alias stands for leads back to a name. */
function leadsTo(instance: Instance, from: string, name: string): boolean {
  for (let at = from; ;) {
    if (at === name) return true;
    const use = instance.uses.get(at);
    if (use?.kind !== "alias") return false;
    at = use.of;
  }
}

function place(c: Checker, instance: Instance, name: string, item: ast.UseItem, scope: Scope): void {
  const over =
    item.over === undefined
      ? undefined
      : checkDim(c, { kind: "name", name: item.over.text, span: item.over.span }, scope);
  if (item.over !== undefined && over === undefined) return;
  if (item.value.kind === "stack") return placeStack(c, instance, name, item.value, scope);
  if (item.value.kind === "call" && item.value.callee.kind === "name" && item.value.callee.name === "predict_ahead") {
    return placeAhead(c, instance, name, item.value, scope);
  }
  const value = c.check(item.value, scope);
  if (value.kind === "error") return;
  if (value.kind === "use" && over === undefined) {
    const fn = value.fn ?? "forward";
    if (leadsTo(instance, value.name, name)) c.fail("DSK1104", item.name.span, { what: "use", name });
    else {
      const at = item.value.kind === "member" ? { at: item.value.name.span } : {};
      addUse(instance, name, { kind: "alias", of: value.name, fn, ...at }, { kind: "alias", of: value.name, fn });
    }
    return;
  }
  if (value.kind !== "block") {
    c.fail("DSK1303", item.value.span, { expected: "a block", found: describe(value) });
    return;
  }
  placeBlock(c, instance, name, value, over, item.value.span);
}

function placeStack(
  c: Checker,
  instance: Instance,
  name: string,
  expr: ast.Expr & { kind: "stack" },
  scope: Scope,
): void {
  const layers: { count: number; instance: Instance }[] = [];
  if (expr.layers.length === 0) c.fail("DSK2104", expr.span, { what: "the number of layers", value: "0" });
  for (const layer of expr.layers) {
    const count = layerCount(c, layer.count, scope);
    const value = c.check(layer.of, scope);
    if (value.kind !== "error" && value.kind !== "block") {
      c.fail("DSK1303", layer.of.span, { expected: "a block", found: describe(value) });
    }
    const inner = value.kind === "block" ? c.rules.instantiate(c, value, layer.of.span) : undefined;
    if (inner !== undefined) layers.push({ count, instance: inner });
  }
  if (layers.length === 0) return;
  const blocks = layers.map((l) => ({ count: l.count, block: l.instance.block }));
  addUse(instance, name, { kind: "stack", layers }, { kind: "stack", layers: blocks });
}

function layerCount(c: Checker, expr: ast.Expr, scope: Scope): number {
  const value = c.check(expr, scope);
  if (value.kind === "error") return 1;
  const count = numberOf(value);
  if (count === undefined) c.fail("DSK1303", expr.span, { expected: "a number of layers", found: describe(value) });
  else if (count.value !== undefined && (!Number.isSafeInteger(count.value) || count.value < 1)) {
    c.fail("DSK2104", expr.span, { what: "the number of layers", value: `${count.value}` });
  } else if (count.value !== undefined && count.value > LARGEST) {
    c.fail("DSK2106", expr.span, { what: `a stack of ${count.value} layers`, most: LARGEST });
  } else return count.value ?? 1;
  return 1;
}

/** How many tokens ahead are predicted; 1 where nothing says it. Undefined after an error. */
function aheadDepth(c: Checker, expr: ast.Expr | undefined, scope: Scope): number | undefined {
  if (expr === undefined) return 1;
  const value = c.check(expr, scope);
  if (value.kind === "error") return undefined;
  const depth = numberOf(value)?.value;
  if (depth === undefined || !Number.isSafeInteger(depth) || depth < 1)
    c.fail("DSK2104", expr.span, { what: "the depth", value: depth === undefined ? describe(value) : `${depth}` });
  else if (depth > LARGEST) c.fail("DSK2106", expr.span, { what: `${depth} look-ahead modules`, most: LARGEST });
  else return depth;
  return undefined;
}

const AHEAD = ["depth", "with", "shares", "eps"];

/** Looks at the arguments of a `predict_ahead` that cannot be made; `shares` are names, not values. */
function checkRest(c: Checker, { args }: ast.Expr & { kind: "call" }, scope: Scope): void {
  c.checkRest(
    args.filter(({ value }) => value.kind !== "list").map(({ value }) => value),
    scope,
  );
}

/** The names of the embedding and the head in `shares: [embed, head]`. Undefined after an error. */
function sharedUses(
  c: Checker,
  expr: ast.Expr,
  { members }: Instance,
  scope: Scope,
  fail: (at: Span, why: string) => void,
): { readonly embed: string; readonly head: string } | undefined {
  const names = expr.kind === "list" ? expr.items : [];
  const unknown = names.filter((item) => item.kind === "name" && lookup(c, item.name, scope) === undefined);
  for (const item of unknown) if (item.kind === "name") unknownName(c, item.name, item.span, scope);
  if (unknown.length > 0) return undefined;
  const [embed, head] = names.map((item) => (item.kind === "name" ? item.name : ""));
  const isUse = (name: string | undefined): name is string => members.get(name ?? "")?.item.kind === "use";
  if (names.length === 2 && isUse(embed) && isUse(head)) return { embed, head };
  fail(expr.span, "shares two uses of the model: the embedding and the head");
  return undefined;
}

/** `predict_ahead(depth: 1, with: Decoder[D](...), shares: [embed, head], eps: 1e-6)` (DeepSeek-V3 section 2.2). */
function placeAhead(
  c: Checker,
  instance: Instance,
  name: string,
  expr: ast.Expr & { kind: "call" },
  scope: Scope,
): void {
  const given = new Map(expr.args.map((a) => [a.name?.text ?? "", a.value]));
  const fail = (at: Span, why: string): void => {
    c.fail(
      "DSK1304",
      at,
      { callee: "predict_ahead", why },
      { help: "`predict_ahead(depth: 1, with: Decoder[D](...), shares: [embed, head])`" },
    );
  };
  for (const arg of expr.args) {
    if (arg.name !== undefined && AHEAD.includes(arg.name.text)) continue;
    fail(arg.span, arg.name === undefined ? "takes named arguments" : `has no argument \`${arg.name.text}\``);
    const [meant, second] = closest(arg.name?.text ?? "", AHEAD);
    // What was meant counts as given.
    if (meant === undefined || second !== undefined || given.has(meant)) return checkRest(c, expr, scope);
    given.set(meant, arg.value);
  }
  const [depthExpr, layerExpr, sharesExpr, epsExpr] = AHEAD.map((name) => given.get(name));
  if (layerExpr === undefined || sharesExpr === undefined) {
    fail(expr.span, `needs \`${layerExpr === undefined ? "with" : "shares"}\``);
    return checkRest(c, expr, scope);
  }
  const depth = aheadDepth(c, depthExpr, scope);
  const layer = c.check(layerExpr, scope);
  const dim = layer.kind === "block" ? layer.dims[0] : undefined;
  const fits = layer.kind === "block" && dim !== undefined && typeof dim !== "number";
  if (!fits && layer.kind !== "error") fail(layerExpr.span, "needs a layer with the model's width, `Decoder[D](...)`");
  const shares = sharedUses(c, sharesExpr, instance, scope, fail);
  if (depth === undefined || !fits || shares === undefined) return;
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
  if (inner === undefined) return;
  addUse(
    instance,
    name,
    { kind: "ahead", depth, instance: inner, embed: shares.embed, head: shares.head, span: expr.span },
    { kind: "ahead", depth, block: inner.block },
  );
}
