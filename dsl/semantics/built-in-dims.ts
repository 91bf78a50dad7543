import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import type * as ast from "../syntax/ast.ts";

export const BUILT_IN_DIMS = "T is the tokens of a call, S the positions kept, B the sequences";

export function isBuiltInDim(name: string): boolean {
  return name === "T" || name === "S" || name === "B";
}

/**
 * Reports dims, arguments, parameters and locals that take the name of a dim of the language, and parameters that are
 * declared twice. Members: `instantiate.ts`.
 */
export function checkNames({ decls }: ast.File, diagnostics: Diagnostics): void {
  const check = (names: readonly ast.Name[]): void => {
    for (const { text: name, span } of names)
      if (isBuiltInDim(name)) diagnostics.report("DSK1008", span, { name }, { help: BUILT_IN_DIMS });
  };
  for (const decl of decls) {
    if (decl.kind !== "block" && decl.kind !== "model") continue;
    const params = decl.kind === "block" ? decl.params.map(({ name }) => name) : [];
    if (decl.kind === "block") check([...formals(decl.dims), ...params]);
    checkTwice(params, diagnostics);
    for (const item of decl.items) {
      if (item.kind === "fn") {
        const names = [...formals(item.dims), ...item.params.map(({ name }) => name)];
        check(names);
        checkTwice(names, diagnostics);
      }
      if (item.kind === "fn" || item.kind === "on") check(item.body.stmts.flatMap(locals));
    }
  }
}

function checkTwice(names: readonly ast.Name[], diagnostics: Diagnostics): void {
  for (const [i, { text: name, span }] of names.entries()) {
    const first = names.findIndex((other) => other.text === name);
    if (first === i) continue;
    const secondary = [{ span: names[first]!.span, text: "first declared here" }];
    diagnostics.report("DSK1002", span, { name }, { secondary });
  }
}

function formals(dims: readonly ast.DimFormal[]): ast.Name[] {
  return dims.flatMap((dim) => (dim.kind === "name" ? [dim.name] : []));
}

function locals(stmt: ast.Stmt): ast.Name[] {
  return stmt.kind === "let" ? stmt.targets.map(({ name }) => name) : [];
}
