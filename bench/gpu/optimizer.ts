/** A step of AdamW as dsl/std/optim.dsk has it: gradient, master weight and both moments in f32, 28 bytes for a param. */
import { type Case, F32_TOLERANCE, programOf } from "./case.ts";
import { GOALS } from "./goals.ts";

const BODY = `
  %0 g: f32[R, D] = program.input {name = "grad"}
  %1 w: f32[R, D] = model.param {name = "weight"}
  %2 m: f32[R, D] = model.state {name = "m"}
  %3 v: f32[R, D] = model.state {name = "v"}
  %4: f32 = tensor.constant {value = 0.9}
  %5: f32 = tensor.constant {value = 0.1}
  %6: f32 = tensor.constant {value = 0.95}
  %7: f32 = tensor.constant {value = 0.05}
  %8: f32[R, D] = math.mul %4, %2
  %9: f32[R, D] = math.mul %5, %0
  %10 mean_now: f32[R, D] = math.add %8, %9
  %11: f32[R, D] = math.abs %3
  %12: f32[R, D] = math.mul %6, %11
  %13: f32[R, D] = math.square %0
  %14: f32[R, D] = math.mul %7, %13
  %15 square_now: f32[R, D] = math.add %12, %14
  model.update %10 {name = "m"}
  model.update %15 {name = "v"}
  %16: f32 = tensor.constant {value = 0.001}
  %17: f32 = tensor.constant {value = 0.9999}
  %18: f32 = tensor.constant {value = 1e-8}
  %19: f32[R, D] = math.mul %1, %17
  %20: f32[R, D] = math.mul %16, %10
  %21: f32[R, D] = math.sqrt %15
  %22: f32[R, D] = math.add %21, %18
  %23: f32[R, D] = math.div %20, %22
  %24: f32[R, D] = math.sub %19, %23
  model.update %24 {name = "weight"}`;

/** The corrections of the first steps are 1: at step 10,000 both are. Second moments are the drawn numbers' sizes. */
function adamw(rows: number, columns: number): Case {
  const params = rows * columns;
  return {
    name: `adamw/${rows}x${columns}`,
    program: programOf("train_step", { R: rows, D: columns }, BODY),
    sizes: {},
    flops: 0,
    bytes: 28 * params,
    limit: "memory",
    ...(params < 1 << 22 ? {} : { goal: GOALS.optimizer }),
    peer: { op: "adamw" },
    tolerance: F32_TOLERANCE,
  };
}

export function optimizerCases(tiny: boolean): Case[] {
  return tiny ? [adamw(9, 40)] : [adamw(16384, 7168)];
}
