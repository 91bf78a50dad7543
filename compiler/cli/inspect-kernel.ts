/** `dskc inspect kernel FILE NAME`: what a kernel computes, and how the CUDA target cuts it for the tensor cores, and why. */
import { setFlagsFromString } from "node:v8";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { printKernel } from "../kernel-ir/print.ts";
import type { Kernel } from "../kernel-ir/types.ts";
import { loweredSource } from "../package/package.ts";
import { storedForms } from "../package/weight-form.ts";
import { planFew, planGemm } from "../targets/cuda/hopper/gemm-plan.ts";
import { candidates, FEW_ROWS, fewCandidates, type TileProblem } from "../targets/cuda/hopper/tiles.ts";
import { attentionOf, attentionText } from "./inspect-attention.ts";
import { print, printJson, UsageError } from "./io.ts";
import { loadModel } from "./load-model.ts";
import { PROGRAMS, trainSection } from "./named-programs.ts";
import { countText, table } from "./text-table.ts";

export interface InspectKernelOptions {
  readonly model?: string;
  readonly program: string;
  readonly train?: string;
  readonly json?: boolean;
}

export function inspectKernel(file: string, name: string, { program, train, model, json }: InspectKernelOptions): void {
  setFlagsFromString("--opt");
  const loaded = loadModel(file, model);
  if (loaded === undefined) return;
  const { kernels } = loweredSource({
    programs: [PROGRAMS[program]!(loaded, trainSection(loaded, train))],
    ...storedForms(loaded.serves[0]),
  });
  const kernel = kernels.find((one) => one.name === name);
  if (kernel === undefined) {
    const names = kernels.map((one) => one.name);
    const near = didYouMean(name, names);
    throw new UsageError(
      `the program ${program} has no kernel \`${name}\`${near === undefined ? "" : `; ${near}`} (\`dskc inspect kernels ${file} --program ${program}\` lists them)`,
    );
  }
  if (kernel.family === "plane") {
    const attention = attentionOf(kernel);
    if (json) printJson({ kernel: name, family: kernel.family, ...attention });
    else print(`${printKernel(kernel)}\n${attentionText(attention)}`);
    return;
  }
  const tiles = tilesOf(kernel);
  if (json) printJson({ kernel: name, family: kernel.family, ...tiles });
  else print(`${printKernel(kernel)}\n${text(tiles)}`);
}

interface Tiles {
  /** Why the tensor cores of Hopper do not make it. */
  readonly refused?: string;
  readonly why?: string;
  readonly problem?: TileProblem;
  readonly candidates?: readonly Row[];
  /** Where few rows have tiles of their own. */
  readonly few?: readonly Row[];
}

interface Row {
  readonly tile: string;
  readonly stages: number;
  readonly tiles: number;
  /** None where it does not fit. */
  readonly cycles?: number;
  readonly why: string;
}

/** Candidates of the cost model, the chosen one first. */
export function tilesOf(kernel: Kernel): Tiles {
  if (kernel.family !== "gemm") return { refused: `kernels of the family ${kernel.family} have no products` };
  const plan = planGemm(kernel);
  if ("why" in plan) return { refused: plan.why };
  const { problem, tile } = plan;
  const rows = candidates(problem).map(({ consumers, tileN, stages, tiles, cost, why }): Row => ({
    tile: `${64 * consumers}x${tileN}x${problem.depth}`,
    stages,
    tiles,
    ...(cost === Infinity ? {} : { cycles: cost }),
    why,
  }));
  const few =
    planFew(plan) === undefined
      ? []
      : fewCandidates(problem).map(({ tileN, stages, parts, cost, why }): Row => ({
          tile: `${FEW_ROWS}x${tileN}x${problem.depth} in ${parts} ${parts === 1 ? "part" : "parts"}`,
          stages,
          tiles: Math.ceil(problem.n / tileN) * problem.batches * parts,
          cycles: cost,
          why,
        }));
  return { why: tile.why, problem, candidates: rows, few };
}

function text({ refused, why, problem, candidates: rows = [], few = [] }: Tiles): string {
  if (refused !== undefined) return `not on the tensor cores of Hopper: ${refused}`;
  const { m, n, loops, batches } = problem!;
  const k = loops.map((loop) => `${countText(loop.k)}${loop.products > 1 ? ` (${loop.products} products)` : ""}`);
  const of = batches > 1 ? `, ${countText(batches)} times` : "";
  return [
    `tiles for ${countText(m)} rows, ${countText(n)} columns, ${k.join(" and ")} terms${of}: ${why}`,
    "",
    rowsText(rows),
    ...(few.length === 0 ? [] : ["", `for up to ${FEW_ROWS} rows`, "", rowsText(few)]),
  ].join("\n");
}

function rowsText(rows: readonly Row[]): string {
  const lines = rows.map(({ tile, stages, tiles, cycles, why }) => [
    tile,
    String(stages),
    countText(tiles),
    cycles === undefined ? "-" : countText(cycles),
    why,
  ]);
  return table([["tile", "stages", "tiles", "cycles", "why"], ...lines], ["left", "right", "right", "right", "left"]);
}
