/** What the checker of schedules keeps of barriers, buffers, registers and warps, and what single steps do to it. */
import type { Arrival, Label, Operand, Schedule, Slot, Clears } from "./schedule.ts";

/** A fault of the schedule. */
export class Fault extends Error {}

export interface BarrierState {
  readonly name: string;
  readonly arrivals: number;
  pending: number;
  bytes: number;
  phases: number;
  /** Events that arrivals of this phase bring along, and those of phases that are over. */
  joining: bigint;
  released: bigint;
}

export interface BufferState {
  readonly name: string;
  /** The block that has it, and its name in the schedule. */
  readonly block: number;
  readonly of: string;
  label?: Label;
  /** Parts that copies have filled so far, in bytes. */
  filled: number;
  writes: bigint;
  reads: bigint;
  writers: Set<Actor>;
}

export interface RegisterState {
  terms: Label[];
  /** Whether products that were not waited for sum into it or read it. */
  flying: boolean;
  /** Whether threads read or wrote it behind the last fence. */
  touched: boolean;
}

export interface Actor {
  readonly name: string;
  readonly role: string;
  /** Of the cluster. */
  readonly block: number;
  readonly part: number;
  readonly leads: boolean;
  readonly threads: number;
  readonly counters: Map<string, number>;
  readonly cursors: Map<string, { stage: number; phase: number; before: number[] }>;
  readonly registers: Map<string, RegisterState>;
  knows: bigint;
  /** Events of groups of products, copies and stores that were not waited for. */
  readonly products: Groups;
  readonly copies: Groups;
  readonly stores: Groups;
  /** Own writes that copies and products do not see yet. */
  unpublished: bigint;
  blocked?: { readonly on: () => string; readonly until: () => boolean };
  done: boolean;
}

/** An operand in shared memory. */
export type Shared = Operand & { readonly buffer: string; readonly at?: Slot };

export interface Groups {
  open: Op[];
  closed: Op[][];
}

export interface Op {
  readonly event: bigint;
  readonly registers: readonly RegisterState[];
}

export interface NamedState {
  threads: number;
  joining: bigint;
  released: bigint;
  round: number;
}

/** The barrier of a cluster. */
export interface Meeting {
  readonly here: Set<Actor>;
  joining: bigint;
  released: bigint;
  round: number;
}

/** What a barrier lacks. */
export function missing({ pending, arrivals, bytes }: BarrierState): string {
  const of = `${arrivals - pending} of ${arrivals} arrivals`;
  return ` (${of}${bytes > 0 ? `, ${bytes} bytes to come` : bytes < 0 ? `, ${-bytes} bytes too many` : ""})`;
}

export function* block(actor: Actor, on: () => string, until: () => boolean): Generator<void> {
  do {
    actor.blocked = { on, until };
    yield;
  } while (!until());
}

export function arrivalsOf(actor: Actor, by: Arrival): number {
  if (by === "thread") return actor.leads ? 1 : 0;
  return by === "warps" ? Math.ceil(actor.threads / 32) : actor.threads;
}

/** Ends the phase of a barrier when all arrivals and bytes are there. */
export function turned(barrier: BarrierState): void {
  if (barrier.pending !== 0 || barrier.bytes !== 0) return;
  barrier.pending = barrier.arrivals;
  barrier.phases++;
  barrier.released |= barrier.joining;
  barrier.joining = 0n;
}

export function commit(groups: Groups): void {
  groups.closed.push(groups.open);
  groups.open = [];
}

/** What is over when all but the last `pending` groups are. */
export function settled(groups: Groups, pending: number): Op[] {
  return groups.closed.splice(0, Math.max(0, groups.closed.length - pending)).flat();
}

export function at(step: { readonly at?: Slot }): { at?: Slot } {
  return step.at === undefined ? {} : { at: step.at };
}

export function clearsNow(actor: Actor, { counter, at: turn = 0 }: Clears): boolean {
  return (actor.counters.get(counter) ?? 0) === turn;
}

export function filled(label: Label, counters: ReadonlyMap<string, number>, part: number): Label {
  return label.replaceAll(/\{(\w+)([+-]1)?\}/g, (_, name: string, more: string | undefined) =>
    String((name === "part" ? part : (counters.get(name) ?? 0)) + Number(more ?? 0)),
  );
}

export function cursorOf(actor: Actor, name: string): { stage: number; phase: number; before: number[] } {
  const cursor = actor.cursors.get(name);
  if (cursor === undefined) throw new Fault(`nothing is called ${name}`);
  return cursor;
}

/** The stage that a slot means where the actor is. */
export function stageOf({ cursors }: Schedule, actor: Actor, slot: Slot | undefined): number {
  if (slot === undefined) return 0;
  const { stage, before } = cursorOf(actor, slot.cursor);
  if (slot.back === undefined || slot.back === 0) return stage;
  const { stages } = cursors.find(({ name }) => name === slot.cursor)!;
  return before[slot.back - 1] ?? (stage + stages * slot.back - slot.back) % stages;
}
