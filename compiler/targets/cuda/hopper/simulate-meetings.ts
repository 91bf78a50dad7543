/** Named barriers, and the barrier of a cluster, as the checker of schedules sees them. */
import type { Schedule, Step } from "./schedule.ts";
import { type Actor, block, Fault, type Meeting, type NamedState } from "./schedule-state.ts";

export class Meetings {
  readonly #schedule: Schedule;
  readonly #actors: readonly Actor[];
  /** The end of the name of what a block has. */
  readonly #of: (block: number) => string;
  readonly #named = new Map<string, NamedState>();
  readonly #meeting: Meeting = { here: new Set(), joining: 0n, released: 0n, round: 0 };

  constructor(schedule: Schedule, actors: readonly Actor[], of: (block: number) => string) {
    this.#schedule = schedule;
    this.#actors = actors;
    this.#of = of;
  }

  /** What must hold when all have come to their end. */
  end(): void {
    for (const [name, { threads }] of this.#named)
      if (threads !== 0) throw new Fault(`${name} ends with ${threads} threads that nobody met`);
  }

  /** Waits for all threads of the cluster. */
  *meetAll(actor: Actor): Generator<void> {
    const meeting = this.#meeting;
    const { round } = meeting;
    meeting.here.add(actor);
    meeting.joining |= actor.knows;
    if (meeting.here.size === this.#actors.length) {
      meeting.released |= meeting.joining;
      meeting.here.clear();
      meeting.round++;
    }
    const here = (): string => `the cluster's barrier, where ${meeting.here.size} of ${this.#actors.length} are`;
    yield* block(actor, here, () => meeting.round !== round);
    actor.knows |= meeting.released;
  }

  /** Comes to a named barrier; `sync` waits there. */
  *meet(actor: Actor, step: Step & { kind: "sync" | "signal" }): Generator<void> {
    const declared = this.#schedule.named.find(({ name }) => name === step.barrier);
    if (declared === undefined) throw new Fault(`nothing is called ${step.barrier}`);
    const { each = 1, threads } = declared;
    const which = each === 1 ? 0 : (actor.part + (step.of === "next" ? 1 : 0)) % each;
    const name = `${each === 1 ? step.barrier : `${step.barrier}[${which}]`}${this.#of(actor.block)}`;
    let state = this.#named.get(name);
    if (state === undefined) {
      state = { threads: 0, joining: 0n, released: 0n, round: 0 };
      this.#named.set(name, state);
    }
    state.threads += actor.threads;
    state.joining |= actor.knows;
    if (state.threads > threads)
      throw new Fault(`${actor.name} comes to ${name}, which counts ${threads} threads, as one too many`);
    const { round } = state;
    if (state.threads === threads) {
      state.released |= state.joining;
      state.joining = 0n;
      state.threads = 0;
      state.round++;
    }
    const met = state;
    if (step.kind === "sync") {
      const here = (): string => `${name}, where ${met.threads} of ${threads} threads are`;
      yield* block(actor, here, () => met.round !== round);
      actor.knows |= met.released;
    } else yield;
  }
}
