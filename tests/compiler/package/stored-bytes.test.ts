import { expect, test } from "vitest";
import { loadModel } from "../../../compiler/cli/load-model.ts";
import { loweredSource } from "../../../compiler/package/package.ts";
import { servingPrograms } from "../../../compiler/package/programs.ts";
import { storedBytes } from "../../../compiler/package/stored-bytes.ts";
import { parseWeightForm, type StoredForms } from "../../../compiler/package/weight-form.ts";
import { bytesOf, keptBy } from "../../../runtime/device/stores.ts";

const { module } = loadModel("specs/quickstart.dsk", undefined)!;

test.each<[string, StoredForms["caches"]]>([
  ["f32", undefined],
  ["bf16", "bf16"],
  ["int8", "f16"],
  ["int8:7", undefined],
  ["int4:48", "bf16"],
])("weights in %s and caches in %s take what programs keep", (store, caches) => {
  const forms: StoredForms = { store: parseWeightForm(store), caches };
  const { programs } = loweredSource({ programs: servingPrograms(module, false), ...forms });
  const { stores, cacheRowBytes } = keptBy(programs);
  const weightBytes = stores.reduce((sum, spec) => sum + bytesOf(spec), 0);
  expect(storedBytes(module, forms)).toEqual({ weightBytes, cacheBytesPerToken: cacheRowBytes });
});

test("as the model declares it where nothing is said", () => {
  const declared = storedBytes(module, { store: undefined, caches: undefined });
  expect(declared).toEqual({ weightBytes: 4 * (1_629_760 + 3 * 16), cacheBytesPerToken: 4 * 256 });
});
