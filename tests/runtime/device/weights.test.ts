import { expect, test } from "vitest";
import { tableOf } from "../../../compiler/cli/name-table.ts";
import { modelFile } from "../../../compiler/package/model.ts";
import { loadWeights } from "../../../runtime/device/weights.ts";
import { nonFiniteStore } from "../../../runtime/train/finite.ts";
import { tinyV3, tinyV3Session } from "../../support/tiny-v3.ts";

test("weights that are copied and checked tell how far they are", async () => {
  const model = tinyV3();
  const session = tinyV3Session(model);
  const seen = new Map<string, [number, number][]>();
  const listen = (what: string, done: number, all: number): void => {
    seen.set(what, [...(seen.get(what) ?? []), [done, all]]);
  };
  const { module } = model;
  loadWeights(session, modelFile(module, tableOf(module)), "tests/fixtures/models/a1_v3_plain", listen);
  expect(await nonFiniteStore(session, listen)).toBeUndefined();
  const counted = (all: number): [number, number][] => Array.from({ length: all }, (_, i) => [i + 1, all]);
  const own = session.stores.filter(({ name }) => !name.startsWith("mtp."));
  expect(own.length).toBeGreaterThan(30);
  expect([...seen]).toEqual([
    ["reading weights", counted(own.length)],
    ["checking weights", counted(session.stores.length)],
  ]);
});
