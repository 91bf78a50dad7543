/**
 * Random models on every device against the interpreter: logits, loss, all gradients, chosen experts. `DSKC_RANDOM_MODELS` says
 * how many, `DSKC_RANDOM_SEED` which. On CUDA, where g++ has to compile every kernel for the stand-in first, one of them unless
 * DSKC_CUDA_FIXTURES=all.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { scoreProgram } from "../../compiler/elaborate/score.ts";
import { importConfig } from "../../compiler/import/import.ts";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import { outputTypes, scoreOn } from "../../compiler/package/score-on.ts";
import { inDtype } from "../../compiler/passes/in-dtype.ts";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { type Scored, scoreRows } from "../../compiler/reference/score-rows.ts";
import { encoded } from "../../runtime/device/elements.ts";
import { onCpu } from "../support/on-cpu.ts";
import { onCuda } from "../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";
import { checkedModel } from "../support/probe.ts";
import { drawnWeights, randomModel } from "../support/random-config.ts";

const OPTIONS = { gradients: true, metrics: true } as const;
const numRuns = Number(process.env["DSKC_RANDOM_MODELS"] ?? 6);
const models = fc.sample(randomModel, { numRuns, seed: Number(process.env["DSKC_RANDOM_SEED"] ?? 2024) });

describe.each(models.map((model, i) => ({ i, ...model })))("random model $i", ({ i, config, rows }) => {
  const imported = importConfig(config, "Model");
  const text = "text" in imported ? imported.text : "";
  const reference = (): ReturnType<typeof scoreRows> => {
    const { module } = checkedModel(text);
    const given = new Map(weightsOf(module).map(({ path, shape }) => [path, { data: drawnWeights(path, shape) }]));
    return scoreRows(module, given, rows, { ...OPTIONS, precision: "f64" });
  };
  let wanted: ReturnType<typeof scoreRows> | undefined;

  test("on cpu", { timeout: 300_000 }, () => check(onCpu, 2e-5));
  test.skipIf(!HAS_WEBGPU)("on webgpu", { timeout: 300_000 }, () => check(onWebGpu, 2e-4));
  test.skipIf(i > 0 && process.env["DSKC_CUDA_FIXTURES"] !== "all")("on cuda", { timeout: 600_000 }, () =>
    check(onCuda, 2e-4),
  );

  /** @param most how far logits may lie apart, in parts of the largest */
  async function check(open: typeof onCpu | typeof onCuda | typeof onWebGpu, most: number): Promise<void> {
    expect(imported).toHaveProperty("text");
    wanted ??= reference();
    const { module } = checkedModel(text);
    const program = runPasses(inDtype(scoreProgram(module, OPTIONS), "f32"));
    const session = await open([program]);
    for (const { name, dtype, shape } of session.stores) session.write(name, encoded(drawnWeights(name, shape), dtype));
    const got = await scoreOn(session, outputTypes(program), rows, (label) => module.dims.get(label)!);
    session.close();
    const compare = (mine: ReadonlyMap<string, Pick<Scored, "data">>, own: typeof mine, atMost: number): void => {
      expect([...mine.keys()].toSorted()).toEqual([...own.keys()].toSorted());
      for (const [name, { data }] of own) {
        const largest = Math.max(...Array.from(data, Math.abs), 1e-3);
        const given = mine.get(name)!.data;
        const worst = Math.max(...Array.from(data, (x, i) => Math.abs(given[i]! - x) / largest));
        expect([name, worst <= atMost]).toEqual([name, true]);
      }
    };
    compare(got.metrics, wanted.metrics, 0);
    compare(got.tensors, wanted.tensors, most);
    compare(got.gradients, wanted.gradients, 10 * most);
    const moved = [...got.gradients.values()].filter(({ data }) => Array.from(data).some((x) => x !== 0));
    expect(moved.length).toBeGreaterThan(5);
  }
});
