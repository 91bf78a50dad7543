import type { LaunchProgram, Sizes } from "../program/launch.ts";

/** So many calls of different sizes are planned exactly. */
const EXACT = 8;
/** Plans that are kept; the least recently used goes. */
const MOST = 256;

/**
 * The plans of a program's memory, by the sizes of calls. Planning costs milliseconds and a decode step sees one more position
 * each time: once a program was called with several sizes, further plans are made for sizes rounded up to an eighth of
 * their power of two. A plan holds for all smaller sizes, since no temp grows when a dim shrinks.
 */
export class Plans<Plan> {
  readonly #program: LaunchProgram;
  readonly #plan: (sizes: Sizes) => Plan;
  readonly #plans = new Map<string, Plan>();
  #exact = 0;

  /** @param plan a plan that holds for these sizes and all smaller ones */
  constructor(program: LaunchProgram, plan: (sizes: Sizes) => Plan) {
    this.#program = program;
    this.#plan = plan;
  }

  /** A plan for a call. @throws Error when a run-time dim is not bound */
  of(sizes: Sizes): Plan {
    const exact = this.#find(sizes);
    if (exact !== undefined) return exact;
    if (this.#exact < EXACT) {
      this.#exact += 1;
      return this.#make(sizes);
    }
    const roomy = Object.fromEntries(this.#program.dims.map((dim) => [dim, roundedUp(sizes[dim]!)]));
    return this.#find(roomy) ?? this.#make(roomy);
  }

  #find(sizes: Sizes): Plan | undefined {
    const key = this.#key(sizes);
    const plan = this.#plans.get(key);
    if (plan === undefined) return undefined;
    this.#plans.delete(key);
    this.#plans.set(key, plan);
    return plan;
  }

  #make(sizes: Sizes): Plan {
    const plan = this.#plan(sizes);
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
