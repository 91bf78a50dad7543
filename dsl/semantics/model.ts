import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type { Ahead, Block, Callee, Fn, Module } from "../../compiler/model-ir/types.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import { isFloat, type DType, type TensorType } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import { checkCall } from "./calls.ts";
import { bodyScope, Checker, type Argument, type Rules, type Scope, type Target } from "./checker.ts";
import type { Dim } from "./dims.ts";
import { checkDims } from "./dim-members.ts";
import { checkOnStep } from "./events.ts";
import { expectations } from "./expects.ts";
import { checkExpr } from "./expressions.ts";
import { extentOf, LARGEST } from "./extent.ts";
import { callFn, checkUncalled } from "./functions.ts";
import type { Instance } from "./instance.ts";
import { instantiate, modelInstance } from "./instantiate.ts";
import type { FileScope, Loader } from "./load.ts";
import { isDType } from "./lookup.ts";
import { nameTables, tableHelp } from "./name-tables.ts";
import { initOf } from "./stores.ts";
import { keyed } from "./templates.ts";
import { patternOf } from "./types.ts";
import { describe, type Meaning, type Tensor } from "./values.ts";

export const RULES: Rules = { check: checkExpr, call: checkCall, callFn, instantiate };

export interface ModelResult {
  readonly checker: Checker;
  /** Undefined after an error. */
  readonly module: Module | undefined;
}

/** Checks a model and everything it is made of. `training` chooses what `training()` means. */
export function checkModel(
  decl: ast.ModelDecl,
  scope: FileScope,
  loader: Loader,
  diagnostics: Diagnostics,
  training: boolean,
): ModelResult {
  const c = new Checker(diagnostics, loader, RULES, training);
  const settings = modelSettings(c, decl, scope);
  const instance = modelInstance(c, decl, scope);
  if (instance === undefined) return { checker: c, module: undefined };
  const forward = checkForward(c, instance, decl);
  const ahead = forward === undefined ? undefined : checkAhead(c, instance);
  checkUncalled(c);
  for (const each of c.instances.values()) checkOnStep(c, each);
  const expects = expectations(c, instance);
  if (c.failed || forward === undefined || ahead === undefined) return { checker: c, module: undefined };
  const module: Module = {
    name: decl.name.text,
    dtype: c.dtype,
    dims: c.space.table,
    root: instance.block,
    forward,
    blocks: c.blocks,
    fns: c.fnTable,
    ahead,
    ...(settings.checkpoint === undefined ? {} : { checkpoint: settings.checkpoint }),
    losses: c.losses,
    expects,
  };
  const { parts, ops, elements } = extentOf(module);
  for (const [count, things, most] of [
    [parts, "parts", LARGEST],
    [ops, "operations", LARGEST],
    [elements, "elements in its params", Number.MAX_SAFE_INTEGER],
  ] as const) {
    if (count <= most) continue;
    const what = `model \`${module.name}\` has ${Number(count.toPrecision(6))} ${things}`;
    c.fail("DSK2106", decl.name.span, { what, most });
    return { checker: c, module: undefined };
  }
  return { checker: c, module };
}

/** `dtype`, `init` and `checkpoint` of a model and of those it extends; the most derived one counts. */
function modelSettings(c: Checker, decl: ast.ModelDecl, scope: FileScope): { checkpoint?: string } {
  const done = new Set<string>();
  let checkpoint: string | undefined;
  for (
    let model: ast.ModelDecl | undefined = decl, seen = new Set<ast.ModelDecl>();
    model !== undefined && !seen.has(model);
  ) {
    seen.add(model);
    for (const item of model.items) {
      if (item.kind !== "set") continue;
      const name = item.name.text;
      if (!["dtype", "init", "checkpoint"].includes(name)) {
        c.fail("DSK2301", item.name.span, { name }, { help: "a model sets `dtype`, `init` and `checkpoint`" });
        continue;
      }
      if (done.has(name)) continue;
      done.add(name);
      const { value } = item;
      if (name === "dtype") c.dtype = dtypeSetting(c, value) ?? c.dtype;
      else if (name === "init") c.init = initOf(c, value, emptyScope(decl, scope)) ?? c.init;
      else checkpoint = tableSetting(c, value);
    }
    const base: ast.Expr | undefined = model.extends;
    model = base?.kind === "name" ? scope.models.get(base.name) : undefined;
  }
  return checkpoint === undefined ? {} : { checkpoint };
}

