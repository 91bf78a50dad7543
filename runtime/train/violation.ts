import type { Elements } from "../device/session.ts";

/** How unevenly the experts of each layer are used. */
export interface LoadViolation {
  readonly mean: number;
  /** By the path of the layer. */
  readonly layers: Readonly<Record<string, number>>;
}

const LOAD = /^metric\.(.+)\.load$/;

/** Whether an output of a training step counts the tokens of each expert: `metric.trunk.3.ffn.load`. */
export function isLoad(output: string): boolean {
  return LOAD.test(output);
}

/**
 * (max - mean) / mean of the tokens that each expert got: 0 when all got the same, experts - 1 when one got all (MaxVio of
 * Wang et al. 2024, "Auxiliary-loss-free load balancing", section 4.1). Undefined without routed layers.
 */
export function loadViolation(outputs: Readonly<Record<string, Elements>>): LoadViolation | undefined {
  const layers = Object.entries(outputs).flatMap(([name, load]) => {
    const path = LOAD.exec(name)?.[1];
    return path === undefined ? [] : [[path, violation(load)] as const];
  });
  if (layers.length === 0) return undefined;
  const mean = layers.reduce((sum, [, value]) => sum + value, 0) / layers.length;
  return { mean, layers: Object.fromEntries(layers) };
}

function violation(load: Elements): number {
  let [sum, max] = [0, 0];
  for (const count of load) {
    sum += count;
    max = Math.max(max, count);
  }
  return sum === 0 ? 0 : (max * load.length) / sum - 1;
}
