/** All that `npm run bench:gpu` measures, what matters most first. */
import { attentionCases } from "./attention.ts";
import type { Case } from "./case.ts";
import { gemmCases } from "./gemm.ts";
import { groupedCases } from "./grouped.ts";
import { latentCases } from "./latent.ts";

/** @param tiny shapes that a simulation of a GPU can run, one of each kind */
export function allCases(tiny: boolean): Case[] {
  return [...gemmCases(tiny), ...groupedCases(tiny), ...attentionCases(tiny), ...latentCases(tiny)];
}
