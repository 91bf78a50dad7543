import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import { closest } from "../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type { Fn } from "../../compiler/model-ir/types.ts";
import type { Value } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import {
  bodyScope,
  freeId,
  type Argument,
  type Checker,
  type FnInfo,
  LOST,
  type Scope,
  type Target,
} from "./checker.ts";
import { checkDims } from "./dim-members.ts";
import { sameSet, type Dim } from "./dims.ts";
import { cast, dtypeOf, rename, spreadTo } from "./emit.ts";
import { instanceName, type Member } from "./instance.ts";
import { toTensor } from "./operands.ts";
import { runStatements } from "./statements.ts";
import { acceptsDType, checkStatic, matchDims, patternOf, plainDims, staticType, type Bindings } from "./types.ts";
import { ERROR, keyOf, type Meaning, type Tensor } from "./values.ts";

/**
 * Checks the functions of blocks that are placed and never called, as far as their parameters' types say enough: their dims
 * have sizes here. What the check adds to the model is taken out again.
 */
export function checkUncalled(c: Checker): void {
  const called = new Set([...c.fns.keys()].map((key) => key.slice(0, key.lastIndexOf(".", key.indexOf("@")))));
  const idle = [...c.instances.values()].filter(({ block, levels }) => levels.length > 0 && !called.has(block.id));
  const before = { fns: new Set(c.fnTable.keys()), losses: new Set(c.losses), names: new Set(c.trainNames.keys()) };
  for (const instance of idle) {
    const scope = {
      ...bodyScope(instance, instance.levels[0]!),
      code: true,
      builder: new ProgramBuilder(c.space.table),
    };
    for (const [fn, member] of instance.members)
      if (member.item.kind === "fn")
        declaredCall(c, { instance, use: "", fn }, member, member.item, scope, member.item.name.span);
  }
  for (const id of c.fnTable.keys()) if (!before.fns.has(id)) c.fnTable.delete(id);
  for (const loss of c.losses) if (!before.losses.has(loss)) c.losses.delete(loss);
  for (const name of c.trainNames.keys()) if (!before.names.has(name)) c.trainNames.delete(name);
}

/** A function with the arguments of one call: enough to check its body. */
interface Signature {
  readonly item: ast.FnItem;
  readonly scope: Scope;
  readonly args: readonly Meaning[];
}

/** Calls a function of a block; each call signature is checked once. */
export function callFn(c: Checker, target: Target, args: readonly Argument[], scope: Scope, at: Span): Meaning {
  const member = target.instance.members.get(target.fn);
  if (member?.item.kind !== "fn") {
    return noFunction(c, target, target.fnAt ?? at);
  }
  const signature = bindArguments(c, target, member, member.item, args, scope, at);
  if (typeof signature === "string") {
    c.failed = true;
    const result = declaredCall(c, target, member, member.item, scope, at);
    return signature === "unknown" ? result : ERROR;
  }
  return applyFn(c, target, signature, scope, at);
}

/**
 * A call with arguments as declared, where those that are given have errors: the body is looked at for errors of its own, and
 * what is done with the result.
 */
function declaredCall(
  c: Checker,
  target: Target,
  { level }: Member,
  item: ast.FnItem,
  scope: Scope,
  at: Span,
): Meaning {
  const body: Scope = { ...bodyScope(target.instance, level), code: true };
  const args = item.params.map((param) => declaredArgument(c, param, item, body));
  if (scope.builder === undefined || args.some((arg) => arg.kind === "error")) return ERROR;
  const signature: Signature = { item, scope: body, args };
  return resolveFn(c, target.instance, signature, at) === undefined
    ? ERROR
    : declaredResult(c, target, signature, scope);
}

/** An argument of the type that a parameter declares; an error where only a call can tell it. */
function declaredArgument(c: Checker, param: ast.Param, item: ast.FnItem, body: Scope): Meaning {
  if (staticType(param.type) !== undefined || param.type.kind === "tuple" || item.dims.length > 0) return ERROR;
  if (param.type.dims?.some((dim) => dim.kind === "rest") ?? false) return ERROR;
  const pattern = patternOf(c, param.type);
  const dims = pattern === undefined ? undefined : checkDims(c, pattern.dims, body);
  // Indices say what they point into only at a call.
  if (dims === undefined || (pattern!.dtype === "i32" && dims.some((dim) => dim.size !== null))) return ERROR;
  const type = { dtype: pattern!.dtype ?? c.dtype, dims: dims.map((dim) => dim.label) };
  return { kind: "tensor", value: new ProgramBuilder(c.space.table).value(type), dims };
}

