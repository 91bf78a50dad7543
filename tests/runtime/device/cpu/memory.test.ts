/** What a process grows by when it trains or serves, against the plan, which is known before anything is allocated. */
import { execFileSync } from "node:child_process";
import { beforeAll, expect, test } from "vitest";
import { trainPlan } from "../../../../compiler/cli/train-plan.ts";
import { modelFile } from "../../../../compiler/package/model.ts";
import { cachedPackage, packageFiles, type PackageSource } from "../../../../compiler/package/package.ts";
import { servingPrograms, trainingPrograms } from "../../../../compiler/package/programs.ts";
import { Diagnostics } from "../../../../compiler/diagnostics/diagnostic.ts";
import { checkFile } from "../../../../dsl/semantics/check.ts";
import { addon } from "../../../../runtime/native/addon.ts";
import type { CpuVariant } from "../../../../runtime/program/variants.ts";
import { bundle } from "../../../support/bundle.ts";

/** Some 25 million params: large enough that 2 % of it is more than what a JavaScript heap does by itself. */
const TEXT = `edition 2026

import { Gqa } from "std/attention"
import { Decoder, Embedding, RmsNorm, SwiGlu } from "std/nn"

model Plain {
  dim V = 16_384
  dim D = 512

  use embed = Embedding[V, D]
  use trunk = stack { 4 of Decoder[D](mixer: Gqa[D, 8, 1, 64], ffn: SwiGlu[D, 2048]) }
  use norm  = RmsNorm[D]

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return embed.transposed(norm(trunk(embed(tokens), pos)))
  }
}
`;

interface Measured {
  /** Bytes of params, states and caches, and of the arena, by the plan. */
  readonly kept: number;
  readonly arena: number;
  /** What the process grew by. */
  readonly grown: number;
  readonly memory: { readonly arenaHighWater: number; readonly scratchBytes: number };
}

const { module, training } = checkFile({ path: "plain.dsk", text: TEXT }, new Diagnostics()).models.get("Plain")!;
let child: string;

beforeAll(async () => {
  child = await bundle("memory-child");
});

async function measured(source: PackageSource, ...call: readonly (string | number)[]): Promise<Measured> {
  const directory = await cachedPackage(packageFiles(source), { variants: [addon().isa() as CpuVariant] });
  const args = ["--expose-gc", child, directory, ...call.map(String)];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as Measured;
}

function expectPlanned({ kept, arena, grown, memory }: Measured): void {
  const plan = kept + arena + memory.scratchBytes;
  expect(memory.arenaHighWater).toBe(arena);
  expect(plan).toBeGreaterThan(150e6);
  expect(Math.abs(grown / plan - 1)).toBeLessThan(0.02);
}

test("training: params, states of the optimizer, and all that a step needs", async () => {
  const plan = trainPlan(undefined, training());
  const { programs } = trainingPrograms(module, training().module, plan, false);
  const model = modelFile(training().module, undefined, plan);
  expectPlanned(await measured({ programs, model }, "train_step", 2, 128, 0));
}, 300_000);

test("serving: params, a cache that is full, and the largest prefill", async () => {
  const source = { programs: servingPrograms(module, false), model: modelFile(module, undefined) };
  expectPlanned(await measured(source, "prefill", 16, 128, 2048));
}, 300_000);
