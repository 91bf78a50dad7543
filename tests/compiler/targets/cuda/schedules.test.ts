import { describe, expect, test } from "vitest";
import { faultOf } from "../../../../compiler/targets/cuda/hopper/check-schedule.ts";
import { attentionRuns, attentionSchedule } from "../../../../compiler/targets/cuda/hopper/attention-schedule.ts";
import { columnsSchedule } from "../../../../compiler/targets/cuda/hopper/backward-columns-schedule.ts";
import { rowsSchedule } from "../../../../compiler/targets/cuda/hopper/backward-rows-schedule.ts";
import { backwardRuns } from "../../../../compiler/targets/cuda/hopper/backward-steps.ts";
import { gemmRuns, gemmSchedule } from "../../../../compiler/targets/cuda/hopper/gemm-schedule.ts";
import { ATTENTION_SHAPES, BACKWARD_SHAPES, GEMM_SHAPES } from "../../../../compiler/targets/cuda/hopper/shipped.ts";
import { mutantsOf } from "../../../support/schedule-mutants.ts";

const shipped = [
  ...GEMM_SHAPES.map((shape) => ({ schedule: gemmSchedule(shape), runs: gemmRuns(shape) })),
  ...ATTENTION_SHAPES.map((shape) => ({ schedule: attentionSchedule(shape), runs: attentionRuns(shape) })),
  ...BACKWARD_SHAPES.flatMap((shape) =>
    [rowsSchedule(shape), columnsSchedule(shape)].map((schedule) => ({ schedule, runs: backwardRuns(shape) })),
  ),
];

describe("schedules of Hopper kernels", () => {
  test.each(shipped)("$schedule.name is sound", ({ schedule, runs }) => {
    expect(faultOf(schedule, runs)).toBeUndefined();
  });

  test("a schedule with one mistake is told from a sound one", () => {
    const mutants = shipped.flatMap(({ schedule, runs }) =>
      mutantsOf(schedule).map(({ what, schedule: mutant }) => ({ what, fault: faultOf(mutant, runs) })),
    );
    expect(mutants.length).toBeGreaterThan(500);
    const passed = mutants.filter(({ fault }) => fault === undefined).map(({ what }) => what);
    expect(passed.length / mutants.length).toBeLessThan(0.05);
    for (const sentence of mutants.flatMap(({ fault }) => fault ?? [])) expect(sentence).toMatch(/^[^.]{20,}$/);
  }, 300_000);

  test("sentences say what is wrong", async () => {
    const [{ schedule, runs }] = shipped as [(typeof shipped)[0]];
    const lines = mutantsOf(schedule).map(
      ({ what, schedule: mutant }) => `${what}\n  ${faultOf(mutant, runs) ?? "(sound)"}\n`,
    );
    await expect(lines.join("")).toMatchFileSnapshot("faults.txt");
  });
});