/** Reports a function that a block does not have, with the nearest one. */
export function noFunction(
  c: Checker,
  { instance, use, fn }: Pick<Target, "instance" | "use" | "fn">,
  at: Span,
): Meaning {
  const item = instance.members.get(fn)?.item;
  const isLost = item?.kind === "use" && item.value.kind === "error";
  // What could not be parsed is told already.
  if (isLost || instance.levels.some(({ scope }) => scope.file.torn)) {
    c.failed = true;
    return ERROR;
  }
  if (fn === "forward") return c.fail("DSK2003", at, { name: instanceName(instance) });
  if (c.diagnostics.isCrowded) return c.fail("DSK1006", at, { object: `\`${use}\``, name: fn });
  const names = [...instance.members].flatMap(([name, { item }]) => (item.kind === "fn" ? [name] : []));
  const near = closest(fn, names);
  const help =
    near.length > 0 ? `did you mean \`${near[0]}\`?` : `its functions are ${names.map((n) => `\`${n}\``).join(", ")}`;
  return c.fail("DSK1006", at, { object: `\`${use === "" ? instanceName(instance) : use}\``, name: fn }, { help });
}

/** As the caller writes it: `norm`, `norm.transposed`, or a function of the block itself. */
function nameOf({ use, fn }: Target): string {
  if (use === "") return fn;
  return fn === "forward" ? use : `${use}.${fn}`;
}

/** Matches a call; `wrong` after arguments that do not fit, `unknown` after errors in arguments alone. */
function bindArguments(
  c: Checker,
  target: Target,
  member: Member,
  item: ast.FnItem,
  args: readonly Argument[],
  scope: Scope,
  at: Span,
): Signature | "wrong" | "unknown" {
  const given = matchArguments(c, nameOf(target), item.params, args, at);
  if (given === undefined) return "wrong";
  const body = bodyScope(target.instance, member.level);
  const bindings: Bindings = { rest: member.level.rest, fnDims: new Map() };
  const values: Meaning[] = [];
  let unknown = false;
  for (const param of item.params) {
    const arg = given.get(param.name.text);
    const value =
      arg === undefined ? defaultOf(c, param, item, body) : bindArgument(c, param, arg, item, bindings, body, scope);
    if (value === undefined) unknown = true;
    else values.push(value);
  }
  if (values.some((v) => v.kind === "error")) return "wrong";
  if (unknown) return "unknown";
  const locals = new Map(item.params.map((p, i) => [p.name.text, values[i]!]));
  const callee: Scope = { ...body, locals, fnDims: bindings.fnDims, rest: bindings.rest, code: true };
  return { item, scope: callee, args: values };
}

/** The default of a parameter; one that calls its own function never ends. */
function defaultOf(c: Checker, param: ast.Param, item: ast.FnItem, body: Scope): Meaning {
  const value = param.value!;
  const { text: name } = item.name;
  if (c.defaults.has(value)) return c.fail("DSK1103", value.span, { chain: `${name} -> ${name}` });
  c.defaults.add(value);
  const meaning = c.check(value, body);
  c.defaults.delete(value);
  return meaning;
}

/** The meaning of an argument; an error where it does not fit, undefined where it has an error of its own. */
function bindArgument(
  c: Checker,
  param: ast.Param,
  arg: Argument,
  item: ast.FnItem,
  bindings: Bindings,
  body: Scope,
  scope: Scope,
): Meaning | undefined {
  const fixed = staticType(param.type);
  if (fixed !== undefined) return checkStatic(c, arg.evaluate(), fixed, arg.span);
  if (param.type.kind === "tuple") return c.fail("DSK1309", param.type.span, { what: "a tuple", where: "a parameter" });
  const pattern = patternOf(c, param.type);
  if (pattern === undefined) return ERROR;
  const dims = plainDims(c, pattern, item.dims, body);
  const value = arg.evaluate(dims === "lost" ? LOST : dims === undefined ? undefined : { dims, exact: true });
  if (value.kind === "error") return undefined;
  const tensor = scope.builder === undefined ? undefined : toTensor(c, value, arg.span, scope);
  if (tensor === undefined)
    return scope.builder === undefined ? c.fail("DSK1306", arg.span, { what: "a tensor" }) : ERROR;
  if (!acceptsDType(tensor, pattern.dtype)) {
    return c.fail(
      "DSK1301",
      arg.span,
      { expected: pattern.dtype ?? "floats", found: dtypeOf(tensor) },
      {
        secondary: [{ span: param.span, text: "declared here" }],
      },
    );
  }
  const matched = matchDims(c, tensor, pattern, item.dims, bindings, body, arg.span, param.span);
  if (matched === undefined) return ERROR;
  const renamed = spreadTo(scope, rename(scope, tensor, matched.from, matched.to), matched.order);
  return pattern.dtype === undefined ? renamed : cast(scope, renamed, pattern.dtype);
}

