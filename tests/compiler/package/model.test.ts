import { describe, expect, test } from "vitest";
import { modelFile } from "../../../compiler/package/model.ts";
import { trainPlan } from "../../../compiler/cli/train-plan.ts";
import { trainStepProgram } from "../../../compiler/elaborate/train-step.ts";
import { stringAttr } from "../../../compiler/tensor-ir/attrs.ts";
import { loadModel } from "../../../compiler/cli/load-model.ts";

const loaded = loadModel("specs/quickstart.dsk", undefined)!;
const section = loaded.trains[0]!;

describe("modelFile", () => {
  test("params and states with shape, dtype and initial values", () => {
    const { name, vocabulary, stores } = modelFile(loaded.module);
    expect([name, vocabulary]).toEqual(["Tiny", 1024]);
    const byName = new Map(stores.map((store) => [store.name, store]));
    expect(byName.get("trunk.2.ffn.experts.gate")).toEqual({
      name: "trunk.2.ffn.experts.gate",
      kind: "param",
      dtype: "f32",
      shape: [16, 128, 48],
      init: { kind: "normal", scale: 0.02 },
      blocks: ["SwiGlu"],
    });
    expect(byName.get("trunk.2.ffn.bias")).toMatchObject({ kind: "state", dtype: "f32", shape: [16] });
    expect(byName.get("mtp.0.layer.ffn.gate")).toMatchObject({ ahead: true });
    expect(byName.get("norm.weight")!.init).toEqual({ kind: "constant", value: 1 });
  });

  test("with a plan: every store of the training step, as it stores it", () => {
    const training = loaded.training();
    const plan = trainPlan(section, training);
    const known = new Map(modelFile(training.module, undefined, plan).stores.map((store) => [store.name, store]));
    const program = trainStepProgram(training.module, plan);
    const read = program.ops.filter(({ name }) => name === "model.param" || name === "model.state");
    expect(read.length).toBeGreaterThan(250);
    for (const { name, attrs, results } of read) {
      const { type } = results[0]!;
      const shape = type.dims.map((label) => program.dims.get(label));
      const kind = name.slice("model.".length);
      expect(known.get(stringAttr(attrs, "name"))).toMatchObject({ kind, dtype: type.dtype, shape });
    }
    expect(known.get("optimizer.trunk.2.ffn.experts.gate.m")!.init).toEqual({ kind: "constant", value: 0 });
  });
});
