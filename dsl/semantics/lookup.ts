import { closest } from "../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import { DTYPES, type DType, type TensorType } from "../../compiler/tensor-ir/types.ts";
import type * as ast from "../syntax/ast.ts";
import type { Checker, Scope } from "./checker.ts";
import { linearOf, type Dim } from "./dims.ts";
import { memberDim } from "./dim-members.ts";
import type { Member } from "./instance.ts";
import { keyed } from "./templates.ts";
import { ERROR, num, type Meaning, type Tensor } from "./values.ts";

const CONSTANTS: Readonly<Record<string, Meaning>> = {
  pi: num(Math.PI),
  inf: num(Infinity),
  true: { kind: "bool", value: true },
  false: { kind: "bool", value: false },
  zeros: { kind: "init", init: { kind: "constant", value: 0 } },
  ones: { kind: "init", init: { kind: "constant", value: 1 } },
};

export function isDType(text: string): text is DType {
  return (DTYPES as readonly string[]).includes(text);
}

/**
 * What a name means: locals, then the own formal dims and arguments, then members (a derived block's hide those of what it
 * extends), then the arguments of what is extended, then blocks of the file, then constants. Undefined when nothing has
 * the name.
 */
export function lookup(c: Checker, name: string, scope: Scope): Meaning | undefined {
  const local = scope.locals.get(name);
  if (local !== undefined) return local;
  const own = scope.fnDims.get(name) ?? scope.level.formals.get(name);
  if (own !== undefined) return { kind: "dim", linear: linearOf(own) };
  const event = eventName(c, name, scope);
  if (event !== undefined) return event;
  const { instance } = scope;
  if (scope.level.args.has(name)) return argument(name, scope);
  const member = instance.members.get(name);
  if (member !== undefined) return memberMeaning(c, name, member, scope);
  for (const level of instance.levels) {
    const formal = level.formals.get(name);
    if (formal !== undefined) return { kind: "dim", linear: linearOf(formal) };
    if (level.args.has(name)) return argument(name, { ...scope, level });
  }
  if (scope.level.scope.broken.has(name)) {
    c.failed = true;
    return ERROR;
  }
  if (!scope.code && instance.misnamed.has(name)) return ERROR;
  const builtIn = builtInDim(c, name);
  if (builtIn !== undefined) return { kind: "dim", linear: linearOf(builtIn) };
  const file = scope.level.scope;
  const block = file.blocks.get(name);
  if (block !== undefined) {
    file.unused.delete(name);
    return keyed({
      kind: "block",
      decl: block.decl,
      scope: block.scope,
      dims: [],
      args: new Map(),
      fn: "forward",
      key: "",
    });
  }
  if (name === "std" || name === "train") return { kind: "path", parts: [name] };
  return Object.hasOwn(CONSTANTS, name) ? CONSTANTS[name] : undefined;
}

function builtInDim({ space }: Checker, name: string): Dim | undefined {
  if (name === "T") return space.tokens;
  if (name === "S") return space.positions;
  return name === "B" ? space.sequences : undefined;
}

/** Inside functions a block given as argument is a use under the argument's name; other arguments are their values. */
function argument(name: string, scope: Scope): Meaning {
  const value = scope.level.args.get(name)!.get();
  if (value.kind !== "block" || !scope.code) return value;
  return scope.instance.uses.get(name)?.kind === "unknown" ? ERROR : { kind: "use", name };
}

function memberMeaning(c: Checker, name: string, { item }: Member, scope: Scope): Meaning {
  switch (item.kind) {
    case "dim": {
      const dim = memberDim(c, scope.instance, name);
      return dim === undefined ? ERROR : { kind: "dim", linear: linearOf(dim) };
    }
    case "fn":
      return { kind: "fn", name };
    case "use":
      return useMeaning(c, name, item, scope);
    default:
      return storeMeaning(name, scope);
  }
}

function useMeaning(c: Checker, name: string, item: ast.UseItem, scope: Scope): Meaning {
  if (item.value.kind === "error") return ERROR;
  const info = scope.instance.uses.get(name);
  if (info?.kind === "busy") return c.fail("DSK1104", item.name.span, { what: "use", name });
  return info?.kind === "unknown" ? ERROR : { kind: "use", name };
}

function storeMeaning(name: string, scope: Scope): Meaning {
  const info = scope.instance.stores.get(name);
  if (info === undefined) return ERROR;
  const { store, dims } = info;
  if (store.kind === "cache") return { kind: "cache", name, dims, dtype: store.type.dtype };
  return read(scope, `model.${store.kind}`, name, store.type, dims) ?? { kind: "state", name };
}