/** Arguments by parameter name: positional ones first, then named ones. Undefined after an error. */
export function matchArguments<A extends { readonly name?: ast.Name; readonly span: Span }>(
  c: Checker,
  callee: string,
  params: readonly { readonly name: ast.Name; readonly value?: ast.Expr }[],
  args: readonly A[],
  at: Span,
): Map<string, A> | undefined {
  const given = new Map<string, A>();
  const names = params.map((p) => p.name.text);
  let sound = true;
  const wrong = (span: Span, why: string): void => {
    sound = false;
    const takes = names.length === 0 ? "nothing" : names.map((n) => `\`${n}\``).join(", ");
    c.fail("DSK1304", span, { callee, why }, { help: `it takes ${takes}` });
  };
  for (const [i, arg] of args.entries()) {
    const name = arg.name?.text ?? names[i];
    if (name === undefined)
      wrong(arg.span, `takes ${names.length} argument${names.length === 1 ? "" : "s"}, this is number ${i + 1}`);
    else if (!names.includes(name)) wrong(arg.span, `has no argument \`${name}\``);
    else if (names.indexOf(name) !== names.lastIndexOf(name)) sound = false;
    else if (given.has(name)) wrong(arg.span, `is given \`${name}\` twice`);
    else given.set(name, arg);
  }
  for (const { name, value } of params)
    if (sound && value === undefined && !given.has(name.text)) wrong(at, `needs \`${name.text}\``);
  return sound ? given : undefined;
}

/** Checks the body for these arguments and emits the call. */
function applyFn(c: Checker, target: Target, signature: Signature, scope: Scope, at: Span): Meaning {
  const { item } = signature;
  const fixed = item.result === undefined ? undefined : staticType(item.result);
  const info = resolveFn(c, target.instance, signature, at);
  if (info === undefined) return ERROR;
  if (info === "body") return declaredResult(c, target, signature, scope);
  if (fixed === undefined && scope.builder === undefined) return c.fail("DSK1306", at, { what: "a tensor" });
  if (fixed !== undefined) {
    const returned = item.body.stmts.findLast((stmt) => stmt.kind === "return");
    return checkStatic(c, info.result, fixed, returned?.value.span ?? item.result!.span);
  }
  return emitCall(c, target, signature.args, info, scope);
}

/** What a function with an error in its body would give: so that what is done with its result is checked as well. */
function declaredResult(c: Checker, target: Target, { item, scope: callee, args }: Signature, scope: Scope): Meaning {
  const type = item.result;
  if (scope.builder === undefined || type === undefined || staticType(type) !== undefined) return ERROR;
  const dims = resultDims(c, type, callee);
  if (dims === undefined || dims === "error") return ERROR;
  const parts = type.kind === "tuple" ? type.parts : [type];
  const items = parts.map((part, i): Meaning => {
    const dtype = part.kind === "tensor" ? patternOf(c, part)?.dtype : undefined;
    const [own, labels] = [dims[i]!, dims[i]!.map((d) => d.label)];
    return {
      kind: "tensor",
      value: new ProgramBuilder(c.space.table).value({ dtype: dtype ?? c.dtype, dims: labels }),
      dims: own,
    };
  });
  const fn: Fn = { id: "?", params: [], results: [], ops: [] };
  const result: Meaning = type.kind === "tuple" ? { kind: "tuple", items } : items[0]!;
  return emitCall(c, target, args, { fn, result }, scope);
}

