/**
 * Buffers as the checker of schedules sees them: every read and every write of one is an event, and an actor knows the events that
 * surely happened before where it is. A read is sound when the reader knows all writes, a write when the writer knows all reads and
 * writes before it.
 */
import type { Label, Schedule, Slot, Step } from "./schedule.ts";
import { type Actor, type BufferState, Fault, filled, type Shared, stageOf } from "./schedule-state.ts";

export class Buffers {
  readonly #schedule: Schedule;
  readonly #actors: readonly Actor[];
  /** The end of the name of what a block has. */
  readonly #of: (block: number) => string;
  readonly #buffers = new Map<string, BufferState>();
  readonly #events: string[] = [];
  /** Writes by threads, and those of them that copies and products see. */
  #generic = 0n;
  #published = 0n;

  constructor(schedule: Schedule, actors: readonly Actor[], of: (block: number) => string) {
    this.#schedule = schedule;
    this.#actors = actors;
    this.#of = of;
  }

  /** What must hold when all have come to their end. */
  end(): void {
    for (const { name, reads, label } of this.#buffers.values())
      if (reads === 0n && label !== undefined) throw new Fault(`${label} in ${name} is never read`);
  }

  /** Own writes of the actor are seen by copies and products from now on. */
  publish(actor: Actor): void {
    this.#published |= actor.unpublished;
    actor.unpublished = 0n;
  }

  /** What a buffer holds now. */
  labelOf(actor: Actor, operand: Shared): Label {
    return this.#buffer(actor, operand.buffer, operand.at).buffer.label!;
  }

  /** The write that a load is. */
  load(actor: Actor, step: Step & { kind: "load" }): bigint {
    const { buffer } = this.#buffer(actor, step.buffer, step.at);
    const declared = this.#schedule.buffers.find(({ name }) => name === step.buffer)!;
    const label = filled(step.holds, actor.counters, actor.part);
    // A buffer that takes several loads is one write.
    const more = buffer.label === label && buffer.filled < declared.bytes && buffer.reads === 0n;
    if (!more) this.#mayWrite(actor, buffer, label);
    this.#cover(actor, buffer, label);
    const event = this.#event(`the load of ${label}`);
    if (more) {
      buffer.writes |= event;
      buffer.filled += step.bytes;
    } else {
      buffer.writes = event;
      buffer.filled = step.bytes;
      buffer.reads = 0n;
    }
    buffer.label = label;
    buffer.writers = new Set([actor]);
    return event;
  }

  /** A write by the threads themselves: every warp of the parts that have the buffer writes its own rows. */
  write(actor: Actor, name: string, slot: Slot | undefined, holds: Label, block = actor.block): bigint {
    const { buffer } = this.#buffer(actor, name, slot, block);
    const label = filled(holds, new Map([...actor.counters, ["to", block]]), actor.part);
    const joins = buffer.label === label && !buffer.writers.has(actor) && buffer.reads === 0n;
    if (!joins) {
      this.#mayWrite(actor, buffer, label);
      buffer.writes = 0n;
      buffer.reads = 0n;
      buffer.writers = new Set();
    }
    this.#cover(actor, buffer, label);
    const event = this.#event(`the write of ${label}`);
    buffer.label = label;
    buffer.writers.add(actor);
    buffer.writes |= event;
    buffer.filled = this.#schedule.buffers.find((declared) => declared.name === name)!.bytes;
    this.#generic |= event;
    return event;
  }

  #mayWrite(actor: Actor, buffer: BufferState, label: Label): void {
    const reader = this.#unknown(actor, buffer.reads);
    if (reader !== undefined)
      throw new Fault(`${actor.name} writes ${label} to ${buffer.name} while ${reader} may still read it`);
    const writer = this.#unknown(actor, buffer.writes);
    if (writer !== undefined)
      throw new Fault(`${actor.name} writes ${label} to ${buffer.name} while ${writer} may still be under way`);
    if (buffer.label !== undefined && buffer.reads === 0n)
      throw new Fault(`${actor.name} writes ${label} to ${buffer.name} before anybody has read ${buffer.label}`);
  }

  /** What lies at the same place is gone: it must have been read. */
  #cover(actor: Actor, { of, block }: BufferState, label: Label): void {
    if (this.#schedule.buffers.every(({ over }) => over === undefined)) return;
    const overOf = (name: string): readonly string[] =>
      this.#schedule.buffers.find((declared) => declared.name === name)!.over ?? [];
    for (const other of this.#buffers.values()) {
      if (other.block !== block || !(overOf(of).includes(other.of) || overOf(other.of).includes(of))) continue;
      this.#mayWrite(actor, other, label);
      delete other.label;
    }
  }

