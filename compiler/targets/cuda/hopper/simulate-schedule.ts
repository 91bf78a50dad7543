/**
 * Runs a schedule step by step. A warpgroup is two actors, its first warp and the other three: what only the first thread does
 * is ordered behind the others only where a barrier says so; schedule-buffers.ts says when a read or a write is sound. Of a cluster
 * two blocks run: what holds for both holds for all, which do the same.
 */
import type { Count, Expected, Label, Schedule, Slot, Step, Terms } from "./schedule.ts";
import { Buffers } from "./schedule-buffers.ts";
import {
  type BarrierState,
  type RegisterState,
  type Actor,
  type Groups,
  type Meeting,
  type NamedState,
  missing,
  block,
  arrivalsOf,
  turned,
  commit,
  settled,
  at,
  clearsNow,
  cursorOf,
  Fault,
  filled,
  stageOf,
} from "./schedule-state.ts";

/** Trip counts by their names; a list has one for each turn of the outermost loop. */
export type Counts = Readonly<Record<string, number | readonly number[]>>;

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

/** What registers have that nothing was written to. */
const UNSET = "what nobody has set";

/** How often a counter goes round that stands for the blocks of a cluster. */
const CLUSTER = "cluster";

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
  readonly #counts: Counts;
  readonly #order: Order;
  readonly #actors: Actor[] = [];
  /** Of each block. */
  readonly #barriers: Map<string, BarrierState[]>[] = [];
  readonly #buffers: Buffers;
  readonly #named = new Map<string, NamedState>();
  readonly #results = new Map<string, number>();
  readonly #meeting: Meeting = { here: new Set(), joining: 0n, released: 0n, round: 0 };
  /** Loads on their way. */
  #coming: (() => void)[] = [];

  constructor(schedule: Schedule, counts: Counts, order: Order) {
    this.#schedule = schedule;
    this.#counts = counts;
    this.#order = order;
    this.#buffers = new Buffers(schedule, this.#actors, (block) => this.#of(block));
    for (let block = 0; block < this.#blocks; block++) this.#addBlock(block);
  }

  /** Blocks that run. */
  get #blocks(): number {
    return Math.min(2, this.#schedule.cluster ?? 1);
  }

  /** The end of the name of what each block has. */
  #of(block: number): string {
    return this.#blocks === 1 ? "" : ` of block ${block}`;
  }

  #addBlock(block: number): void {
    const { barriers, roles } = this.#schedule;
    const states = barriers.map(({ name, stages, arrivals }): [string, BarrierState[]] => [
      name,
      Array.from({ length: stages }, (_, i) => ({
        name: `${name}[${i}]${this.#of(block)}`,
        arrivals,
        pending: arrivals,
        bytes: 0,
        phases: 0,
        joining: 0n,
        released: 0n,
      })),
    ]);
    this.#barriers.push(new Map(states));
    for (const role of roles)
      for (let part = 0; part < role.warpgroups; part++) {
        const name = `${role.warpgroups > 1 ? `${role.name} ${part}` : role.name}${this.#of(block)}`;
        const place = { role: role.name, block, part };
        if (role.threads !== "all") this.#add(name, place, true, role.threads === "one" ? 1 : 32);
        else {
          this.#add(name, place, true, 32);
          this.#add(`${name} (warps 1 to 3)`, place, false, 96);
        }
      }
  }

  #add(name: string, place: Pick<Actor, "role" | "block" | "part">, leads: boolean, threads: number): void {
    const { role } = place;
    const own = this.#schedule.registers.filter((array) => array.role === role);
    const groups = (): Groups => ({ open: [], closed: [] });
    this.#actors.push({
      name,
      ...place,
      leads,
      threads,
      counters: new Map(this.#schedule.cluster === undefined ? [] : [["rank", place.block]]),
      cursors: new Map(this.#schedule.cursors.map((cursor) => [cursor.name, { stage: 0, phase: 0, before: [] }])),
      registers: new Map(own.map((array) => [array.name, { terms: [UNSET], flying: false, touched: true }])),
      knows: 0n,
      products: groups(),
      copies: groups(),
      stores: groups(),
      unpublished: 0n,
      done: false,
    });
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
    for (const [name, { threads }] of this.#named)
      if (threads !== 0) throw new Fault(`${name} ends with ${threads} threads that nobody met`);
    for (const { name, products, copies, stores } of this.#actors)
      for (const [what, groups] of [
        ["products", products],
        ["copies", copies],
        ["stores", stores],
      ] as const)
        if ([...groups.open, ...groups.closed.flat()].length > 0)
          throw new Fault(`${name} ends while ${what} are on their way`);
    this.#buffers.end();
    const wanted = new Set<string>();
    for (const { role, over, label } of this.#schedule.results) {
      const { warpgroups } = this.#schedule.roles.find(({ name }) => name === role)!;
      this.#turns(over, new Map(), (counters) => {
        for (let part = 0; part < warpgroups; part++) wanted.add(filled(label, counters, part));
      });
    }
    for (const result of wanted) if (!this.#results.has(result)) throw new Fault(`${result} is never stored`);
    for (const [result, times] of this.#results) {
      if (!wanted.has(result)) throw new Fault(`${result} is stored, which is no result`);
      if (times > 1) throw new Fault(`${result} is stored ${times} times`);
    }
  }

  #turns(
    over: readonly Count[],
    counters: ReadonlyMap<string, number>,
    visit: (c: ReadonlyMap<string, number>) => void,
  ): void {
    const [next, ...rest] = over;
    if (next === undefined) return visit(counters);
    for (let n = 0; n < this.#count(next.count, counters); n++)
      this.#turns(rest, new Map([...counters, [next.counter, n]]), visit);
  }

  #count(name: string, counters: ReadonlyMap<string, number>): number {
    const count = name === CLUSTER ? this.#blocks : this.#counts[name];
    if (count === undefined) throw new Fault(`nobody says how much ${name} is`);
    if (typeof count === "number") return count;
    const [outermost] = counters.values();
    return count[outermost ?? 0] ?? 0;
  }

  *#steps(actor: Actor, steps: readonly Step[]): Generator<void> {
    for (const step of steps) {
      if (step.when !== undefined && (actor.counters.get(step.when.counter) ?? 0) < step.when.from) continue;
      if (step.part !== undefined && actor.part !== step.part) continue;
      if (step.kind === "loop") {
        const { from = 0 } = step;
        const count = this.#count(step.count, actor.counters);
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
          this.#mustHold(
            actor,
            `the gather of ${step.buffer}`,
            registers,
            this.#registers(actor, registers).terms,
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
        return this.#multiply(actor, step);
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
        return this.#compute(actor, step);
      case "publish":
        return this.#buffers.publish(actor);
      case "meet":
        return yield* this.#meetAll(actor);
      case "sync":
      case "signal":
        return yield* this.#meet(actor, step);
      case "store": {
        if (!actor.leads) return;
        const operand = { buffer: step.buffer, ...at(step) };
        const event = this.#buffers.read(actor, operand, step.holds, `the store of ${step.buffer}`);
        this.#buffers.mustSee(actor, operand, `the store of ${step.buffer}`);
        actor.stores.open.push({ event, registers: [] });
        if (step.gives !== undefined) this.#give(actor, step.gives);
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

  #multiply(actor: Actor, step: Step & { kind: "multiply" }): void {
    const into = this.#registers(actor, step.into);
    if (into.touched)
      throw new Fault(`${actor.name} sums products into ${step.into} without a fence behind what touched it`);
    const who = `the product into ${step.into}`;
    const held: RegisterState[] = [into];
    let event = 0n;
    const labels = [step.a, step.b].map((operand) => {
      if ("registers" in operand) {
        const registers = this.#registers(actor, operand.registers);
        if (registers.touched)
          throw new Fault(`${actor.name} multiplies ${operand.registers} without a fence behind what wrote it`);
        held.push(registers);
        return registers.terms.join(" + ");
      }
      event |= this.#buffers.read(actor, operand, operand.holds, who);
      this.#buffers.mustSee(actor, operand, who);
      return this.#buffers.labelOf(actor, operand);
    });
    const clears = typeof step.clears === "object" ? clearsNow(actor, step.clears) : step.clears === "always";
    if (clears) into.terms = [];
    into.terms.push(labels.join(" * "));
    for (const registers of held) registers.flying = true;
    actor.products.open.push({ event, registers: held });
  }

  #compute(actor: Actor, step: Step & { kind: "compute" }): void {
    const settledRegisters = (name: string, does: string): RegisterState => {
      const registers = this.#registers(actor, name);
      if (registers.flying)
        throw new Fault(`${step.name} of ${actor.name} ${does} ${name} while products with it are on their way`);
      return registers;
    };
    for (const { registers, holds } of step.reads ?? []) {
      const state = settledRegisters(registers, "reads");
      this.#mustHold(actor, step.name, registers, state.terms, holds);
      state.touched = true;
    }
    for (const operand of step.loads ?? []) actor.knows |= this.#buffers.read(actor, operand, operand.holds, step.name);
    for (const name of step.touches ?? []) settledRegisters(name, "touches").touched = true;
    for (const name of step.zeroes ?? []) {
      const registers = settledRegisters(name, "writes");
      registers.terms = [];
      registers.touched = true;
    }
    if (step.adds !== undefined) {
      const [source, target] = [settledRegisters(step.adds.from, "reads"), settledRegisters(step.adds.into, "touches")];
      target.terms.push(...source.terms);
      for (const registers of [source, target]) registers.touched = true;
    }
    for (const write of step.writes ?? []) {
      if ("registers" in write) {
        const registers = settledRegisters(write.registers, "writes");
        registers.terms = [filled(write.holds, actor.counters, actor.part)];
        registers.touched = true;
      } else {
        const event = this.#buffers.write(actor, write.buffer, write.at, write.holds);
        actor.knows |= event;
        actor.unpublished |= event;
      }
    }
    for (const { buffer, at: slot, holds } of step.sends ?? [])
      for (let block = 0; block < this.#blocks; block++) {
        const event = this.#buffers.write(actor, buffer, slot, holds, block);
        actor.knows |= event;
        actor.unpublished |= event;
      }
    if (step.gives !== undefined && actor.leads) this.#give(actor, step.gives);
  }

  #mustHold(actor: Actor, who: string, name: string, terms: readonly Label[], holds: Expected): void {
    const wanted: Label[] = [];
    for (const one of [holds].flat() as (Label | Terms)[])
      if (typeof one === "string") wanted.push(filled(one, actor.counters, actor.part));
      else
        for (let i = 0; i < this.#count(one.count, actor.counters); i++)
          wanted.push(filled(one.term, new Map([...actor.counters, [one.counter, i]]), actor.part));
    const left = [...terms];
    for (const term of wanted) {
      const i = left.indexOf(term);
      if (i < 0) throw new Fault(`${who} of ${actor.name} reads ${name}, which lacks ${term}`);
      left.splice(i, 1);
    }
    if (left.length > 0)
      throw new Fault(`${who} of ${actor.name} reads ${name}, which has ${left[0]} beside what it should hold`);
  }

  *#meetAll(actor: Actor): Generator<void> {
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

  *#meet(actor: Actor, step: Step & { kind: "sync" | "signal" }): Generator<void> {
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

  #give(actor: Actor, label: Label): void {
    const result = filled(label, actor.counters, actor.part);
    this.#results.set(result, (this.#results.get(result) ?? 0) + 1);
  }

  #registers(actor: Actor, name: string): RegisterState {
    const registers = actor.registers.get(name);
    if (registers === undefined) throw new Fault(`${actor.name} has no registers ${name}`);
    return registers;
  }
}