function resolveFn(
  c: Checker,
  instance: Target["instance"],
  signature: Signature,
  at: Span,
): FnInfo | "body" | undefined {
  const { item, scope, args } = signature;
  const name = `${instance.block.id}.${item.name.text}`;
  const key = `${name}@${item.span.file.path}:${item.span.start}(${args.map(keyOf).join("; ")})`;
  const known = c.fns.get(key);
  // Other arguments each time do not end a circle.
  if (known === "busy" || c.calling.includes(name)) {
    const chain = [...c.calling.slice(c.calling.lastIndexOf(name)), name].join(" -> ");
    c.fail("DSK1103", at, { chain });
    return undefined;
  }
  if (known !== undefined) return known === "error" ? undefined : known;
  c.fns.set(key, "busy");
  c.calling.push(name);
  c.checked.push(instance);
  const info = checkBody(c, name, item, scope, args);
  c.calling.pop();
  c.checked.pop();
  c.fns.set(key, info ?? "error");
  // An error of syntax is no error of the checker, and what stands for its result is no code.
  if (info === undefined || info === "body") c.failed = true;
  return info;
}

/**
 * Checks a body with its parameters bound to fresh values of the arguments' types. After an error in the body alone, `body`:
 * the declared result can be trusted.
 */
function checkBody(
  c: Checker,
  name: string,
  item: ast.FnItem,
  scope: Scope,
  args: readonly Meaning[],
): FnInfo | "body" | undefined {
  c.seen.add(item);
  const builder = new ProgramBuilder(c.space.table);
  const params: Value[] = [];
  const locals = new Map<string, Meaning>();
  for (const [i, param] of item.params.entries()) {
    const arg = args[i]!;
    if (arg.kind === "tensor") {
      const value = builder.value(arg.value.type, param.name.text);
      params.push(value);
      locals.set(param.name.text, {
        kind: "tensor",
        value,
        dims: arg.dims,
        ...(arg.into === undefined ? {} : { into: arg.into }),
      });
    } else locals.set(param.name.text, arg);
  }
  const inside: Scope = { ...scope, locals, builder, reads: new Map() };
  const declared = resultDims(c, item.result, inside);
  const lost = declared === "error";
  const expected = lost ? undefined : declared;
  const { value, sound } = runStatements(c, item.body, inside, {
    name: item.name,
    declared: item.result !== undefined,
    expected,
    lost,
  });
  if (lost) return undefined;
  if (value.kind === "error") return "body";
  const finished = item.result === undefined ? value : finishResult(c, value, item.result, expected, inside, item);
  if (finished.kind === "error") return undefined;
  if (!sound) return "body";
  const fn: Fn = {
    id: freeId(c.fnTable, name),
    params,
    results: tensorsOf(finished).map((t) => t.value),
    ops: builder.ops,
  };
  if (fn.results.length > 0 || fn.ops.length > 0) c.fnTable.set(fn.id, fn);
  return { fn, result: finished };
}

/** Dims of each part of a declared result; undefined for compile-time results. */
type ResultDims = readonly (readonly Dim[] | undefined)[] | undefined;

function resultDims(c: Checker, type: ast.Type | undefined, scope: Scope): ResultDims | "error" {
  if (type === undefined || staticType(type) !== undefined) return undefined;
  const parts = type.kind === "tuple" ? type.parts : [type];
  const dims: (readonly Dim[] | undefined)[] = [];
  for (const part of parts) {
    if (part.kind === "tuple") {
      c.fail("DSK1309", part.span, { what: "a tuple", where: "a tuple" });
      return "error";
    }
    const found = checkDims(c, part.dims ?? [], scope);
    if (found === undefined) return "error";
    dims.push(found);
  }
  return dims;
}

/** Brings a returned value to the declared type: dims in the declared order, dtype of the model where none is named. */
function finishResult(
  c: Checker,
  result: Meaning,
  type: ast.Type,
  expected: ResultDims,
  scope: Scope,
  item: ast.FnItem,
): Meaning {
  if (expected === undefined) return result;
  const at = item.body.stmts.findLast((s) => s.kind === "return")?.value.span ?? item.body.span;
  if (type.kind === "tuple") {
    if (result.kind !== "tuple" || result.items.length !== type.parts.length) {
      return c.fail("DSK1310", at, {
        expected: type.parts.length,
        found: result.kind === "tuple" ? result.items.length : 1,
      });
    }
    const items = result.items.map((part, i) =>
      finishPart(c, part, type.parts[i] as ast.Type & { kind: "tensor" }, expected[i]!, scope, at),
    );
    return items.some((m) => m.kind === "error") ? ERROR : { kind: "tuple", items };
  }
  return finishPart(c, result, type, expected[0]!, scope, at);
}