function dtypeSetting(c: Checker, expr: ast.Expr): DType | undefined {
  if (expr.kind === "name" && isDType(expr.name) && isFloat(expr.name)) return expr.name;
  const name = expr.kind === "name" ? expr.name : "this";
  c.fail("DSK1302", expr.span, { name }, { help: "a model computes in f32, bf16, f16 or f64" });
  return undefined;
}

function tableSetting(c: Checker, expr: ast.Expr): string | undefined {
  const parts: string[] = [];
  let at = expr;
  for (; at.kind === "member"; at = at.object) parts.unshift(at.name.text);
  if (at.kind === "name") parts.unshift(at.name);
  const [std, hf, name] = parts;
  if (parts.length === 3 && std === "std" && hf === "hf") {
    const tables = nameTables(c.loader.std);
    if (tables.includes(name!)) return name;
    c.fail("DSK1001", expr.span, { name: parts.join(".") }, { help: tableHelp(name!, tables) });
    return undefined;
  }
  c.fail(
    "DSK1303",
    expr.span,
    { expected: "a table of checkpoint names", found: "something else" },
    { help: "`checkpoint = std.hf.deepseek`" },
  );
  return undefined;
}

/** The scope of settings: numbers only. */
function emptyScope(decl: ast.ModelDecl, scope: FileScope): Scope {
  const block: Block = { id: decl.name.text, names: [], dims: new Map(), stores: new Map(), uses: new Map() };
  const level = { decl, scope, formals: new Map(), rest: undefined, args: new Map() };
  const instance: Instance = {
    block,
    key: "",
    at: decl.name.span,
    levels: [level],
    members: new Map(),
    sizes: new Map(),
    dims: new Map(),
    stores: new Map(),
    uses: new Map(),
    metrics: new Map(),
    misnamed: new Set(),
    aliases: new Map(),
  };
  return bodyScope(instance, level);
}

function checkForward(c: Checker, instance: Instance, decl: ast.ModelDecl): Fn | undefined {
  const member = instance.members.get("forward");
  if (member?.item.kind !== "fn") {
    // One that could not be parsed is told already.
    const isLost = member?.item.kind === "use" && member.item.value.kind === "error";
    if (isLost || instance.levels[0]!.scope.file.torn) {
      c.failed = true;
      return undefined;
    }
    c.fail(
      "DSK2003",
      decl.name.span,
      { name: decl.name.text },
      { help: "`fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { ... }`" },
    );
    return undefined;
  }
  const { item } = member;
  const wrong = (why: string, at = item.name.span): undefined => {
    c.fail(
      "DSK2004",
      at,
      { name: decl.name.text, why },
      { help: "`fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { ... }`" },
    );
    return undefined;
  };
  if (item.params.length !== 2)
    return wrong(
      `takes ${item.params.length === 1 ? "1 parameter" : `${item.params.length} parameters`} instead of tokens and positions`,
    );
  const odd = item.params.find(({ type }) => !isTokens(type));
  if (odd !== undefined) {
    const { file, start, end } = odd.span;
    const isBroken = hasErrors(c, odd.type, instance);
    if (!isBroken) wrong(`takes \`${file.text.slice(start, end)}\` where tokens and positions are i32[T]`, odd.span);
    // A body for other types is looked at with those; else with what it will be given.
    if (!isBroken && odd.type.kind === "tensor" && (odd.type.base?.text ?? "i32") !== "i32") return undefined;
    const params = item.params.map((param) => ({ ...param, type: tokensType(param.type.span) }));
    instance.members.set("forward", { ...member, item: { ...item, params } });
  }
  const { tokens } = c.space;
  const ids: TensorType = { dtype: "i32", dims: [tokens.label] };
  const entry = enter(
    c,
    { instance, use: "", fn: "forward" },
    [
      [ids, [tokens]],
      [ids, [tokens]],
    ],
    item.name.span,
  );
  if (entry === undefined) return undefined;
  const { result } = entry;
  if (
    result.kind !== "tensor" ||
    result.dims.length !== 2 ||
    result.dims[0] !== tokens ||
    !isFloat(result.value.type.dtype)
  ) {
    return wrong(`gives ${describe(result)} instead of logits [T, V]`);
  }
  return entry.fn;
}

/** True for a type with errors of its own, which are told. */
function hasErrors(c: Checker, type: ast.Type, instance: Instance): boolean {
  if (type.kind === "tuple") return false;
  const pattern = patternOf(c, type);
  return pattern === undefined || checkDims(c, pattern.dims, bodyScope(instance, instance.levels[0]!)) === undefined;
}

