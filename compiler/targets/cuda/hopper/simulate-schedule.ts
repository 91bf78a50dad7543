/**
 * Runs a schedule step by step. A warpgroup is two actors, its first warp and the other three: what only the first thread does
 * is ordered behind the others only where a barrier says so; schedule-buffers.ts says when a read or a write is sound. Of a cluster
 * two blocks run: what holds for both holds for all, which do the same.
 */
import type { Schedule, Slot, Step } from "./schedule.ts";
import { Buffers } from "./schedule-buffers.ts";
import {
  type Actor,
  arrivalsOf,
  at,
  type BarrierState,
  block,
  commit,
  cursorOf,
  Fault,
  missing,
  settled,
  stageOf,
  turned,
} from "./schedule-state.ts";
import { actorsOf } from "./simulate-actors.ts";
import { Computing } from "./simulate-computing.ts";
import { Meetings } from "./simulate-meetings.ts";
import { Results } from "./simulate-results.ts";
import { type Counts, Trips } from "./simulate-trips.ts";

/** Who goes first, and whether copies arrive at once or as late as they can. */
export interface Order {
  readonly name: string;
  readonly copies: "early" | "late";
  /** Of several actors that can go on, which one does. */
  readonly choose: (ready: readonly number[], turn: number) => number;
}

export const ORDERS: readonly Order[] = [
  { name: "in turn", copies: "early", choose: (ready, turn) => ready[turn % ready.length]! },
  { name: "first roles first", copies: "late", choose: (ready) => ready[0]! },
  { name: "last roles first", copies: "early", choose: (ready) => ready.at(-1)! },
  {
    name: "mixed",
    copies: "late",
    choose: (ready, turn) => ready[(Math.imul(turn + 7, 0x9e3779b1) >>> 16) % ready.length]!,
  },
];

