import { expect, test } from "vitest";
import { parseModule } from "../../../compiler/model-ir/parse.ts";
import { placesOf, storesOf } from "../../../compiler/model-ir/places.ts";
import { TINY } from "../../support/tiny-module.ts";

const { root } = parseModule({ path: "tiny.model", text: TINY });

test("places are listed in the order of the text, layers counted through all runs", () => {
  const paths = placesOf(root).map(({ path }) => path);
  expect(paths.slice(0, 6)).toEqual(["", "embed", "trunk.0", "trunk.0.mixer", "trunk.0.ffn", "trunk.0.ffn.experts"]);
  expect(paths).toContain("trunk.2.ffn.experts");
  expect(paths).toContain("mtp.1.layer.mixer");
  expect(paths).not.toContain("head");
});

test("stores of copies have the dim of the copies in front", () => {
  const stores = new Map(storesOf(root).map((store) => [store.path, store]));
  expect(stores.get("trunk.0.ffn.experts.shift")?.type).toEqual({ dtype: "f32", dims: ["A", "F"] });
  expect(stores.get("trunk.2.ffn.bias")?.store.kind).toBe("state");
  expect(stores.get("mtp.0.join")?.place.ahead).toBe(true);
});
