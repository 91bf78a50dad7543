/** The models of the fixtures on generated kernels. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import { outputTypes, scoreOn } from "../../compiler/package/score-on.ts";
import { inDtype } from "../../compiler/passes/in-dtype.ts";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { importConfig } from "../../compiler/import/import.ts";
import { encoded } from "../../runtime/device/elements.ts";
import { loadParams, storeParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { writeSafetensors } from "../../runtime/io/safetensors/write.ts";
import { f32 } from "../../runtime/io/safetensors/written.ts";
import { fixtureJson } from "./fixture.ts";
import { ModelFixture } from "./model-fixture.ts";
import { checkedModel } from "./probe.ts";
import type { onCpu } from "./on-cpu.ts";
import type { onCuda } from "./on-cuda.ts";
import type { onWebGpu } from "./on-webgpu.ts";

/**
 * Logits, hidden states, loss, chosen experts and gradients of a fixture are those of the other implementation.
 * @param factor what the manifest's tolerances are multiplied with
 */
export async function checkFixture(
  name: string,
  open: typeof onCpu | typeof onCuda | typeof onWebGpu,
  factor = 1,
): Promise<void> {
  const fixture = new ModelFixture(name, factor);
  const imported = importConfig(fixtureJson(name, "config.json"), "Model");
  expect(imported).toHaveProperty("text");
  const { module } = checkedModel("text" in imported ? imported.text : "");
  const program = runPasses(inDtype(scoreProgram(module, { hidden: true, gradients: true, metrics: true }), "f32"));
  const session = await open([program]);
  const table = readTable("dsl/std/hf", module.checkpoint!);
  const params = weightsOf(module);
  const values = loadParams(new Checkpoint(fixture.dir), table, params);
  for (const { name: store, dtype } of session.stores) session.write(store, encoded(values.get(store)!, dtype));
  const scores = await scoreOn(session, outputTypes(program), fixture.tokens, (label) => module.dims.get(label)!);
  session.close();
  const folder = mkdtempSync(join(tmpdir(), "dskc-"));
  const file = join(folder, `${name}.safetensors`);
  const tensors = [...scores.tensors, ...scores.metrics].map(([tensor, { shape, data }]) => f32(tensor, shape, data));
  const gradients = new Map([...scores.gradients].map(([path, { data }]) => [path, data]));
  const trained = params.filter(({ path }) => gradients.has(path));
  writeSafetensors(file, [...tensors, ...storeParams(table, trained, gradients, "grad.")]);
  const got = new Checkpoint(file);
  fixture.compareForward(got);
  fixture.compareRouting(got);
  fixture.compareGradients(got);
  rmSync(folder, { recursive: true });
}
