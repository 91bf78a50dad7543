import type { Span } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import type { Checker, Scope } from "./checker.ts";
import { checkedSize } from "./dim-members.ts";
import type { Dim } from "./dims.ts";
import { numberOf } from "./numbers.ts";
import { describe, ERROR, keyOf, type BlockTemplate, type Meaning } from "./values.ts";

/** `Name[D, 18_432]`: a block with its dims. A number makes a dim of the block's own. */
export function withDims(
  c: Checker,
  template: BlockTemplate,
  dims: readonly ast.TypeDim[],
  scope: Scope,
  at: Span,
): Meaning {
  if (template.dims.length > 0)
    return c.fail("DSK1303", at, { expected: "a block without dims", found: "a block that has its dims" });
  const formals = template.decl?.dims.flatMap((formal) => (formal.kind === "name" ? [formal.name.text] : [])) ?? [];
  const found: (Dim | number | undefined)[] = [];
  for (const dim of dims) {
    if (dim.kind === "rest") found.push(...(scope.rest ?? []));
    else found.push(dimArgument(c, formals[found.length] ?? "argument", dim.value, scope));
  }
  const sound = found.filter((dim) => dim !== undefined);
  if (sound.length < found.length) return ERROR;
  return keyed({ ...template, dims: sound, at });
}

function dimArgument(c: Checker, name: string, expr: ast.Expr, scope: Scope): Dim | number | undefined {
  const value = c.check(expr, scope);
  if (value.kind === "error") return undefined;
  if (value.kind === "dim") return c.space.compose(value.linear);
  const number = numberOf(value);
  if (number === undefined) {
    c.fail("DSK1201", expr.span, { found: describe(value) });
    return undefined;
  }
  return checkedSize(c, name, number.value, expr.span) ?? (number.value === undefined ? 0 : undefined);
}

/** `Block[...](a, name: b)`: arguments for its parameters, or for dims that its body declares. */
export function withArguments(
  c: Checker,
  template: BlockTemplate,
  args: readonly ast.Arg[],
  scope: Scope,
  at: Span,
): Meaning {
  if (scope.code)
    return c.fail(
      "DSK1305",
      at,
      { found: "a block" },
      { help: `place it first: \`use name = ${template.decl?.name.text ?? "Block"}[...](...)\`` },
    );
  const { decl } = template;
  if (decl === undefined) return template;
  const given = new Map(template.args);
  const places = new Map(template.places);
  let sound = true;
  const members = decl.items.flatMap((item) => (item.kind === "dim" ? [item.name.text] : []));
  for (const [i, arg] of args.entries()) {
    const name = arg.name?.text ?? decl.params[i]?.name.text;
    if (name === undefined) {
      const why = `takes ${decl.params.length} argument${decl.params.length === 1 ? "" : "s"} by place`;
      const help = members.length > 0 ? { help: `its dims are given by name: \`${members[0]!}: 8\`` } : {};
      if (sound) c.fail("DSK1304", arg.span, { callee: decl.name.text, why }, help);
      sound = false;
    } else if (given.has(name)) {
      c.fail("DSK1304", arg.span, { callee: decl.name.text, why: `is given \`${name}\` twice` });
      sound = false;
    } else {
      given.set(name, c.check(arg.value, scope));
      places.set(name, arg.span);
    }
  }
  return sound ? keyed({ ...template, args: given, places, at }) : ERROR;
}

/** The identity of a template: its declaration, dims and arguments. */
export function keyed(template: BlockTemplate): BlockTemplate {
  const { decl, dims, args, fn } = template;
  const name = decl === undefined ? "?" : `${decl.span.file.path}#${decl.name.text}`;
  const shape = dims.map((d) => (typeof d === "number" ? `${d}` : d.label)).join(",");
  const values = [...args]
    .map(([k, v]) => `${k}:${keyOf(v)}`)
    .toSorted()
    .join(",");
  return { ...template, key: `${name}[${shape}](${values}).${fn}` };
}
