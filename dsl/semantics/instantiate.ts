import { closest } from "../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type { Block } from "../../compiler/model-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, freeId, type Checker } from "./checker.ts";
import { checkDim } from "./dim-members.ts";
import type { Dim } from "./dims.ts";
import { lazy, type Instance, type Lazy, type Level } from "./instance.ts";
import { BUILT_IN_DIMS, isBuiltInDim } from "./built-in-dims.ts";
import type { FileScope } from "./load.ts";
import { aboutName, isDType } from "./lookup.ts";
import { placeMembers } from "./members.ts";
import { numberOf } from "./numbers.ts";
import { TOO_DEEP_HELP } from "./too-deep.ts";
import { checkStatic, staticType, type StaticType } from "./types.ts";
import { ERROR, num, type BlockTemplate, type Meaning } from "./values.ts";

/** How deep blocks may lie in each other before it counts as a recursion that never ends. */
const DEEPEST = 64;

/** One declaration of an `extends` chain. */
interface Link {
  readonly decl: ast.BlockDecl | ast.ModelDecl;
  readonly scope: FileScope;
}

/** The block that a template means, made once for equal arguments. Undefined after an error. */
export function instantiate(c: Checker, template: BlockTemplate, at: Span): Instance | undefined {
  const { decl, scope } = template;
  if (decl === undefined || scope === undefined) return undefined;
  const key = template.key.slice(0, template.key.lastIndexOf("."));
  const known = c.instances.get(key);
  // One way around a circle is told; the others, with other arguments each time, may be without number.
  const inCircle = c.nesting.some((i) => i.levels[0]!.decl === decl);
  if (c.circular && inCircle) return undefined;
  const chain = c.nesting.map((i) => i.levels[0]!.decl.name.text);
  if (!inCircle && c.nesting.length >= DEEPEST) {
    tooDeep(c, c.nesting[0]!.levels[0]!.decl.name, at);
    return undefined;
  }
  if ((known !== undefined && c.nesting.includes(known)) || c.nesting.length >= DEEPEST) {
    const from = Math.max(0, known === undefined ? chain.indexOf(decl.name.text) : c.nesting.indexOf(known));
    const cycle = chain.slice(from, from + 6);
    const names = cycle.toSorted().join(" ");
    c.failed = true;
    c.circular = true;
    if (!c.loader.cycles.has(names)) c.fail("DSK1101", at, { chain: [...cycle, decl.name.text].join(" -> ") });
    c.loader.cycles.add(names);
    return undefined;
  }
  if (known !== undefined) return known;
  return build(c, { decl, scope }, template, key, at);
}

function tooDeep(c: Checker, { text: name }: ast.Name, at: Span): void {
  c.failed = true;
  if (!c.loader.tooDeep) c.fail("DSK2107", at, { name }, { help: TOO_DEEP_HELP });
  c.loader.tooDeep = true;
}

/** A block on its own: formal dims of unknown size, block arguments unknown. */
export function standalone(c: Checker, decl: ast.BlockDecl, scope: FileScope): Instance | undefined {
  const template: BlockTemplate = { kind: "block", decl, scope, dims: [], args: new Map(), fn: "forward", key: "" };
  return build(c, { decl, scope }, template, `alone ${decl.name.text}`, decl.name.span, true);
}

export function modelInstance(c: Checker, decl: ast.ModelDecl, scope: FileScope): Instance | undefined {
  return build(c, { decl, scope }, undefined, `model ${decl.name.text}`, decl.name.span);
}

function build(
  c: Checker,
  first: Link,
  template: BlockTemplate | undefined,
  key: string,
  at: Span,
  alone = false,
): Instance | undefined {
  const chain = extendsChain(c, first);
  if (chain === undefined) return undefined;
  const id = freeId(c.blocks, first.decl.name.text);
  const block: Block = {
    id,
    names: chain.map((l) => l.decl.name.text),
    span: first.decl.span,
    dims: new Map(),
    stores: new Map(),
    uses: new Map(),
  };
  const instance: Instance = {
    block,
    key,
    at: template?.at ?? at,
    levels: [],
    members: new Map(),
    sizes: new Map(),
    dims: new Map(),
    stores: new Map(),
    uses: new Map(),
    metrics: new Map(),
    misnamed: new Set(),
    aliases: new Map(),
  };
  c.blocks.set(id, block);
  c.instances.set(key, instance);
  c.nesting.push(instance);
  // What is wrong with a part is reported and stands for nothing that is known: the other parts are still checked.
  const bound = bindLevels(c, instance, chain, template, at, alone);
  if (bound) placeMembers(c, instance);
  c.nesting.pop();
  if (bound) return instance;
  c.instances.delete(key);
  c.blocks.delete(id);
  return undefined;
}

