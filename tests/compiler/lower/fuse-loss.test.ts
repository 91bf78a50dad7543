/** Losses block by block: which programs have blocks, their values and gradients, bits, memory. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "../../../compiler/cli/load-model.ts";
import { trainPlan } from "../../../compiler/cli/train-plan.ts";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { evaluationProgram, scoreProgram } from "../../../compiler/elaborate/score.ts";
import { accumulationPrograms, trainStepProgram } from "../../../compiler/elaborate/train-step.ts";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import { printKernels } from "../../../compiler/kernel-ir/print.ts";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";
import { lowerPrograms } from "../../../compiler/lower/lower.ts";
import { lowered } from "../../../compiler/package/package.ts";
import { runPasses } from "../../../compiler/passes/pipeline.ts";
import { runProgram } from "../../../compiler/reference/run.ts";
import type { Program } from "../../../compiler/tensor-ir/types.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import type { CpuSession } from "../../../runtime/device/cpu/session.ts";
import { planArena } from "../../../runtime/program/arena.ts";
import { elementsOf, type LaunchProgram } from "../../../runtime/program/launch.ts";
import { LOSS_DIMS, lossInputs, lossProgram, type LossSpec } from "../../support/loss-programs.ts";
import { onCpu } from "../../support/on-cpu.ts";

const SPECS: readonly LossSpec[] = [
  { name: "plain", heads: 1 },
  { name: "two-heads", heads: 2 },
  { name: "tied", heads: 1, tied: true },
  { name: "bias-and-cap", heads: 1, bias: true, cap: 3 },
  { name: "z-loss", heads: 2, z: 0.1, tied: true },
  { name: "bf16", heads: 2, dtype: "bf16", bias: true },
];

/** What is stored of all tokens with a value for each word. */
function wide({ buffers }: LaunchProgram, vocabulary: number = LOSS_DIMS.V): string[] {
  return buffers
    .filter(({ shape, block }) => block === undefined && shape.includes("T") && shape.includes(vocabulary))
    .map(({ kind, name }) => `${kind} ${name}`);
}

describe("where losses are made block by block", () => {
  test.each(SPECS)("$name: forward and backward at once, logits of one block only", (spec) => {
    const module = lowerPrograms([runPasses(lossProgram(spec))]);
    const [program] = module.programs;
    expect(verifyKernels(module)).toEqual([]);
    expect(parseKernels(printKernels(module)).programs).toEqual(module.programs);
    expect(program!.blocks?.length).toBe(spec.heads);
    expect(wide(program!)).toEqual([]);
    const without = lowerPrograms([runPasses(lossProgram(spec))], { without: new Set(["fuse-loss"]) }).programs[0]!;
    expect(without.blocks).toBeUndefined();
    expect(wide(without).length).toBeGreaterThanOrEqual(2 * spec.heads);
  });

  test("a loss without gradients", () => {
    const { blocks, launches } = lowerPrograms([lossProgram(SPECS[0]!, { gradients: false })]).programs[0]!;
    expect(blocks).toEqual([{ dim: "T", rows: 512, first: expect.any(Number), count: 2 }]);
    expect(launches.length).toBeLessThan(7);
  });

  test("logits that are asked for are stored", () => {
    const { blocks, buffers } = lowerPrograms([runPasses(lossProgram(SPECS[0]!, { logits: true }))]).programs[0]!;
    expect(blocks).toBeUndefined();
    expect(buffers.filter(({ kind }) => kind === "output").map(({ name }) => name)).toContain("logits.0");
  });

  test("routers, whose rows are narrower than what they are made of, are not", () => {
    const { models } = checkFile(source("specs/quickstart.dsk"), new Diagnostics());
    const { programs } = lowered([scoreProgram([...models.values()][0]!.module)]);
    expect(programs[0]!.blocks).toBeUndefined();
  });
});

function source(path: string): { readonly path: string; readonly text: string } {
  return { path, text: readFileSync(path, "utf8") };
}

describe("the training of specs/quickstart.dsk", () => {
  const model = loadModel("specs/quickstart.dsk", undefined)!;
  const plan = trainPlan(model.trains[0], model.training());
  const step = trainStepProgram(model.training().module, plan);

  const [, gradients] = accumulationPrograms(model.training().module, plan);
  const lower = (without: readonly "fuse-loss"[]): readonly LaunchProgram[] =>
    lowered([step, gradients], { without: new Set(without) }).programs;
  const fused = lower([]);

  test("both heads, in one call and in several", () => {
    for (const program of fused) {
      expect(program.blocks?.length).toBe(2);
      expect(wide(program, 1024)).toEqual([]);
    }
  });

  test("the arena has no logits", () => {
    const bytes = (program: LaunchProgram | undefined): number =>
      planArena(program!, { T: 8192, S: 8192, B: 32 }).bytes;
    const unfused = lower(["fuse-loss"]);
    expect(wide(unfused[0]!, 1024).length).toBe(4);
    for (const i of [0, 1]) expect(bytes(unfused[i]) - bytes(fused[i])).toBeGreaterThan(8192 * 1024 * 4);
  }, 300_000);
});

