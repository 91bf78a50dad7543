/** Training steps of the fixtures on a device: losses, biases and parameters within ten times the tolerances. */
import { join, resolve } from "node:path";
import { expect } from "vitest";
import { trainStepProgram } from "../../compiler/elaborate/train-step.ts";
import { weightsOf } from "../../compiler/model-ir/places.ts";
import { inDtype } from "../../compiler/passes/in-dtype.ts";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import type { CheckedModel } from "../../dsl/semantics/check.ts";
import type { Elements } from "../../runtime/device/session.ts";
import { loadParams, storeParams } from "../../runtime/io/names/load.ts";
import { readTable } from "../../runtime/io/names/table.ts";
import { Checkpoint } from "../../runtime/io/safetensors/read.ts";
import { packedRows } from "./packed-rows.ts";
import { fixtureJson, fixtureTensors } from "./fixture.ts";
import type { onCuda } from "./on-cuda.ts";
import type { onWebGpu } from "./on-webgpu.ts";
import { tinyV3 } from "./tiny-v3.ts";

const models = resolve(import.meta.dirname, "../fixtures/models");
const checked = tinyV3();
const table = readTable(resolve(import.meta.dirname, "../../dsl/std/hf"), "deepseek");

interface Manifest {
  readonly steps: readonly {
    readonly loss_fp64: number;
    readonly total_fp64: number;
    readonly grad_norm_fp64: number;
  }[];
  readonly hyper: { readonly lrs: readonly number[] };
  readonly files: Readonly<
    Record<
      string,
      { readonly tensors: Readonly<Record<string, { readonly tolerance?: { atol: number; rtol: number } }>> }
    >
  >;
}

/** What the fixtures train: their losses with the weights that these have. */
export const TRAINED = [
  ["f1_v3_adamw5", [["next_token", 1]]],
  [
    "f2_v3_full_objective3",
    [
      ["next_token", 1],
      ["mtp", 0.3],
      ["sequence_balance", 1e-4],
    ],
  ],
] as const;

/** A step of AdamW, as the fixtures take it. */
export function trainedStep(model: CheckedModel, losses: (typeof TRAINED)[number][1]): Program {
  const { module, optimizer } = model.training();
  return trainStepProgram(module, {
    objective: losses.map(([loss, weight]) => ({ loss, weight })),
    clip: 1,
    optimizer: (type, decayed) =>
      optimizer(
        "AdamW",
        new Map([
          ["beta2", 0.95],
          ["decay", decayed ? 0.1 : 0],
        ]),
        type,
      )!,
  });
}

/** Steps of AdamW with bias updates. */
export async function checkTrainingSteps(
  [name, losses]: (typeof TRAINED)[number],
  open: typeof onCuda | typeof onWebGpu,
): Promise<void> {
  const { module } = checked.training();
  const manifest = fixtureJson(name, "manifest.json") as Manifest;
  const train = fixtureTensors(name, "train.safetensors");

  /** What differs by more than ten times the tolerance of its tensor. */
  function apart(file: string, tensor: string, got: ArrayLike<number>, want: ArrayLike<number>): string[] {
    const { atol, rtol } = manifest.files[file]!.tensors[tensor]!.tolerance!;
    const bad = Array.from(want).findIndex((x, i) => !(Math.abs(got[i]! - x) <= 10 * (atol + rtol * Math.abs(x))));
    return bad < 0 && got.length === want.length ? [] : [`${tensor}[${bad}] is ${got[bad]}, not ${want[bad]}`];
  }

  const program = trainedStep(checked, losses);
  const session = await open([runPasses(inDtype(program, "f32"))]);
  const params = weightsOf(module).filter(({ path }) => session.stores.some((store) => store.name === path));
  const files = ["a1_v3_plain/model.safetensors", ...(losses.length > 1 ? ["e1_v3_mtp/mtp.safetensors"] : [])];
  for (const file of files) {
    const weights = loadParams(new Checkpoint(join(models, file)), table, params, { optional: () => true });
    for (const [path, data] of weights) session.write(path, Float32Array.from(data));
  }
  for (const [index, step] of manifest.steps.entries()) {
    const ids = train(`step${index}.input_ids`);
    const scalars = { lr: manifest.hyper.lrs[index]!, step: index + 1, "train.balance_rate": 0.001 };
    const { sizes, inputs } = packedRows(ids);
    const outputs = await session.run({
      program: program.name,
      sizes,
      inputs: {
        ...inputs,
        ...Object.fromEntries(Object.entries(scalars).map(([key, x]) => [key, Float32Array.of(x)])),
        seed: Int32Array.of(0),
      },
    });
    const got = ["loss.next_token", "loss", "grad_norm"].map((output) => outputs[output]![0]!);
    const want = [step.loss_fp64, step.total_fp64, step.grad_norm_fp64];
    expect(apart("train.safetensors", "scalars", got, want)).toEqual([]);
    for (const layer of [1, 2]) {
      const tensor = `step${index}.bias.layer${layer}`;
      const bias = await session.read(`trunk.${layer}.ffn.bias`);
      expect(apart("train.safetensors", tensor, bias, train(tensor).data)).toEqual([]);
    }
  }
  const values = new Map<string, Elements>();
  for (const { path } of params) values.set(path, await session.read(path));
  session.close();
  const final = new Checkpoint(join(models, name, "params_final.safetensors"));
  const stored = storeParams(table, params, values as Map<string, Float32Array>);
  const compared = stored.filter((tensor) => final.has(tensor.name));
  expect(compared.length).toBe(final.names.length);
  expect(
    compared.flatMap((tensor) => {
      const bytes = tensor.bytes();
      const got = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
      return apart("params_final.safetensors", tensor.name, got, final.tensor(tensor.name).read());
    }),
  ).toEqual([]);
}
