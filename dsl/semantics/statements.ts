import type * as ast from "../syntax/ast.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import { type Checker, type Expected, LOST, type Scope } from "./checker.ts";
import { checkDims } from "./dim-members.ts";
import { sameSet, type Dim } from "./dims.ts";
import { cast, dtypeOf, spreadTo } from "./emit.ts";
import { isRunTime, numberOf } from "./numbers.ts";
import { emitLoss } from "./losses.ts";
import { toTensor } from "./operands.ts";
import { describe, ERROR, type Meaning, type Tensor } from "./values.ts";

/** What a body must give: dims of each part, undefined where the result is known at compile time. */
export interface Returns {
  readonly name: ast.Name;
  readonly declared: boolean;
  readonly expected: readonly (readonly Dim[] | undefined)[] | undefined;
  /** The declared type has an error of its own. */
  readonly lost?: boolean;
}

/** What statements return: nothing that is known (`error`) after an error in the returned value itself. */
export interface Returned {
  readonly value: Meaning;
  /** False after an error in any of them. */
  readonly sound: boolean;
}

/** Runs the statements of a function or an event and gives what is returned; a tuple of nothing without `return`. */
export function runStatements(c: Checker, body: ast.Code, scope: Scope, returns: Returns): Returned {
  let result: Meaning | undefined;
  let sound = true;
  const declared = new Map<string, Span>();
  const block = scope.level.decl.name.text;
  const within = returns.name.text === "forward" ? block : `${block}.${returns.name.text}`;
  for (const stmt of body.stmts) {
    if (result !== undefined) {
      c.fail("DSK1309", stmt.span, { what: "a statement", where: "code after `return`" });
      break;
    }
    if (scope.builder !== undefined) scope.builder.loc = { ...stmt.span, within };
    if (stmt.kind === "return") result = runReturn(c, stmt, scope, returns);
    else if (stmt.kind === "assign") sound = assign(c, stmt, scope) && sound;
    else sound = runLet(c, stmt, scope, declared) && sound;
  }
  if (result === undefined && returns.declared)
    return { value: c.fail("DSK1307", returns.name.span, { name: returns.name.text }), sound: false };
  const value: Meaning = result ?? { kind: "tuple", items: [] };
  return { value, sound: sound && value.kind !== "error" };
}

function runReturn(c: Checker, stmt: ast.ReturnStmt, scope: Scope, returns: Returns): Meaning {
  if (scope.event !== undefined) return c.fail("DSK1309", stmt.span, { what: "`return`", where: "`on step`" });
  if (!returns.declared)
    return c.fail(
      "DSK1308",
      stmt.span,
      { name: returns.name.text },
      { help: "write its type after the parameters: `-> [T, D]`" },
    );
  const { expected } = returns;
  if (
    expected !== undefined &&
    expected.length > 1 &&
    stmt.value.kind === "tuple" &&
    stmt.value.items.length === expected.length
  ) {
    const items = stmt.value.items.map((item, i) => c.check(item, scope, exactly(expected[i])));
    return items.some((m) => m.kind === "error") ? ERROR : { kind: "tuple", items };
  }
  if (returns.lost) return c.check(stmt.value, scope, LOST);
  return c.check(stmt.value, scope, expected?.length === 1 ? exactly(expected[0]) : undefined);
}

function exactly(dims: readonly Dim[] | undefined): Expected | undefined {
  return dims === undefined ? undefined : { dims, exact: true };
}

/** `let`, `metric` and `loss`. False after an error; the names are bound anyhow, so that it is told once. */
function runLet(c: Checker, stmt: ast.LetStmt, scope: Scope, declared: Map<string, Span>): boolean {
  const dims = stmt.targets.map((t) => (t.dims === undefined ? undefined : checkDims(c, t.dims, scope)));
  const broken = stmt.targets.some((t, i) => t.dims !== undefined && dims[i] === undefined);
  const value = c.check(stmt.value, scope, broken ? LOST : stmt.tuple ? undefined : exactly(dims[0]));
  const parts = stmt.tuple ? tupleParts(c, stmt, value) : [value];
  let sound = !broken;
  for (const [i, target] of stmt.targets.entries()) {
    const part = parts?.[i] ?? ERROR;
    const bound = part.kind === "error" || broken ? ERROR : bind(c, stmt, target, part, dims[i], scope);
    sound &&= bound.kind !== "error";
    if (stmt.kind === "let") declare(c, target.name, declared);
    if (stmt.kind === "let" || !scope.locals.has(target.name.text)) scope.locals.set(target.name.text, bound);
  }
  return sound;
}

function declare(c: Checker, name: ast.Name, declared: Map<string, Span>): void {
  const before = declared.get(name.text);
  if (before !== undefined) {
    c.fail("DSK1002", name.span, { name: name.text }, { secondary: [{ span: before, text: "first declared here" }] });
  }
  declared.set(name.text, name.span);
}

