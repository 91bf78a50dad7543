/** How often loops of a schedule go round. */
import type { Count } from "./schedule.ts";
import { Fault } from "./schedule-state.ts";

/** Trip counts by their names; a list has one for each turn of the outermost loop. */
export type Counts = Readonly<Record<string, number | readonly number[]>>;

/** How often a counter goes round that stands for the blocks of a cluster. */
const CLUSTER = "cluster";

export class Trips {
  readonly #counts: Counts;
  /** Blocks that run. */
  readonly blocks: number;

  constructor(counts: Counts, blocks: number) {
    this.#counts = counts;
    this.blocks = blocks;
  }

  /** Visits all values of counters. */
  turns(
    over: readonly Count[],
    counters: ReadonlyMap<string, number>,
    visit: (c: ReadonlyMap<string, number>) => void,
  ): void {
    const [next, ...rest] = over;
    if (next === undefined) return visit(counters);
    for (let n = 0; n < this.count(next.count, counters); n++)
      this.turns(rest, new Map([...counters, [next.counter, n]]), visit);
  }

  count(name: string, counters: ReadonlyMap<string, number>): number {
    const count = name === CLUSTER ? this.blocks : this.#counts[name];
    if (count === undefined) throw new Fault(`nobody says how much ${name} is`);
    if (typeof count === "number") return count;
    const [outermost] = counters.values();
    return count[outermost ?? 0] ?? 0;
  }
}
