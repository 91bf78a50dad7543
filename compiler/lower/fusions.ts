import type { CacheForm, WeightForm } from "./stored-weights.ts";

/** The fusions by name, as `dskc build --without` takes them. Without one of them, its ops are kernels of their own. */
import type { Capability } from "../kernel-ir/capability.ts";

/**
 * - `fuse-rows`: connected ops inside of the rows of a space (units.ts)
 * - `fuse-siblings`: rows of one space that can run at the same time, such as rotary embeddings of q and k (units.ts);
 *   not without `fuse-rows`
 * - `fuse-planes`: everything between tokens and positions, which is attention (planes.ts)
 * - `fuse-loss`: logits, a loss and its gradients, block by block of the tokens (fuse-loss.ts)
 * - `fuse-sums`: sums across rows with what they sum (fuse-sums.ts)
 * - `fuse-epilogues`: matrix products with what is done to their results (fuse-epilogues.ts)
 * - `fuse-prologues`: norms in the products that read them, where a call has few rows (fuse-prologues.ts)
 * - `fuse-launches`: kernels that need nothing of each other, where a call has few rows (fuse-launches.ts)
 */
export const FUSIONS = [
  "fuse-rows",
  "fuse-siblings",
  "fuse-planes",
  "fuse-loss",
  "fuse-sums",
  "fuse-epilogues",
  "fuse-prologues",
  "fuse-launches",
] as const;
export type Fusion = (typeof FUSIONS)[number];

export interface LowerOptions {
  /** Fusions that are switched off. */
  readonly without?: ReadonlySet<Fusion>;
  /** What kernels have to fit; anything does without this. */
  readonly target?: Capability;
  /** How the programs of these names, which share their weights, find them stored; as the model declares it without this. */
  readonly weights?: { readonly form: WeightForm; readonly programs: ReadonlySet<string> };
  /** What floats of the caches are stored in; as the model computes them without this. */
  readonly caches?: CacheForm | undefined;
}