/** `i32[T]`, as if it stood there. */
function tokensType(span: Span): ast.Type {
  const dim: ast.TypeDim = { kind: "dim", value: { kind: "name", name: "T", span }, span };
  return { kind: "tensor", base: { text: "i32", span }, dims: [dim], span };
}

/** `i32[T]`. */
function isTokens(type: ast.Type): boolean {
  if (type.kind !== "tensor" || type.base?.text !== "i32" || type.dims?.length !== 1) return false;
  const [dim] = type.dims;
  return dim?.kind === "dim" && dim.value.kind === "name" && dim.value.name === "T";
}

/** Checks a function for arguments of these types, as a program calls it from outside. */
function enter(
  c: Checker,
  target: Target,
  types: readonly (readonly [TensorType, readonly Dim[]])[],
  at: Span,
): { fn: Fn; result: Meaning } | undefined {
  const builder = new ProgramBuilder(c.space.table);
  const scope: Scope = { ...bodyScope(target.instance, target.instance.levels[0]!), builder, code: true };
  const args = types.map(([type, dims]): Argument => {
    const tensor: Tensor = { kind: "tensor", value: builder.value(type), dims };
    return { span: at, evaluate: () => tensor };
  });
  const result = callFn(c, target, args, scope, at);
  const call = builder.ops.find((op) => op.name === "model.call");
  if (result.kind === "error" || call === undefined) return undefined;
  return { fn: c.fnTable.get(String(call.attrs["fn"]))!, result };
}

/** The functions that multi-token prediction calls. Undefined after an error. */
function checkAhead(c: Checker, root: Instance): Map<string, Ahead> | undefined {
  const found = new Map<string, Ahead>();
  for (const [name, use] of root.uses) {
    if (use.kind !== "ahead") continue;
    const { tokens } = c.space;
    const width = use.instance.levels[0]!.formals.get("D")!;
    const hidden: TensorType = { dtype: c.dtype, dims: [tokens.label, width.label] };
    const ids: TensorType = { dtype: "i32", dims: [tokens.label] };
    const h = [hidden, [tokens, width]] as const;
    const t = [ids, [tokens]] as const;
    const forward = enter(c, { instance: use.instance, use: name, fn: "forward" }, [h, h, t], use.span);
    const readout = enter(c, { instance: use.instance, use: name, fn: "readout" }, [h], use.span);
    const embed = shared(c, root, use.embed, t, use.span);
    const head = shared(c, root, use.head, h, use.span);
    if (forward === undefined || readout === undefined || embed === undefined || head === undefined) return undefined;
    found.set(name, { depth: use.depth, forward: forward.fn, readout: readout.fn, embed, head });
  }
  return found;
}

/** The use that stands behind a name, through aliases, and the function that is called. */
function shared(
  c: Checker,
  root: Instance,
  name: string,
  arg: readonly [TensorType, readonly Dim[]],
  at: Span,
): Callee | undefined {
  let use = root.uses.get(name);
  let of = name;
  let fn: string | undefined;
  while (use?.kind === "alias") {
    fn ??= use.fn;
    of = use.of;
    use = root.uses.get(of);
  }
  // What is wrong with it is told already.
  if (use?.kind === "unknown") return undefined;
  if (use?.kind !== "block") {
    c.fail("DSK1303", at, { expected: "a block that the model uses", found: `\`${name}\`` });
    return undefined;
  }
  const entry = enter(c, { instance: use.instance, use: of, fn: fn ?? use.fn }, [arg], at);
  return entry === undefined ? undefined : { use: of, fn: entry.fn };
}

/**
 * An optimizer of the standard library for one parameter: its states have the parameter's dims, `on step` gives the new
 * weight.
 */
export function optimizerBlock(
  c: Checker,
  name: string,
  args: ReadonlyMap<string, number | boolean>,
  type: TensorType,
): Block | undefined {
  const found = c.loader.standard("optim").blocks.get(name);
  if (found === undefined) return undefined;
  const dims = type.dims.map((label) => c.space.byLabel(label));
  const values = new Map<string, Meaning>(
    [...args].map(([k, v]) => [k, typeof v === "number" ? { kind: "number", value: v } : { kind: "bool", value: v }]),
  );
  const template = keyed({
    kind: "block",
    decl: found.decl,
    scope: found.scope,
    dims,
    args: values,
    fn: "forward",
    key: "",
  });
  const instance = instantiate(c, template, found.decl.name.span);
  if (instance === undefined) return undefined;
  if (instance.block.onStep === undefined) checkOnStep(c, instance);
  return instance.block;
}
