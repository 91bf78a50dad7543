import { expect, test } from "vitest";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import { verifyModule } from "../../../compiler/model-ir/verify.ts";
import { TINY } from "../../support/tiny-module.ts";

function faults(from: string, to: string): readonly string[] {
  expect(TINY).toContain(from);
  return verifyModule(parseModule({ path: "tiny.model", text: TINY.replace(from, to) }));
}

test("a sound module has no faults", () => {
  expect(faults("Tiny", "Tiny")).toEqual([]);
});

test.each([
  [
    "a param of another type",
    "param gate: f32[D, E]",
    "param gate: f32[D, A]",
    /param gate is f32\[D, A\], not f32\[D, E\]/,
  ],
  ["a param that is not there", "state bias: f32[E] = 0", "state bios: f32[E] = 0", /Moe has no state bias/],
  [
    "a dim without a size",
    "use embed = block @Embedding forward",
    "use embed = block @Embedding forward over Z",
    /dim Z has no size/,
  ],
  [
    "a layer beyond the end",
    'first = 1, fn = "Layer.2.forward", use = "trunk"',
    'first = 2, fn = "Layer.2.forward", use = "trunk"',
    /layers 2 to 3 of 3/,
  ],
  ["copies that the use does not have", 'over = "A", use', 'over = "E", use', /over is E, the use has A/],
  ["an alias of nothing", "alias embed", "alias imbed", /there is no block imbed/],
  ["a depth that differs", "mtp = ahead 2 of", "mtp = ahead 0 of", /depth 0/],
  [
    "an operand of another type",
    '%4: f32[T, D] = model.call %3 {count = 1, first = 0, fn = "Mixture.forward", use = "ffn"}',
    '%4: f32[T, D] = model.call %1 {count = 1, first = 0, fn = "Mixture.forward", use = "ffn"}',
    /operand 0 is i32\[T\]/,
  ],
  ["a cache of another width", "cache keys: f32[N]", "cache keys: f32[D]", /cache keys is f32\[D\], not f32\[N\]/],
])("%s is a fault", (_, from, to, message) => {
  expect(faults(from, to).join("\n")).toMatch(message);
});
