import type { Fn } from "../../compiler/model-ir/types.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type * as ast from "../syntax/ast.ts";
import { bodyScope, freeId, type Checker, type Scope } from "./checker.ts";
import type { Instance, Level } from "./instance.ts";
import { runStatements } from "./statements.ts";

/** Checks `on step`: of an `extends` chain the most derived one counts. It runs after the optimizer, once a step. */
export function checkOnStep(c: Checker, instance: Instance): void {
  let found: { item: ast.OnItem; level: Level } | undefined;
  for (const level of instance.levels) {
    for (const item of level.decl.items) {
      if (item.kind === "set" && level.decl.kind === "block") {
        c.fail(
          "DSK1309",
          item.span,
          { what: `the setting \`${item.name.text}\``, where: "a block" },
          { help: "settings belong to a model" },
        );
      }
      if (item.kind === "expect" && level.decl.kind === "block")
        c.fail(
          "DSK1309",
          item.span,
          { what: "`expect`", where: "a block" },
          { help: "expectations belong to a model" },
        );
      if (item.kind !== "on") continue;
      if (item.event.text !== "step")
        c.fail("DSK1001", item.event.span, { name: item.event.text }, { help: "the only event is `step`" });
      else found ??= { item, level };
    }
  }
  if (found === undefined) return;
  const builder = new ProgramBuilder(c.space.table);
  const scope: Scope = { ...bodyScope(instance, found.level), builder, code: true, event: "step" };
  runStatements(c, found.item.body, scope, { name: found.item.event, declared: false, expected: undefined });
  const fn: Fn = { id: freeId(c.fnTable, `${instance.block.id}.on_step`), params: [], results: [], ops: builder.ops };
  c.fnTable.set(fn.id, fn);
  instance.block.onStep = fn;
}
