import { expect, test } from "vitest";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import { printModule } from "../../../compiler/model-ir/print.ts";
import { TINY } from "../../support/tiny-module.ts";

const parse = (text: string): ReturnType<typeof parseModule> => parseModule({ path: "tiny.model", text });

test("the text of a module parses back to the same text", () => {
  expect(printModule(parse(TINY))).toBe(TINY);
});

test("what a module holds", () => {
  const module = parse(TINY);
  expect(module.root.uses.get("trunk")).toMatchObject({ kind: "stack", layers: [{ count: 1 }, { count: 2 }] });
  expect(module.blocks.get("Moe")!.onStep).toBe(module.fns.get("Moe.on_step"));
  expect(module.ahead.get("mtp")).toMatchObject({ depth: 2, head: { use: "embed" } });
  expect(module.dims.get("T")).toBeNull();
  expect(module.losses).toEqual(new Set(["balance"]));
});

test("a checkpoint table, expectations with facts, and initial values survive", () => {
  const text = TINY.replace("losses balance", "checkpoint deepseek\nlosses balance, router_z").replace(
    "expect cache.bytes == 35 within 0.05",
    "expect (flops.train - 2) / 3 == 1e-7 * 4 within 0.001",
  );
  expect(printModule(parse(text))).toBe(text);
});

test.each([
  ["a block that is not there", TINY.replace("@Norm forward", "@Nurm forward"), /:\d+: there is no block @Nurm/],
  ["a value that is not defined", TINY.replace("math.mul %0, %1", "math.mul %0, %9"), /%9/],
  ["a kind of use that is none", TINY.replace("alias embed", "link embed"), /`link` is no kind of use/],
  ["no root", TINY.replace("root @Tiny\n", ""), /`root`/],
])("%s is an error", (_, text, message) => {
  expect(() => parse(text)).toThrow(message);
});
