import type { ProgramBuilder } from "../builder.ts";
import type { Value } from "../types.ts";
import { Emitter } from "./emitter.ts";
import { gradients, orZeros } from "./gradients.ts";

/** A loss as a pair of scalars that is divided only after every reduction, and its weight (a scalar) in the objective. */
export interface WeightedLoss {
  readonly numerator: Value;
  readonly denominator: Value;
  readonly weight: Value;
}

/**
 * Appends the gradients, one per param and with exactly its type, of the objective
 *
 *     sum over losses of weight * numerator / loss.global(denominator)
 *
 * Weights and denominators carry no gradient; a loss whose denominator is 0 counted nothing and adds nothing. A param on
 * which no loss depends gets zeros.
 */
export function differentiate(
  builder: ProgramBuilder,
  losses: readonly WeightedLoss[],
  params: readonly Value[],
): Value[] {
  const e = new Emitter(builder);
  const seeds = losses.map(({ numerator, denominator, weight }) => {
    const global = e.unary("loss.global", denominator);
    const empty = e.compare("math.eq", global, e.constant(0, global.type.dtype));
    const cotangent = e.unless(empty, e.binary("math.div", weight, global));
    return { output: numerator, cotangent: e.conform(cotangent, numerator.type) };
  });
  return orZeros(builder, gradients(builder, seeds, params), params);
}
