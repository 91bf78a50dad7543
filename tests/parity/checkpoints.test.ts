/** Every model fixture from its config.json and its checkpoint: logits, hidden states, loss and all gradients. */
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { checkFile } from "../../dsl/semantics/check.ts";
import { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { importConfig } from "../../compiler/import/import.ts";
import { storesOf } from "../../compiler/model-ir/places.ts";
import { scoreRows } from "../../compiler/reference/score-rows.ts";
import { loadParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { fixtureJson } from "../support/fixture.ts";

const fixtures = resolve(import.meta.dirname, "../fixtures/models");
const tables = resolve(import.meta.dirname, "../../dsl/std/hf");
const folders = readdirSync(fixtures).filter((folder) => /^[abcd]\d_/.test(folder));

function largest(got: ArrayLike<number> | undefined, want: ArrayLike<number>): number {
  expect(got!.length).toBe(want.length);
  return Math.max(...Array.from(want, (value, i) => Math.abs(got![i]! - value)));
}

test("there are fixtures of every family", () => {
  expect(folders.length).toBeGreaterThanOrEqual(14);
});

test.each(folders)("%s", (folder) => {
  const imported = importConfig(fixtureJson(folder, "config.json"), folder);
  const text = "text" in imported ? imported.text : imported.problems.join("\n");
  const diagnostics = new Diagnostics();
  const [model] = checkFile({ path: `${folder}.dsk`, text }, diagnostics).models.values();
  expect(diagnostics.all).toEqual([]);
  const { module } = model!;
  const table = readTable(tables, module.checkpoint!);
  const stores = storesOf(module.root).filter(({ store }) => store.kind !== "cache");
  const params = stores.map(({ path, type, place }) => ({
    path,
    shape: type.dims.map((label) => module.dims.get(label)!),
    blocks: place.block.names,
  }));
  const weights = new Map(
    [...loadParams(new Checkpoint(join(fixtures, folder)), table, params)].map(([path, data]) => [path, { data }]),
  );

  const io = new Checkpoint(join(fixtures, folder, "io.safetensors"));
  const ids = io.tensor("input_ids");
  const [count, length] = ids.shape as [number, number];
  const tokens = Array.from(ids.read());
  const rows = Array.from({ length: count }, (_, i) => tokens.slice(i * length, (i + 1) * length));
  const { tensors, gradients } = scoreRows(module, weights, rows, { hidden: true, gradients: true, precision: "f64" });
  expect(largest(tensors.get("logits")!.data, io.tensor("logits").read())).toBeLessThan(2e-5);
  expect(largest(tensors.get("loss")!.data, io.tensor("loss").read())).toBeLessThan(2e-6);
  const layers = io.names.filter((name) => /^hidden\.layer\d+$/.test(name));
  expect(tensors.size).toBe(layers.length + 3);
  for (const name of layers) {
    const layer = Number(name.slice("hidden.layer".length)) + 1;
    expect(largest(tensors.get(`hidden.${layer}`)!.data, io.tensor(name).read())).toBeLessThan(5e-5);
  }
  const trained = params.filter(({ path }) => gradients.has(path));
  const wanted = loadParams(new Checkpoint(join(fixtures, folder, "grads.safetensors")), table, trained, {
    // Experts without tokens have no entry: their gradient is zero.
    optional: () => true,
  });
  expect(wanted.size).toBe(trained.length);
  for (const [path, gradient] of wanted) expect(largest(gradients.get(path)?.data, gradient)).toBeLessThan(2e-6);
});
