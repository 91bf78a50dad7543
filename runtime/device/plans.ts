import { type ArenaPlan, planArena } from "../program/arena.ts";
import type { LaunchProgram, Sizes } from "../program/launch.ts";

/** So many calls of different sizes are planned exactly. */
const EXACT = 8;
/** Plans that are kept; the least recently used goes. */
const MOST = 256;

/**
 * The arena plans of a program, by the sizes of calls. Planning costs milliseconds and a decode step sees one more position
 * each time: once a program was called with several sizes, further plans are made for sizes rounded up to an eighth of
 * their power of two. A plan holds for all smaller sizes, since no temp grows when a dim shrinks.
 */
export class Plans {
  readonly #program: LaunchProgram;
  readonly #plans = new Map<string, ArenaPlan>();
  #exact = 0;

  constructor(program: LaunchProgram) {
    this.#program = program;
  }

  /** A plan for a call. @throws Error when a run-time dim is not bound */
  of(sizes: Sizes): ArenaPlan {
    const exact = this.#find(sizes);
    if (exact !== undefined) return exact;
    if (this.#exact < EXACT) {
      this.#exact += 1;
      return this.#make(sizes);
    }
    const roomy = Object.fromEntries(this.#program.dims.map((dim) => [dim, roundedUp(sizes[dim]!)]));
    return this.#find(roomy) ?? this.#make(roomy);
  }

  #find(sizes: Sizes): ArenaPlan | undefined {
    const key = this.#key(sizes);
    const plan = this.#plans.get(key);
    if (plan === undefined) return undefined;
    this.#plans.delete(key);
    this.#plans.set(key, plan);
    return plan;
  }

  #make(sizes: Sizes): ArenaPlan {
    const plan = planArena(this.#program, sizes);
    this.#plans.set(this.#key(sizes), plan);
    if (this.#plans.size > MOST) this.#plans.delete(this.#plans.keys().next().value!);
    return plan;
  }

  #key(sizes: Sizes): string {
    return this.#program.dims.map((dim) => sizes[dim]).join();
  }
}

function roundedUp(size: number): number {
  const unit = 2 ** Math.max(0, Math.floor(Math.log2(Math.max(1, size))) - 3);
  return Math.ceil(size / unit) * unit;
}
