import { resolve } from "node:path";
import { expect, test } from "vitest";
import { Diagnostics } from "../../../../compiler/diagnostics/diagnostic.ts";
import { checkValue } from "../../../../dsl/semantics/sections/check-value.ts";
import type { Context } from "../../../../dsl/semantics/sections/context.ts";
import { type Group, loadSchemas } from "../../../../dsl/semantics/sections/schema.ts";
import type { Type } from "../../../../dsl/semantics/sections/types.ts";
import type { Expr } from "../../../../dsl/syntax/ast.ts";

const schemas = loadSchemas(resolve(import.meta.dirname, "../../../../dsl/std"));

function defaultsOf(group: Group): { value: Expr; type: Type; name: string }[] {
  return [...group.fields.values()].flatMap((field) => {
    if (field.kind === "group") return defaultsOf(field);
    return field.value === undefined ? [] : [{ value: field.value, type: field.type, name: field.name }];
  });
}

test("every default of the standard library fits its type", () => {
  const diagnostics = new Diagnostics();
  const c: Context = {
    check: checkValue,
    schemas,
    diagnostics,
    model: undefined,
    sections: () => [],
    tables: [],
    axes: [],
  };
  const params = [...schemas.functions.values()].flat().flatMap((f) => f.params);
  const all = [
    ...[...schemas.sections.values()].flatMap(defaultsOf),
    ...params.flatMap(({ value, type, name }) => (value === undefined ? [] : [{ value, type, name }])),
  ];
  expect(all.length).toBeGreaterThan(30);
  for (const { value, type, name } of all) expect([name, checkValue(c, value, type).kind]).not.toContain("error");
  expect(diagnostics.all).toEqual([]);
});

test("functions of one name differ in their results", () => {
  for (const [name, all] of schemas.functions) {
    const results = all.map((each) => each.result);
    expect([name, new Set(results).size]).toEqual([name, results.length]);
  }
});

test("there is a schema for every section and target", () => {
  expect([...schemas.sections.keys()].toSorted()).toEqual([
    "cpu",
    "cuda",
    "data",
    "layout",
    "serve",
    "train",
    "webgpu",
  ]);
});
