/**
 * How many registers of a thread results take beside the sums of their products, where that is more than what every kernel has. ptxas
 * asks for all elements of a slice's columns at once, and computes parts of later results early: estimates from what it says of kernels
 * (nvcc 13.0), so that tiles leave room and nothing is spilled.
 */
import { loadedBy } from "../../../kernel-ir/expr.ts";
import type { GemmKernel } from "../../../kernel-ir/types.ts";
import type { Input } from "./gemm-inputs.ts";
import type { StagedResult } from "./gemm-plan.ts";
import { isWhole } from "./gemm-printing.ts";
import { batchesOf } from "./gemm-shape.ts";

/** Of each argument that threads read by themselves. With five of them and 128 sums 8 registers were missing. */
const OF_READ = 8;
/** Of results in more than two batches: what they share is kept from one to the next. With nine of them 136 were missing. */
const OF_BATCHES = 64;
/** Of rows of groups, whose places are kept; more where columns are asked for eight by eight: with 96 sums 4 were missing. */
const OF_GROUPS = 8;
const OF_BRANCHES = 56;
/** Columns that are asked for together without branches of their own. */
const TOGETHER = 16;

/** @param inputs what comes through the ring */
export function registersOfResults(
  { args, groups, n }: GemmKernel,
  staged: readonly StagedResult[],
  inputs: readonly Input[],
): number {
  const inRing = new Set(inputs.map(({ matrix }) => matrix.arg.name));
  const isRead = new Set(args.flatMap(({ name }) => (inRing.has(name) ? [] : [name])));
  const read = new Set(staged.flatMap(({ stmt }) => loadedBy(stmt.value).filter((name) => isRead.has(name))));
  const batches = batchesOf(staged).length > 2 ? OF_BATCHES : 0;
  if (read.size === 0 || groups === undefined) return batches + OF_READ * read.size;
  return batches + OF_READ * read.size + OF_GROUPS + (isWhole(n, TOGETHER) ? 0 : OF_BRANCHES);
}
