/**
 * Weights as bf16 and as codes on generated kernels. Code times scale is exact in f32, so a program that reads codes gives the
 * bits that it gives on the floats that they stand for; but on CUDA, where the order of a sum is that in which its lines are read.
 */
import { describe, expect, test } from "vitest";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { importConfig } from "../../compiler/import/import.ts";
import type { WeightForm } from "../../compiler/lower/stored-weights.ts";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import { outputTypes, scoreOn } from "../../compiler/package/score-on.ts";
import { inDtype } from "../../compiler/passes/in-dtype.ts";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { scoreRows } from "../../compiler/reference/score-rows.ts";
import { storedElements, storedValues } from "../../runtime/device/stored-elements.ts";
import { loadParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { fixtureJson } from "../support/fixture.ts";
import { ModelFixture } from "../support/model-fixture.ts";
import { onCpu } from "../support/on-cpu.ts";
import { onCuda } from "../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";
import { checkedModel } from "../support/probe.ts";

/** Groups that divide dims, that do not, and that are longer than some. */
const FORMS: readonly (WeightForm & { readonly group?: number; readonly most: number })[] = [
  { kind: "bf16", most: 0.002 },
  { kind: "int8", group: 32, most: 0.002 },
  { kind: "int8", group: 7, most: 0.002 },
  { kind: "int4", group: 32, most: 0.06 },
];

describe.each([
  ["a1_v3_plain", "cpu"],
  ["d5_mixtral", "cpu"],
  ["m2_v32_sparse", "cpu"],
  ["a1_v3_plain", "webgpu"],
  ["a1_v3_plain", "cuda"],
] as const)("%s on %s", (name, device) => {
  const open = { cpu: onCpu, webgpu: onWebGpu, cuda: onCuda }[device];
  const fixture = new ModelFixture(name);
  const imported = importConfig(fixtureJson(name, "config.json"), "Model");
  const { module } = checkedModel("text" in imported ? imported.text : "");
  const program = runPasses(inDtype(scoreProgram(module), "f32"));
  const values = loadParams(
    new Checkpoint(fixture.dir),
    readTable("dsl/std/hf", module.checkpoint!),
    weightsOf(module),
  );
  const sizeOf = (label: string): number => module.dims.get(label)!;

  const forms = device === "cuda" ? FORMS.filter(({ group }) => group === 32) : FORMS;
  test.skipIf(device === "webgpu" && !HAS_WEBGPU).each(forms)(
    "$kind in groups of $group",
    { timeout: 300_000 },
    async ({ most, ...form }) => {
      const stored = await open([program], {}, { weights: { form, programs: new Set(["score"]) } });
      const floats = await open([program]);
      const rounded = new Map<string, ArrayLike<number>>();
      const scales = new Set(stored.stores.map(({ quantized }) => quantized?.scales));
      for (const spec of stored.stores.filter((one) => !scales.has(one.name))) {
        const own = values.get(spec.name)!;
        for (const [store, elements] of storedElements(spec, own)) stored.write(store, elements);
        rounded.set(spec.name, storedValues(spec, own));
        floats.write(spec.name, Float32Array.from(rounded.get(spec.name)!));
      }
      const scored = await scoreOn(stored, outputTypes(program), fixture.tokens, sizeOf);
      const same = await scoreOn(floats, outputTypes(program), fixture.tokens, sizeOf);
      stored.close();
      floats.close();
      const [logits, wanted] = [scored, same].map(({ tensors }) => tensors.get("logits")!.data);
      const apart = Float64Array.from(logits!, (x, i) => Math.abs(x - wanted![i]!));
      expect(Math.max(...apart)).toBeLessThanOrEqual(device === "cuda" ? 1e-5 : 0);
      const given = new Map([...values].map(([path, data]) => [path, { data: rounded.get(path) ?? data }]));
      const reference = scoreRows(module, given, fixture.tokens, {
        hidden: false,
        gradients: false,
        metrics: false,
        precision: "f32",
      });
      const exact = reference.tensors.get("logits")!.data;
      for (let i = 0; i < exact.length; i++) expect(Math.abs(logits![i]! - exact[i]!)).toBeLessThan(1e-4);
      const full = fixture.io.tensor("loss").read()[0]!;
      const difference = Math.abs(scored.tensors.get("loss")!.data[0]! / full - 1);
      expect(difference).toBeLessThan(most);
      // It is no accident that the numbers are near: they are others.
      expect(difference).toBeGreaterThan(0);
    },
  );
});