function tupleParts(c: Checker, stmt: ast.LetStmt, value: Meaning): readonly Meaning[] | undefined {
  if (value.kind === "error") return undefined;
  const found = value.kind === "tuple" ? value.items.length : 1;
  if (value.kind === "tuple" && found === stmt.targets.length) return value.items;
  c.fail("DSK1310", stmt.span, { expected: stmt.targets.length, found });
  return undefined;
}

function bind(
  c: Checker,
  stmt: ast.LetStmt,
  target: ast.LetStmt["targets"][number],
  part: Meaning,
  dims: readonly Dim[] | undefined,
  scope: Scope,
): Meaning {
  if (stmt.kind === "let" && dims === undefined) return bindPlain(c, stmt, target, part, scope);
  if (part.kind !== "tensor" && (numberOf(part) === undefined || isRunTime(part))) {
    return c.fail("DSK1303", stmt.value.span, { expected: "a tensor", found: describe(part) });
  }
  if (scope.builder === undefined) return c.fail("DSK1306", stmt.value.span, { what: "a tensor" });
  let tensor = toTensor(c, part, stmt.value.span, scope);
  if (tensor === undefined) return ERROR;
  if (dims !== undefined) {
    if (part.kind === "tensor" && !sameSet(tensor.dims, dims)) {
      return c.fail(
        "DSK1206",
        stmt.value.span,
        { expected: dims.map((d) => d.label).join(", "), found: tensor.dims.map((d) => d.label).join(", ") },
        {
          secondary: [{ span: target.span, text: "declared here" }],
        },
      );
    }
    tensor = spreadTo(scope, tensor, dims);
  }
  const { name } = target;
  if (stmt.kind === "metric") {
    scope.builder.effect("metric.emit", [tensor.value], { name: name.text });
    scope.instance.metrics.set(name.text, tensor);
  } else if (stmt.kind === "loss") return emitLoss(c, name, tensor, scope);
  else scope.builder.name(tensor.value, name.text);
  return tensor;
}

function bindPlain(
  c: Checker,
  stmt: ast.LetStmt,
  target: ast.LetStmt["targets"][number],
  part: Meaning,
  scope: Scope,
): Meaning {
  if (
    part.kind === "block" ||
    part.kind === "use" ||
    part.kind === "fn" ||
    part.kind === "cache" ||
    part.kind === "init" ||
    part.kind === "path"
  ) {
    return c.fail("DSK1303", stmt.value.span, { expected: "a tensor or a number", found: describe(part) });
  }
  if (part.kind === "tensor") scope.builder?.name(part.value, target.name.text);
  return part;
}

/** `bias = ...` in `on step`: the new value of a state, or of the parameter that an optimizer updates. */
function assign(c: Checker, stmt: ast.AssignStmt, scope: Scope): boolean {
  const name = stmt.name.text;
  const fail = (what: string, where: string, help: string): boolean => {
    c.fail("DSK1309", stmt.span, { what, where }, { help });
    return false;
  };
  if (scope.event === undefined || scope.builder === undefined) {
    return fail("an assignment", "a function", `functions are pure: write \`let ${name} = ...\``);
  }
  const target = assigned(name, scope);
  if (target === undefined)
    return fail(`an assignment to \`${name}\``, "`on step`", "only a `state` of the block changes there");
  const value = c.check(stmt.value, scope, { dims: target.dims, exact: true });
  if (value.kind === "error") return false;
  const tensor = toTensor(c, value, stmt.value.span, scope);
  if (tensor === undefined) return false;
  const fits = tensor.dims.every((d) => target.dims.includes(d));
  if (!fits) {
    c.fail("DSK1206", stmt.value.span, {
      expected: target.dims.map((d) => d.label).join(", "),
      found: tensor.dims.map((d) => d.label).join(", "),
    });
    return false;
  }
  if ((dtypeOf(tensor) === "bool") !== (target.dtype === "bool")) {
    c.fail("DSK1301", stmt.value.span, { expected: target.dtype, found: dtypeOf(tensor) });
    return false;
  }
  const written = spreadTo(scope, cast(scope, tensor, target.dtype), target.dims);
  scope.builder.effect("model.update", [written.value], { name });
  return true;
}

function assigned(
  name: string,
  scope: Scope,
): { dims: readonly Dim[]; dtype: Tensor["value"]["type"]["dtype"] } | undefined {
  const info = scope.instance.stores.get(name);
  if (info?.store.kind === "state") return { dims: info.dims, dtype: info.store.type.dtype };
  if (name === "weight" && scope.instance.levels[0]!.rest !== undefined)
    return { dims: scope.rest ?? [], dtype: "f32" };
  return undefined;
}