function finishPart(
  c: Checker,
  part: Meaning,
  type: ast.Type & { kind: "tensor" },
  dims: readonly Dim[],
  scope: Scope,
  at: Span,
): Meaning {
  const pattern = patternOf(c, type);
  if (pattern === undefined) return ERROR;
  let tensor = toTensor(c, part, at, scope);
  if (tensor === undefined) return ERROR;
  if (!sameSet(tensor.dims, dims)) {
    if (part.kind !== "tensor") tensor = spreadTo(scope, tensor, dims);
    else {
      return c.fail(
        "DSK1206",
        at,
        { expected: dims.map((d) => d.label).join(", "), found: tensor.dims.map((d) => d.label).join(", ") },
        {
          secondary: [{ span: type.span, text: "declared here" }],
        },
      );
    }
  }
  if (!acceptsDType(tensor, pattern.dtype))
    return c.fail("DSK1301", at, { expected: pattern.dtype ?? "floats", found: dtypeOf(tensor) });
  return spreadTo(scope, cast(scope, tensor, pattern.dtype ?? c.dtype), dims);
}

function tensorsOf(meaning: Meaning): Tensor[] {
  if (meaning.kind === "tensor") return [meaning];
  return meaning.kind === "tuple" ? meaning.items.flatMap(tensorsOf) : [];
}

function emitCall(c: Checker, target: Target, args: readonly Meaning[], info: FnInfo, scope: Scope): Meaning {
  const builder = scope.builder;
  if (builder === undefined) throw new Error("a tensor call outside a function");
  const operands = args.filter((a): a is Tensor => a.kind === "tensor");
  const routed =
    target.over === undefined ? undefined : operands.find((t) => t.routed?.experts === target.over)?.routed;
  const copies = target.over !== undefined && routed === undefined ? target.over : undefined;
  const spread = (dims: readonly Dim[]): Dim[] => {
    if (copies === undefined) return [...dims];
    const at = dims[0] === c.space.tokens ? 1 : 0;
    return [...dims.slice(0, at), copies, ...dims.slice(at)];
  };
  const attrs = {
    use: target.use,
    fn: info.fn.id,
    first: target.layers?.first ?? 0,
    count: target.layers?.count ?? 1,
    ...(target.over === undefined ? {} : { over: target.over.label }),
    ...(routed === undefined ? {} : { slot: routed.slot.label }),
  };
  const inner = tensorsOf(info.result);
  const results = inner.map((t) =>
    builder.value({ dtype: dtypeOf(t), dims: spread(t.dims).map((d) => d.label) }, t.value.name),
  );
  builder.push({
    name: "model.call",
    operands: [...operands, ...(routed === undefined ? [] : [routed.chosen])].map((t) => t.value),
    results,
    attrs,
  });
  const outer = new Map<Tensor, Tensor>();
  for (const [i, t] of inner.entries()) {
    const dims = spread(t.dims);
    const plain: Tensor = {
      kind: "tensor",
      value: results[i]!,
      dims,
      ...(t.into === undefined ? {} : { into: t.into }),
    };
    const known: Tensor = routed !== undefined && dims.includes(routed.slot) ? { ...plain, routed } : plain;
    outer.set(t, unalias(known, target, scope));
  }
  const replace = (m: Meaning): Meaning =>
    m.kind === "tensor" ? outer.get(m)! : m.kind === "tuple" ? { kind: "tuple", items: m.items.map(replace) } : m;
  return replace(info.result);
}

/** Gives dims that stand for another one (`Linear[D, D]`) their own name back where that is possible. */
function unalias(tensor: Tensor, target: Target, scope: Scope): Tensor {
  const from = tensor.dims.filter((d) => {
    const actual = target.instance.aliases.get(d);
    return actual !== undefined && !tensor.dims.includes(actual);
  });
  return rename(
    scope,
    tensor,
    from,
    from.map((d) => target.instance.aliases.get(d)!),
  );
}