/** What is wrong in this order of steps, in a sentence; undefined when it runs to its end and gives its results. */
export function simulate(schedule: Schedule, counts: Counts, order: Order): string | undefined {
  try {
    new Run(schedule, counts, order).run();
    return undefined;
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
}

class Run {
  readonly #schedule: Schedule;
  readonly #order: Order;
  readonly #actors: Actor[] = [];
  /** Of each block. */
  readonly #barriers: Map<string, BarrierState[]>[] = [];
  readonly #trips: Trips;
  readonly #buffers: Buffers;
  readonly #results: Results;
  readonly #computing: Computing;
  readonly #meetings: Meetings;
  /** Loads on their way. */
  #coming: (() => void)[] = [];

  constructor(schedule: Schedule, counts: Counts, order: Order) {
    this.#schedule = schedule;
    this.#order = order;
    this.#trips = new Trips(counts, Math.min(2, schedule.cluster ?? 1));
    const of = (block: number): string => (this.#trips.blocks === 1 ? "" : ` of block ${block}`);
    this.#buffers = new Buffers(schedule, this.#actors, of);
    this.#results = new Results(schedule, this.#trips);
    this.#computing = new Computing(this.#buffers, this.#trips, this.#results);
    this.#meetings = new Meetings(schedule, this.#actors, of);
    for (let block = 0; block < this.#trips.blocks; block++) {
      this.#barriers.push(this.#barriersOf(of(block)));
      this.#actors.push(...actorsOf(schedule, block, of(block)));
    }
  }

  #barriersOf(of: string): Map<string, BarrierState[]> {
    const states = this.#schedule.barriers.map(({ name, stages, arrivals }): [string, BarrierState[]] => [
      name,
      Array.from({ length: stages }, (_, i) => ({
        name: `${name}[${i}]${of}`,
        arrivals,
        pending: arrivals,
        bytes: 0,
        phases: 0,
        joining: 0n,
        released: 0n,
      })),
    ]);
    return new Map(states);
  }

  run(): void {
    const runs = this.#actors.map((actor) => {
      const { steps } = this.#schedule.roles.find(({ name }) => name === actor.role)!;
      return this.#steps(actor, steps);
    });
    for (let turn = 0; ; turn++) {
      const ready = [...this.#actors.keys()].filter((i) => {
        const { done, blocked } = this.#actors[i]!;
        return !done && (blocked === undefined || blocked.until());
      });
      if (ready.length === 0) {
        if (this.#coming.length > 0) {
          this.#coming.shift()!();
          continue;
        }
        if (this.#actors.every(({ done }) => done)) break;
        this.#stuck();
      }
      const chosen = this.#order.choose(ready, turn);
      delete this.#actors[chosen]!.blocked;
      if (runs[chosen]!.next().done === true) this.#actors[chosen]!.done = true;
    }
    this.#end();
  }

  #stuck(): never {
    const waiting = new Map<string, string[]>();
    for (const { name, done, blocked } of this.#actors) {
      if (done) continue;
      const names = waiting.get(blocked!.on()) ?? [];
      // The other warps of a warpgroup mostly wait where the first one does.
      if (!names.some((known) => name.startsWith(known))) names.push(name);
      waiting.set(blocked!.on(), names);
    }
    const clauses = [...waiting].map(([on, names]) => {
      return `${names.join(" and ")} ${names.length === 1 ? "waits" : "wait"} for ${on}`;
    });
    throw new Fault(`deadlock: ${clauses.join("; ")}`);
  }

  /** What must hold when all have come to their end. */
  #end(): void {
    for (const states of this.#barriers.flatMap((own) => [...own.values()]))
      for (const { name, pending, arrivals, bytes } of states)
        if (pending !== arrivals || bytes !== 0)
          throw new Fault(
            `${name} ends inside of a phase: ${arrivals - pending} of ${arrivals} arrivals, ${bytes} bytes not arrived`,
          );
    this.#meetings.end();
    for (const { name, products, copies, stores } of this.#actors)
      for (const [what, groups] of [
        ["products", products],
        ["copies", copies],
        ["stores", stores],
      ] as const)
        if ([...groups.open, ...groups.closed.flat()].length > 0)
          throw new Fault(`${name} ends while ${what} are on their way`);
    this.#buffers.end();
    this.#results.end();
  }

  *#steps(actor: Actor, steps: readonly Step[]): Generator<void> {
    for (const step of steps) {
      if (step.when !== undefined && (actor.counters.get(step.when.counter) ?? 0) < step.when.from) continue;
      if (step.part !== undefined && actor.part !== step.part) continue;
      if (step.kind === "loop") {
        const { from = 0 } = step;
        const count = this.#trips.count(step.count, actor.counters);
        if (from > 0) actor.counters.set(step.counter, from - 1);
        for (let i = from; i < count; i++) {
          actor.counters.set(step.counter, i);
          yield* this.#steps(actor, step.body);
        }
        // The counter keeps its last value, for what comes behind the loop.
      } else yield* this.#step(actor, step);
    }
  }

  *#step(actor: Actor, step: Exclude<Step, { kind: "loop" }>): Generator<void> {
    switch (step.kind) {
      case "advance": {
        const cursor = cursorOf(actor, step.cursor);
        const { stages } = this.#schedule.cursors.find(({ name }) => name === step.cursor)!;
        cursor.before.unshift(cursor.stage);
        cursor.before.length = Math.min(cursor.before.length, 8);
        cursor.stage = (cursor.stage + 1) % stages;
        if (cursor.stage === 0) cursor.phase ^= 1;
        return;
      }
      case "wait": {
        const barrier = this.#barrier(actor, step.barrier, step.at);
        const { phase } = cursorOf(actor, step.at.cursor);
        const parity = step.phase === "current" ? phase : phase ^ 1;
        const over = (): boolean => barrier.phases % 2 !== parity;
        yield* block(actor, () => `the end of phase ${parity} of ${barrier.name}${missing(barrier)}`, over);
        actor.knows |= barrier.released;
        return;
      }
      case "arrive": {
        const times = arrivalsOf(actor, step.by);
        if (times > 0) this.#arrive(actor, this.#barrier(actor, step.barrier, step.at), times, 0);
        return yield;
      }
      case "expect":
        if (actor.leads) this.#arrive(actor, this.#barrier(actor, step.barrier, step.at), 1, step.bytes);
        return yield;
      case "load":
        if (actor.leads) this.#load(actor, step);
        return yield;
      case "gather": {
        for (const { registers, holds } of step.reads ?? [])
          this.#computing.mustHold(
            actor,
            `the gather of ${step.buffer}`,
            registers,
            this.#computing.registers(actor, registers).terms,
            holds,
          );
        const event = this.#buffers.write(actor, step.buffer, step.at, step.holds);
        actor.copies.open.push({ event, registers: [] });
        return;
      }
      case "commit_copies":
        return commit(actor.copies);
      case "settle_copies":
        for (const { event } of settled(actor.copies, step.pending)) {
          actor.knows |= event;
          actor.unpublished |= event;
        }
        return;
      case "fence":
        for (const registers of actor.registers.values()) registers.touched = false;
        return;
      case "multiply":
        return this.#computing.multiply(actor, step);
      case "commit":
        return commit(actor.products);
      case "settle":
        for (const { event } of settled(actor.products, step.pending)) actor.knows |= event;
        for (const registers of actor.registers.values())
          registers.flying = [...actor.products.open, ...actor.products.closed.flat()].some((op) =>
            op.registers.includes(registers),
          );
        return;
      case "compute":
        return this.#computing.compute(actor, step);
      case "publish":
        return this.#buffers.publish(actor);
      case "meet":
        return yield* this.#meetings.meetAll(actor);
      case "sync":
      case "signal":
        return yield* this.#meetings.meet(actor, step);
      case "store": {
        if (!actor.leads) return;
        const operand = { buffer: step.buffer, ...at(step) };
        const event = this.#buffers.read(actor, operand, step.holds, `the store of ${step.buffer}`);
        this.#buffers.mustSee(actor, operand, `the store of ${step.buffer}`);
        actor.stores.open.push({ event, registers: [] });
        if (step.gives !== undefined) this.#results.give(actor, step.gives);
        return;
      }
      case "commit_stores":
        if (actor.leads) commit(actor.stores);
        return;
      case "settle_stores":
        if (actor.leads) for (const { event } of settled(actor.stores, step.pending)) actor.knows |= event;
        return;
    }
  }

  #barrier(actor: Actor, name: string, slot: Slot): BarrierState {
    return this.#barriers[actor.block]!.get(name)![stageOf(this.#schedule, actor, slot)]!;
  }

  #arrive(actor: Actor, barrier: BarrierState, times: number, bytes: number): void {
    if (times > barrier.pending)
      throw new Fault(`${actor.name} arrives at ${barrier.name} more often than a phase counts`);
    barrier.pending -= times;
    barrier.bytes += bytes;
    barrier.joining |= actor.knows;
    turned(barrier);
  }

  #load(actor: Actor, step: Step & { kind: "load" }): void {
    const barrier = this.#barrier(actor, step.barrier, step.at);
    const event = this.#buffers.load(actor, step);
    const arrive = (): void => {
      barrier.bytes -= step.bytes;
      barrier.joining |= event;
      turned(barrier);
    };
    if (this.#order.copies === "early" && barrier.bytes >= step.bytes) arrive();
    else this.#coming.push(arrive);
  }
}
