import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseWeightForm } from "../../../compiler/package/weight-form.ts";

test.each(["int8", "int4"])("groups of %s are as long as the standard library says", (kind) => {
  const signatures = readFileSync("dsl/std/sections/serve.dsk", "utf8");
  const group = new RegExp(`^signature ${kind}\\(group: count = (\\d+)\\)`, "m").exec(signatures)?.[1];
  expect(parseWeightForm(kind)).toEqual({ kind, group: Number(group) });
});

test.each(["int5", "int8:0", "int8:", "bf16:32", "", "INT8"])("`%s` is no form of weights", (text) => {
  expect(parseWeightForm(text)).toBeUndefined();
});
