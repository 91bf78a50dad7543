/** All that `npm run bench:gpu` measures, what matters most first. */
import { attentionCases } from "./attention.ts";
import type { Case } from "./case.ts";
import { fp8Cases } from "./fp8.ts";
import { gemmCases } from "./gemm.ts";
import { groupedCases } from "./grouped.ts";
import { latentCases } from "./latent.ts";
import { lossCases } from "./loss.ts";
import { moeCases } from "./moe.ts";
import { optimizerCases } from "./optimizer.ts";
import { routerCases } from "./router.ts";
import { rowCases } from "./rows.ts";
import { storedCases } from "./stored.ts";

/** @param tiny shapes that a simulation of a GPU can run, one of each kind */
export function allCases(tiny: boolean): Case[] {
  const families = [
    gemmCases,
    groupedCases,
    fp8Cases,
    storedCases,
    moeCases,
    attentionCases,
    latentCases,
    lossCases,
    rowCases,
    routerCases,
    optimizerCases,
  ];
  return families.flatMap((family) => family(tiny));
}