/** The declarations from the block itself to the last one it extends. */
function extendsChain(c: Checker, first: Link): Link[] | undefined {
  const chain = [first];
  for (let link = first; link.decl.extends !== undefined;) {
    const root = rootName(link.decl.extends);
    const from = link.decl.extends.span;
    if (root === undefined) {
      const found = `\`${from.file.text.slice(from.start, from.end)}\``;
      c.fail("DSK1303", from, { expected: `the name of a ${link.decl.kind}`, found });
      return undefined;
    }
    const { name } = root;
    const next = link.decl.kind === "model" ? link.scope.models.get(name) : undefined;
    const base = next === undefined ? link.scope.blocks.get(name) : { decl: next, scope: link.scope };
    if (link.scope.broken.has(name)) return undefined;
    if (base === undefined || (link.decl.kind === "model") !== (base.decl.kind === "model")) {
      const names = link.decl.kind === "model" ? link.scope.models.keys() : link.scope.blocks.keys();
      const near = c.diagnostics.isCrowded ? [] : closest(name, names);
      c.fail("DSK1001", root.span, { name }, near.length > 0 ? { help: `did you mean \`${near[0]}\`?` } : {});
      return undefined;
    }
    link.scope.unused.delete(name);
    const start = chain.findIndex((l) => l.decl === base.decl);
    if (start >= 0) {
      reportCycle(c, chain.slice(start));
      return undefined;
    }
    link = base;
    chain.push(link);
    if (chain.length > DEEPEST) {
      tooDeep(c, first.decl.name, first.decl.extends!.span);
      return undefined;
    }
  }
  return chain;
}

/** Reported once, at the first declaration of the cycle, whoever comes across it. */
function reportCycle(c: Checker, cycle: readonly Link[]): void {
  const first = cycle.reduce((a, b) => (b.decl.span.start < a.decl.span.start ? b : a));
  const at = cycle.indexOf(first);
  const names = [...cycle.slice(at), ...cycle.slice(0, at), first].map((l) => l.decl.name.text);
  c.fail("DSK1102", first.decl.extends!.span, { chain: names.join(" -> ") });
}

function rootName(expr: ast.Expr): (ast.Expr & { kind: "name" }) | undefined {
  if (expr.kind === "name") return expr;
  if (expr.kind === "call") return rootName(expr.callee);
  return expr.kind === "index" ? rootName(expr.object) : undefined;
}

/** Binds formal dims and arguments of every level, and collects the merged members. */
function bindLevels(
  c: Checker,
  instance: Instance,
  chain: readonly Link[],
  template: BlockTemplate | undefined,
  at: Span,
  alone: boolean,
): boolean {
  collectMembers(c, instance, chain);
  let dims: readonly (Dim | number)[] = template?.dims ?? [];
  let args: ReadonlyMap<string, Lazy> = new Map(
    [...(template?.args ?? [])].map(([name, value]) => {
      const place = template?.places?.get(name);
      return [name, { get: () => value, ...(place === undefined ? {} : { at: place }) }];
    }),
  );
  let from = at;
  let sound = true;
  for (const [i, link] of chain.entries()) {
    const level = bindDims(c, instance, link, dims, from, alone && i === 0);
    if (level === undefined) return false;
    instance.levels.push(level);
    sound = bindArgs(c, instance, level, args, from, alone && i === 0) && sound;
    const base = link.decl.extends;
    if (base === undefined) break;
    from = base.span;
    ({ dims, args } = extendsArguments(c, base, instance, level));
  }
  for (const member of instance.members.values()) {
    const level = instance.levels.find((l) => l.decl === member.level.decl)!;
    instance.members.set(member.item.name.text, { item: member.item, level });
  }
  return sound;
}

/** Dims and arguments that `extends Base[D](name: value)` gives, evaluated where the extending block stands. */
function extendsArguments(
  c: Checker,
  expr: ast.Expr,
  instance: Instance,
  level: Level,
): { dims: (Dim | number)[]; args: Map<string, Lazy> } {
  const scope = bodyScope(instance, level);
  const call = expr.kind === "call" ? expr : undefined;
  const target = call?.callee ?? expr;
  const dims: (Dim | number)[] = [];
  for (const dim of target.kind === "index" ? target.dims : []) {
    if (dim.kind === "rest") dims.push(...(level.rest ?? []));
    else if (dim.value.kind === "quantity") dims.push(dim.value.value);
    else {
      dims.push(checkDim(c, dim.value, scope) ?? c.space.lost("D"));
    }
  }
  const params = baseParams(expr, level);
  const args = new Map<string, Lazy>();
  for (const [i, arg] of (call?.args ?? []).entries()) {
    const name = arg.name?.text ?? params[i];
    if (name === undefined) continue;
    args.set(
      name,
      lazy(
        () => c.check(arg.value, scope),
        () => c.fail("DSK1104", arg.span, { what: "argument", name }),
        arg.span,
      ),
    );
  }
  return { dims, args };
}

