import type { OpName } from "../../tensor-ir/ops/table.ts";
import type { Effect, Kernel } from "./kernel.ts";
import { MATH_KERNELS } from "./math.ts";
import { MOE_KERNELS } from "./moe.ts";
import { NN_KERNELS } from "./nn.ts";
import { EFFECTS, PROGRAM_KERNELS } from "./program.ts";
import { TENSOR_KERNELS } from "./tensor.ts";

type EffectName = keyof typeof EFFECTS;

/** What every op with a result computes. */
const KERNELS: Readonly<Record<Exclude<OpName, EffectName>, Kernel>> = {
  ...PROGRAM_KERNELS,
  ...TENSOR_KERNELS,
  ...MATH_KERNELS,
  ...NN_KERNELS,
  ...MOE_KERNELS,
};

export function effectOf(name: OpName): Effect | undefined {
  return isEffect(name) ? EFFECTS[name] : undefined;
}

export function kernelOf(name: OpName): Kernel {
  if (isEffect(name)) throw new Error(`${name} has no result`);
  return KERNELS[name];
}

function isEffect(name: OpName): name is EffectName {
  return Object.hasOwn(EFFECTS, name);
}
