import type { DimLabel, Program } from "../tensor-ir/types.ts";
import { assertVerified } from "../tensor-ir/verify.ts";
import { eliminateCommon } from "./eliminate-common.ts";
import { eliminateDead } from "./eliminate-dead.ts";
import type { Pass, PassOptions } from "./pass.ts";
import { recompute } from "./recompute.ts";
import { reorderContractions } from "./reorder-contractions.ts";
import { selectRows } from "./select-rows.ts";
import { shareContractions } from "./share-contractions.ts";
import { simplify } from "./simplify.ts";

/** All passes over the tensor IR, in the order in which they run. */
export const PIPELINE: readonly Pass[] = [
  simplify,
  eliminateCommon,
  shareContractions,
  reorderContractions,
  selectRows,
  eliminateDead,
  // Last: merging equal ops again would undo it.
  recompute,
];

export interface RunOptions extends PassOptions {
  /** The last pass to run; all of them when not given. */
  readonly after?: string;
  /** Checks the program after every pass. */
  readonly verify?: boolean;
}

/** Runs the passes up to and including `after`. Throws when a pass breaks a rule of the IR. */
export function runPasses(program: Program, options: RunOptions = {}): Program {
  const { after, verify = false } = options;
  const last = after === undefined ? PIPELINE.length : PIPELINE.findIndex((pass) => pass.name === after) + 1;
  if (last === 0) throw new Error(`there is no pass ${after}`);
  const known = { sizes: assumedSizes(program.name), ...options };
  return PIPELINE.slice(0, last).reduce((current, pass) => {
    const result = pass.run(current, known);
    if (verify) assertVerified(result, pass.name);
    return result;
  }, program);
}

/** Sizes of the run-time dims that the programs of a model are made for: one token after many, or a whole sequence. */
export function assumedSizes(programName: string): ReadonlyMap<DimLabel, number> {
  const tokens = programName === "decode" || programName.startsWith("draft.") ? 1 : 4096;
  return new Map([
    ["T", tokens],
    ["S", 4096],
    ["B", 1],
  ]);
}