function baseParams(expr: ast.Expr, level: Level): string[] {
  const base = level.scope.blocks.get(rootName(expr)?.name ?? "");
  return base?.decl.params.map((p) => p.name.text) ?? [];
}

function bindDims(
  c: Checker,
  instance: Instance,
  { decl, scope }: Link,
  dims: readonly (Dim | number)[],
  at: Span,
  alone: boolean,
): Level | undefined {
  const formals = new Map<string, Dim>();
  const declared = decl.kind === "block" ? decl.dims : [];
  const hasRest = declared.some((d) => d.kind === "rest");
  const named = declared.filter((d) => d.kind === "name");
  if (!alone && (hasRest ? dims.length < named.length : dims.length !== named.length)) {
    c.fail(
      "DSK1304",
      at,
      { callee: decl.name.text, why: `takes ${named.length} dim${named.length === 1 ? "" : "s"}, not ${dims.length}` },
      {
        secondary: [{ span: decl.name.span, text: "declared here" }],
      },
    );
    return undefined;
  }
  const taken = new Set<Dim>();
  for (const [i, formal] of named.entries()) {
    const name = formal.name.text;
    const given = alone ? c.space.atom(name, undefined, decl.name.text) : dims[i]!;
    let dim = typeof given === "number" ? c.space.atom(name, given === 0 ? undefined : given, decl.name.text) : given;
    if (taken.has(dim)) {
      const alias = c.space.atom(name, dim.size, decl.name.text);
      instance.aliases.set(alias, dim);
      dim = alias;
    }
    taken.add(dim);
    if (formals.has(name)) {
      const first = named.find((other) => other.name.text === name)!.name.span;
      c.fail("DSK1002", formal.name.span, { name }, { secondary: [{ span: first, text: "first declared here" }] });
    }
    formals.set(name, dim);
  }
  const rest = hasRest ? dims.slice(named.length).filter((d): d is Dim => typeof d !== "number") : undefined;
  return { decl, scope, formals, rest, args: new Map() };
}

/** False after an argument of which is not known what was meant. */
function bindArgs(
  c: Checker,
  instance: Instance,
  level: Level,
  given: ReadonlyMap<string, Lazy>,
  at: Span,
  alone: boolean,
): boolean {
  const { decl } = level;
  const params = decl.kind === "block" ? decl.params : [];
  const scope = bodyScope(instance, level);
  const names = params.map((p) => p.name.text);
  const takes = names.length === 0 ? "it takes no arguments" : `it takes ${names.map((n) => `\`${n}\``).join(", ")}`;
  const found = new Map(given);
  const dims = [...instance.members].flatMap(([name, { item }]) => (item.kind === "dim" ? [name] : []));
  let sound = true;
  for (const [name, arg] of given) {
    if (names.includes(name)) continue;
    if (dims.includes(name)) {
      if (!instance.sizes.has(name)) instance.sizes.set(name, arg);
      continue;
    }
    const near = closest(name, [...names, ...dims]);
    c.fail(
      "DSK1304",
      arg.at ?? at,
      { callee: decl.name.text, why: `has no argument and no dim \`${name}\`` },
      { help: near.length > 0 ? `did you mean \`${near[0]}\`?` : takes, about: aboutName(name, decl) },
    );
    // What was meant counts as given; where that is not known, nothing is known of the block.
    const meant = near.length === 1 && !given.has(near[0]!) ? near[0]! : undefined;
    if (meant === undefined) sound = false;
    else if (names.includes(meant))
      found.set(meant, ofKind(arg, staticType(params.find((p) => p.name.text === meant)!.type)));
    else if (!instance.sizes.has(meant)) instance.sizes.set(meant, ofKind(arg, "Number"));
  }
  for (const param of params) {
    const name = param.name.text;
    const type = staticType(param.type);
    if (type === undefined) {
      c.fail(
        "DSK1303",
        param.type.span,
        { expected: "Number, Bool, String or Block", found: typeText(param.type) },
        isTensor(param.type) ? { help: "tensors are parameters of functions" } : {},
      );
      level.args.set(name, { get: () => ERROR });
      continue;
    }
    const arg = found.get(name);
    const { value } = param;
    if (arg === undefined && value === undefined && !alone) {
      if (sound) c.fail("DSK1304", at, { callee: decl.name.text, why: `needs \`${name}\`` }, { help: takes });
    }
    const place = arg === undefined ? (value?.span ?? param.span) : (arg.at ?? at);
    const make =
      arg !== undefined
        ? (): Meaning => arg.get()
        : value !== undefined
          ? (): Meaning => c.check(value, scope)
          : (): Meaning => unknownArgument(type);
    level.args.set(
      name,
      lazy(
        () => checkStatic(c, make(), type, place),
        () => c.fail("DSK1104", param.name.span, { what: "argument", name }),
      ),
    );
  }
  return sound;
}