  /** Starts to read what a buffer holds; the event is over when the reader has waited for it. */
  read(actor: Actor, operand: Shared, holds: Label | undefined, who: string): bigint {
    const { buffer, writers } = this.#buffer(actor, operand.buffer, operand.at);
    const reader = `${who} of ${actor.name}`;
    if (buffer.label === undefined) throw new Fault(`${reader} reads ${buffer.name}, which nobody has written`);
    if (holds !== undefined) {
      const wanted = filled(holds, actor.counters, actor.part);
      if (wanted !== buffer.label)
        throw new Fault(`${reader} reads ${buffer.label} in ${buffer.name} instead of ${wanted}`);
    }
    const bytes = this.#schedule.buffers.find(({ name }) => name === operand.buffer)!.bytes;
    const unknown = this.#unknown(actor, buffer.writes);
    if (unknown !== undefined)
      throw new Fault(`${reader} reads ${buffer.label} in ${buffer.name} before ${unknown} is known to be over`);
    if (buffer.filled < bytes)
      throw new Fault(`${reader} reads ${buffer.name}, of which ${buffer.filled} of ${bytes} bytes are loaded`);
    if ((buffer.writes & this.#generic) !== 0n && buffer.writers.size < writers)
      throw new Fault(`${reader} reads ${buffer.label} in ${buffer.name} before all warps have written it`);
    const event = this.#event(`${reader}, which reads ${buffer.label},`);
    buffer.reads |= event;
    return event;
  }

  /** Copies and products see what threads wrote only behind fence.proxy.async. */
  mustSee(actor: Actor, operand: Shared, who: string): void {
    const { buffer } = this.#buffer(actor, operand.buffer, operand.at);
    if ((buffer.writes & this.#generic & ~this.#published) !== 0n)
      throw new Fault(
        `${who} of ${actor.name} reads ${buffer.label} in ${buffer.name} before its writers have published it`,
      );
  }

  #buffer(
    actor: Actor,
    name: string,
    slot: Slot | undefined,
    block = actor.block,
  ): { buffer: BufferState; writers: number } {
    const { each = 1 } = this.#schedule.buffers.find((declared) => declared.name === name)!;
    const part = each === 1 ? "" : ` of part ${actor.part}`;
    const key = `${name}[${stageOf(this.#schedule, actor, slot)}]${part}${this.#of(block)}`;
    let buffer = this.#buffers.get(key);
    if (buffer === undefined) {
      buffer = { name: key, block, of: name, filled: 0, writes: 0n, reads: 0n, writers: new Set() };
      this.#buffers.set(key, buffer);
    }
    const writers = this.#actors.filter(
      (other) =>
        (each === 1 || other.part === actor.part) &&
        (this.#writesTo(other.role, name, "sends") ||
          (other.block === block && this.#writesTo(other.role, name, "writes"))),
    ).length;
    return { buffer, writers };
  }

  readonly #writing = new Map<string, boolean>();

  /** Whether threads of a role write a buffer themselves, that of their own block or all blocks'. */
  #writesTo(role: string, buffer: string, how: "writes" | "sends"): boolean {
    const key = `${role} ${how} ${buffer}`;
    const known = this.#writing.get(key);
    if (known !== undefined) return known;
    const writes = (steps: readonly Step[]): boolean =>
      steps.some((step) => {
        if (step.kind === "loop") return writes(step.body);
        if (step.kind === "gather") return how === "writes" && step.buffer === buffer;
        return (
          step.kind === "compute" && (step[how] ?? []).some((write) => "buffer" in write && write.buffer === buffer)
        );
      });
    const found = writes(this.#schedule.roles.find(({ name }) => name === role)!.steps);
    this.#writing.set(key, found);
    return found;
  }

  #event(description: string): bigint {
    this.#events.push(description);
    return 1n << BigInt(this.#events.length - 1);
  }

  /** One of the events that the actor does not know to be over. */
  #unknown(actor: Actor, events: bigint): string | undefined {
    const missing = events & ~actor.knows;
    return missing === 0n ? undefined : this.#events[missing.toString(2).length - 1];
  }
}