describe("evaluation with many words", () => {
  const V = 65_536;
  const text = readFileSync("specs/quickstart.dsk", "utf8")
    .replace("dim V = 1_024", `dim V = ${V}`)
    .replaceAll(/^ *expect .*$/gm, "");
  const { module } = [...checkFile({ path: "many.dsk", text }, new Diagnostics()).models.values()][0]!;
  const { programs } = lowered([scoreProgram(module), evaluationProgram(module, "f32")]);
  const [score, evaluate] = programs as [LaunchProgram, LaunchProgram];

  test("keeps the logits of one block", () => {
    expect(wide(score, V)).toContain("output logits");
    expect(evaluate.blocks?.length).toBe(1);
    expect(wide(evaluate, V)).toEqual([]);
  });

  test("takes the memory of a block whatever the tokens", () => {
    const bytes = (program: LaunchProgram, T: number): number => {
      const sizes = { T, S: T, B: 4 };
      const outputs = program.buffers.filter(({ kind }) => kind === "output");
      return planArena(program, sizes).bytes + outputs.reduce((sum, spec) => sum + 4 * elementsOf(spec, sizes), 0);
    };
    const [logits, block] = [4096 * V * 4, 512 * V * 4];
    expect(bytes(score, 4096)).toBeGreaterThan(logits);
    expect(bytes(evaluate, 4096)).toBeLessThan(1.2 * block);
    expect(bytes(evaluate, 8192) - bytes(evaluate, 4096)).toBeLessThan(0.2 * block);
  });
});

describe("on the CPU", () => {
  const all = SPECS.map((spec): readonly [LossSpec, Program] => [spec, runPasses(lossProgram(spec))]);
  const sessions: CpuSession[] = [];

  beforeAll(async () => {
    const programs = all.map(([, program]) => program);
    for (const threads of [1, 3]) sessions.push(await onCpu(programs, { threads }));
    sessions.push(await onCpu(programs, { threads: 2 }, { without: new Set(["fuse-loss"]) }));
  }, 600_000);
  afterAll(() => sessions.forEach((session) => session.close()));

  const run = (session: CpuSession, program: Program, from: number, to: number): ReturnType<CpuSession["run"]> =>
    session.run({ program: program.name, sizes: { T: to - from }, inputs: lossInputs(program, from, to) });

  /** The largest difference, as a share of the largest value. */
  function differences(got: Readonly<Record<string, ArrayLike<number>>>, want: ReadonlyMap<string, ArrayLike<number>>) {
    return Object.fromEntries(
      [...want].map(([name, values]) => {
        const scale = Math.max(...Array.from(values, Math.abs));
        return [name, Math.max(...Array.from(values, (x, i) => Math.abs(got[name]![i]! - x))) / scale];
      }),
    );
  }

  // A block, two of them, some and five rows, some and many.
  test.each(all)("$name: values and gradients are the interpreter's", async (spec, program) => {
    for (const T of [512, 1024, 1029, 1100]) {
      const inputs = lossInputs(program, 0, T);
      const values = new Map(Object.entries(inputs).map(([name, data]) => [name, { data }]));
      const { outputs } = runProgram(program, { sizes: { T }, values }, { precision: "declared" });
      const want = new Map([...outputs].map(([name, { data }]) => [name, data]));
      for (const session of sessions) {
        const found = differences(await run(session, program, 0, T), want);
        const bound = spec.dtype === "bf16" ? 0.02 : 2e-5;
        expect(Object.entries(found).filter(([, by]) => !(by < bound))).toEqual([]);
      }
    }
  });

  test.each(all)("$name: threads change no bit", async (_, program) => {
    const [one, three] = await Promise.all([0, 1].map((i) => run(sessions[i]!, program, 0, 1100)));
    expect(three).toEqual(one);
  });

  test.each(all)("$name: a token has the same bits in every batch", async ({ heads }, program) => {
    const whole = await run(sessions[1]!, program, 0, 1100);
    for (const [from, to] of [
      [0, 517],
      [517, 1100],
      [17, 20],
    ] as const) {
      const part = await run(sessions[1]!, program, from, to);
      for (let i = 0; i < heads; i++) {
        expect(part[`surprise.${i}`]).toEqual(whole[`surprise.${i}`]!.slice(from, to));
        const { D } = LOSS_DIMS;
        expect(part[`d.x_${i}`]).toEqual(whole[`d.x_${i}`]!.slice(D * from, D * to));
      }
    }
  });

  test("gradients of the parts of a batch add up", async () => {
    const [, program] = all[1]!;
    const whole = await run(sessions[0]!, program, 0, 1100);
    const parts = await Promise.all([run(sessions[0]!, program, 0, 550), run(sessions[0]!, program, 550, 1100)]);
    const sum = Array.from(whole["d.weight"]!, (_, i) => parts[0]!["d.weight"]![i]! + parts[1]!["d.weight"]![i]!);
    const found = differences({ "d.weight": sum }, new Map([["d.weight", whole["d.weight"]!]]));
    expect(found["d.weight"]).toBeLessThan(1e-6);
  });

  test("nothing of an earlier call is left, and a call without tokens has gradients of 0", async () => {
    const [, program] = all[1]!;
    const first = await run(sessions[0]!, program, 0, 1100);
    expect(await run(sessions[0]!, program, 0, 1100)).toEqual(first);
    const none = await run(sessions[0]!, program, 0, 0);
    expect(new Set(none["d.weight"])).toEqual(new Set([0]));
  });

  test("the arena is what the plan says", async () => {
    const own = await onCpu([all[0]![1]], { threads: 2 });
    await run(own, all[0]![1], 0, 5000);
    const [launched] = lowerPrograms([all[0]![1]]).programs;
    const { bytes } = planArena(launched!, { T: 5000 });
    expect(own.memory()).toMatchObject({ arenaBytes: bytes, arenaHighWater: bytes });
    expect(bytes).toBeLessThan(5000 * LOSS_DIMS.V * 4);
    own.close();
  }, 300_000);
});