/** The argument where its value is of a type; otherwise something of which nothing is known. */
function ofKind(arg: Lazy, kind: StaticType | undefined): Lazy {
  return {
    ...arg,
    get: () => {
      const value = arg.get();
      const fits =
        kind === "Number"
          ? numberOf(value) !== undefined
          : kind === "Block"
            ? value.kind === "block" || value.kind === "use"
            : value.kind === kind?.toLowerCase();
      return fits ? value : ERROR;
    },
  };
}

function isTensor(type: ast.Type): boolean {
  return type.kind === "tuple" || type.dims !== undefined || isDType(type.base?.text ?? "");
}

function typeText(type: ast.Type): string {
  return isTensor(type) || type.kind === "tuple" ? "a tensor" : `\`${type.base?.text ?? ""}\``;
}

/** What stands for an argument that a block checked on its own does not have. */
function unknownArgument(type: "Number" | "Bool" | "String" | "Block"): Meaning {
  switch (type) {
    case "Number":
      return num(undefined);
    case "Bool":
      return { kind: "bool", value: undefined };
    case "String":
      return ERROR;
    case "Block":
      return { kind: "block", dims: [], args: new Map(), fn: "forward", key: "?" };
  }
}

/** Members by name, the most derived ones first; what may not replace what it hides is reported. */
function collectMembers(c: Checker, instance: Instance, chain: readonly Link[]): void {
  for (const { decl, scope } of chain) {
    const unbound: Level = { decl, scope, formals: new Map(), rest: undefined, args: new Map() };
    const own = new Map<string, ast.Name>();
    const formals = new Map(
      decl.kind === "block"
        ? [...decl.dims.flatMap((d) => (d.kind === "name" ? [d.name] : [])), ...decl.params.map((p) => p.name)].map(
            (formal) => [formal.text, formal] as const,
          )
        : [],
    );
    for (const item of decl.items) {
      if (item.kind === "on" || item.kind === "expect" || item.kind === "set") continue;
      const name = item.name.text;
      // The name is missing, which is told.
      if (name === "") continue;
      const before = own.get(name) ?? formals.get(name);
      if (before !== undefined) {
        const secondary = [{ span: before.span, text: "first declared here" }];
        c.fail("DSK1002", item.name.span, { name }, { secondary });
        continue;
      }
      if (isBuiltInDim(name)) {
        c.fail("DSK1008", item.name.span, { name }, { help: BUILT_IN_DIMS });
        instance.misnamed.add(name);
        continue;
      }
      own.set(name, item.name);
      const hidden = instance.members.get(name);
      if (hidden !== undefined) {
        // What may not replace it leaves it in place: its callers are sound.
        if (!checkOverride(c, hidden.item, item, decl.name.text)) instance.members.set(name, { item, level: unbound });
        continue;
      }
      instance.members.set(name, {
        item,
        level: unbound,
      });
    }
  }
}

type Named = ast.DimItem | ast.StoreItem | ast.UseItem | ast.FnItem;

function checkOverride(c: Checker, derived: Named, base: Named, of: string): boolean {
  const why = whyNot(derived, base);
  if (why === undefined) return true;
  c.fail(
    "DSK1105",
    derived.name.span,
    { name: derived.name.text, base: of, why },
    { secondary: [{ span: base.name.span, text: "what it would replace" }] },
  );
  return false;
}

function whyNot(derived: Named, base: Named): string | undefined {
  if (isBroken(derived) || isBroken(base)) return undefined;
  if (derived.kind !== base.kind) return `one is a ${kindText(derived)}, the other a ${kindText(base)}`;
  if (derived.kind === "param" || derived.kind === "state" || derived.kind === "cache") {
    return `a ${derived.kind} is not replaced, only functions, dims and uses are`;
  }
  if (derived.kind !== "fn" || base.kind !== "fn" || derived.params.length === base.params.length) return undefined;
  return `it takes ${counted(derived.params.length)} instead of ${base.params.length}`;
}

/** An item that could not be parsed stands as a use of nothing. */
function isBroken(item: Named): boolean {
  return item.kind === "use" && item.value.kind === "error";
}

function counted(params: number): string {
  return `${params} parameter${params === 1 ? "" : "s"}`;
}

function kindText(item: Named): string {
  return { dim: "dim", param: "param", state: "state", cache: "cache", use: "use", fn: "function" }[item.kind];
}
