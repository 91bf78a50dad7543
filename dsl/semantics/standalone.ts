import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, Checker, type Argument, type Scope } from "./checker.ts";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { checkDims } from "./dim-members.ts";
import type { Dim } from "./dims.ts";
import { checkOnStep } from "./events.ts";
import { callFn } from "./functions.ts";
import type { Instance } from "./instance.ts";
import { standalone } from "./instantiate.ts";
import type { FileScope, Loader } from "./load.ts";
import { RULES } from "./model.ts";
import { patternOf, staticType } from "./types.ts";
import { ERROR, num, type BlockTemplate, type Meaning } from "./values.ts";

/**
 * Checks a block by itself, with formal dims of unknown size: for functions that no model calls. What only a caller
 * can know stays unknown and gives no errors.
 */
export function checkAlone(
  decl: ast.BlockDecl,
  scope: FileScope,
  seen: ReadonlySet<ast.FnItem>,
  loader: Loader,
  diagnostics: Diagnostics,
): void {
  const c = new Checker(diagnostics, loader, RULES, true);
  const instance = standalone(c, decl, scope);
  if (instance === undefined) return;
  for (const { item } of instance.members.values()) {
    if (item.kind !== "fn") continue;
    if (seen.has(item) && decl.items.includes(item)) continue;
    checkFn(c, instance, item);
  }
  if (decl.items.some((i) => i.kind === "on" || i.kind === "set" || i.kind === "expect")) {
    for (const { item } of instance.members.values()) if (item.kind === "fn") checkFn(c, instance, item);
    checkOnStep(c, instance);
  }
}

/** Calls a function with arguments of the types that it declares. */
function checkFn(c: Checker, instance: Instance, item: ast.FnItem): void {
  const builder = new ProgramBuilder(c.space.table);
  const level = instance.members.get(item.name.text)!.level;
  const fnDims = new Map<string, Dim>();
  for (const formal of item.dims)
    if (formal.kind === "name") fnDims.set(formal.name.text, c.space.atom(formal.name.text, undefined));
  const scope: Scope = {
    ...bodyScope(instance, level),
    builder,
    code: true,
    fnDims,
    rest: level.rest ?? [c.space.tokens],
  };
  const args: Argument[] = [];
  for (const param of item.params) {
    const value = sample(c, param, scope, builder);
    if (value.kind === "error") return;
    args.push({ span: param.span, evaluate: () => value });
  }
  callFn(c, { instance, use: "", fn: item.name.text }, args, scope, item.name.span);
}

function sample(c: Checker, param: ast.Param, scope: Scope, builder: ProgramBuilder): Meaning {
  switch (staticType(param.type)) {
    case "Number":
      return num(undefined);
    case "Bool":
      return { kind: "bool", value: undefined };
    case "Block":
      return UNKNOWN_BLOCK;
    case "String":
      return ERROR;
    default:
  }
  if (param.type.kind === "tuple") return ERROR;
  const pattern = patternOf(c, param.type);
  const dims = pattern === undefined ? undefined : checkDims(c, pattern.dims, scope);
  if (pattern === undefined || dims === undefined) return ERROR;
  // Indices say what they point into only at a call.
  if (pattern.dtype === "i32" && dims.some((d) => d.size !== null)) return ERROR;
  return {
    kind: "tensor",
    value: builder.value({ dtype: pattern.dtype ?? c.dtype, dims: dims.map((d) => d.label) }),
    dims,
  };
}

const UNKNOWN_BLOCK: BlockTemplate = { kind: "block", dims: [], args: new Map(), fn: "forward", key: "?" };