/** Reads a param, state or input once per function. Undefined outside functions. */
export function read(
  scope: Scope,
  op: string,
  name: string,
  type: TensorType,
  dims: readonly Dim[],
): Tensor | undefined {
  if (scope.builder === undefined) return undefined;
  const key = `${op} ${name}`;
  let tensor = scope.reads.get(key);
  if (tensor === undefined) {
    tensor = { kind: "tensor", value: scope.builder.emit(op, [], type, { name }, name.replaceAll(".", "_")), dims };
    scope.reads.set(key, tensor);
  }
  return tensor;
}

/** Names that only `on step` has: the metrics of the block; of an optimizer the parameter and its gradient. */
function eventName(c: Checker, name: string, scope: Scope): Meaning | undefined {
  if (scope.event === undefined) return undefined;
  const metric = scope.instance.metrics.get(name);
  if (metric !== undefined) return read(scope, "model.metric", name, metric.value.type, metric.dims);
  // Where an error kept the model from running, its metrics are not known.
  if (c.diagnostics.hasErrors && declaresMetric(name, scope)) return ERROR;
  if (scope.instance.levels[0]!.rest === undefined) return undefined;
  const rest = scope.rest ?? [];
  if (name === "weight" || name === "grad") {
    return read(scope, "program.input", name, { dtype: "f32", dims: rest.map((d) => d.label) }, rest);
  }
  if (name === "lr" || name === "step") return read(scope, "program.input", name, { dtype: "f32", dims: [] }, []);
  return undefined;
}

function declaresMetric(name: string, { instance }: Scope): boolean {
  return instance.levels.some(({ decl }) =>
    decl.items.some(
      (item) =>
        item.kind === "fn" &&
        item.body.stmts.some(
          (stmt) => stmt.kind === "metric" && stmt.targets.some((target) => target.name.text === name),
        ),
    ),
  );
}

/** A name that is looked for inside of a declaration: wherever it is missed, that is one mistake. */
export function aboutName(name: string, { span }: ast.BlockDecl | ast.ModelDecl): string {
  return `${name} ${span.file.path} ${span.start}`;
}

/** Reports a name that nothing has, with the nearest ones of the kinds that can stand there. */
export function unknownName(c: Checker, name: string, at: Span, scope: Scope, more: readonly string[] = []): Meaning {
  const about = aboutName(name, scope.level.decl);
  if (c.diagnostics.isCrowded || c.diagnostics.isTold(about, at.file))
    return c.fail("DSK1001", at, { name }, { about });
  const names = [
    ...scope.locals.keys(),
    ...scope.fnDims.keys(),
    ...[...scope.instance.members.keys()].filter((member) => scope.instance.uses.get(member)?.kind !== "busy"),
    ...scope.instance.levels.flatMap((l) => [...l.formals.keys(), ...l.args.keys()]),
    ...scope.level.scope.blocks.keys(),
    ...Object.keys(CONSTANTS),
    ...more,
  ];
  const home = c.loader.standardHome(name);
  const near = closest(name, [...new Set(names)]).map((each) => `\`${each}\``);
  if (home === undefined && near.length === 0 && mayBeLost(name, scope)) {
    c.failed = true;
    return ERROR;
  }
  if (home !== undefined) {
    if (scope.level.scope.broken.has(home)) {
      c.failed = true;
      return ERROR;
    }
    return notImported(c, name, home, at, scope, about);
  }
  const help = near.length > 0 ? { help: `did you mean ${near.join(" or ")}?` } : {};
  return c.fail("DSK1001", at, { name }, { ...help, about });
}

/** True for a name that something with a mistake, which is told, may declare: `block [D]`, `use = ...`, `dim = 4`, `D = 4`. */
function mayBeLost(name: string, { level }: Scope): boolean {
  if (level.scope.broken.has("")) return true;
  return level.decl.items.some((item) => {
    if (item.kind === "set") return item.name.text === name || NAMELESS.has(item.name.text);
    return item.kind === "use" && item.name.text === "";
  });
}

/** Words that stand for settings where the name of an item is missing. */
const NAMELESS = new Set(["dim", "state", "cache"]);

/** A block of the standard library that is not imported: where nothing of its file is, that is one import for all of them. */
function notImported(c: Checker, name: string, home: string, at: Span, scope: Scope, about: string): Meaning {
  const { file } = scope.level.scope;
  if (file.imports.some(({ from }) => from.value.replace(/\.dsk$/, "") === home))
    return c.fail("DSK1001", at, { name }, { help: `write \`import { ${name} } from "${home}"\``, about });
  const words = new Set(file.source.text.match(/[A-Za-z_]\w*/g));
  const used = c.loader.blocksOf(home).filter((block) => words.has(block) && !scope.level.scope.blocks.has(block));
  const help = `write \`import { ${used.join(", ")} } from "${home}"\``;
  return c.fail("DSK1001", at, { name }, { help, about: `import ${home}` });
}
