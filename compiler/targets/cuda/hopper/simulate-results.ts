/** What the checker of schedules has seen stored, beside what should be. */
import type { Label, Schedule } from "./schedule.ts";
import { type Actor, Fault, filled } from "./schedule-state.ts";
import type { Trips } from "./simulate-trips.ts";

export class Results {
  readonly #schedule: Schedule;
  readonly #trips: Trips;
  /** How often each was stored. */
  readonly #stored = new Map<string, number>();

  constructor(schedule: Schedule, trips: Trips) {
    this.#schedule = schedule;
    this.#trips = trips;
  }

  give(actor: Actor, label: Label): void {
    const result = filled(label, actor.counters, actor.part);
    this.#stored.set(result, (this.#stored.get(result) ?? 0) + 1);
  }

  /** Whether each result was stored once, when all have come to their end. */
  end(): void {
    const wanted = new Set<string>();
    for (const { role, over, label } of this.#schedule.results) {
      const { warpgroups } = this.#schedule.roles.find(({ name }) => name === role)!;
      this.#trips.turns(over, new Map(), (counters) => {
        for (let part = 0; part < warpgroups; part++) wanted.add(filled(label, counters, part));
      });
    }
    for (const result of wanted) if (!this.#stored.has(result)) throw new Fault(`${result} is never stored`);
    for (const [result, times] of this.#stored) {
      if (!wanted.has(result)) throw new Fault(`${result} is stored, which is no result`);
      if (times > 1) throw new Fault(`${result} is stored ${times} times`);
    }
  }
}
