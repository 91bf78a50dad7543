import { join } from "node:path";
import type { StreamState } from "../data/stream.ts";
import type { Session, StoreSpec } from "../device/session.ts";
import { latestCheckpoint } from "../io/checkpoints/find.ts";
import { clearAside, pruneCheckpoints, type SavedFiles, saveCheckpoint } from "../io/checkpoints/save.ts";
import type { Json } from "../io/checkpoints/state.ts";
import { Checkpoint } from "../io/safetensors/read.ts";
import type { ModelFile } from "../program/model.ts";
import type { ClockState } from "./clock.ts";
import { initialize } from "./init.ts";
import type { TrainingPlan } from "./plan.ts";
import { planHash, RunError } from "./run-folder.ts";
import { restoreStores, storedTensors } from "./stores.ts";

/** What a checkpoint keeps beside params and states. */
export interface TrainingState {
  readonly clock: ClockState;
  readonly stream: StreamState;
}

/** The checkpoints of one run. */
export class RunCheckpoints {
  readonly #folder: string;
  readonly #session: Session;
  readonly #plan: TrainingPlan;
  readonly #model: ModelFile;
  /** By file: what serving needs, and what only training needs. */
  readonly #files: ReadonlyMap<string, readonly StoreSpec[]>;
  readonly #transient: readonly StoreSpec[];

  constructor(folder: string, session: Session, plan: TrainingPlan, model: ModelFile) {
    this.#folder = folder;
    this.#session = session;
    this.#plan = plan;
    this.#model = model;
    const transient = new Set(model.stores.filter((store) => store.transient).map(({ name }) => name));
    const lasting = session.stores.filter(({ name }) => !transient.has(name));
    const isOptimizers = ({ name }: StoreSpec): boolean => name.startsWith("optimizer.");
    this.#transient = session.stores.filter(({ name }) => transient.has(name));
    this.#files = new Map([
      ["model.safetensors", lasting.filter((spec) => !isOptimizers(spec))],
      ["optimizer.safetensors", lasting.filter(isOptimizers)],
    ]);
  }

  /**
   * Gives params and states the values of the newest sound checkpoint; undefined when there is none. `damaged` is told why
   * a newer one is passed over.
   * @throws RunError when it is of another plan or model, or all checkpoints are damaged: a run does not begin again by itself
   */
  restore(damaged: (why: string) => void): TrainingState | undefined {
    const reasons: string[] = [];
    const found = latestCheckpoint(this.#folder, (why) => reasons.push(why));
    if (found === undefined && reasons.length > 0)
      throw new RunError(`no checkpoint of \`${this.#folder}\` is sound: ${reasons.join("; ")}`);
    reasons.forEach(damaged);
    if (found === undefined) return undefined;
    const state = found.state.training as unknown as TrainingState & { readonly plan: string };
    if (state.plan !== planHash(this.#plan, this.#model))
      throw new RunError(`\`${found.path}\` is of another plan or model`);
    initialize(this.#session, this.#model, this.#plan.seed, this.#transient);
    for (const [file, specs] of this.#files)
      restoreStores(this.#session, specs, new Checkpoint(join(found.path, file)));
    return state;
  }

  /**
   * Saves a checkpoint and removes all but the `keep` newest.
   * @throws NonFiniteError when a param or a state is NaN or infinite; what the file system throws. Both leave the ones before.
   */
  async save(
    step: number,
    state: TrainingState,
    keep: number,
  ): Promise<{ readonly path: string; readonly bytes: number }> {
    const files: Record<string, SavedFiles[string]> = {};
    for (const [name, specs] of this.#files) files[name] = await storedTensors(this.#session, specs);
    const training = { plan: planHash(this.#plan, this.#model), ...state } as unknown as Json;
    const saved = saveCheckpoint(this.#folder, step, files, training);
    pruneCheckpoints(this.#folder, keep, step);
    return saved;
  }

  /** Removes what a killed process left half-written. */
  clear(): void {
    clearAside(this.#folder);
  }
}
