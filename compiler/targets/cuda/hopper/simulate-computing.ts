/** Products and computations as the checker of schedules sees them: which terms registers hold, and whether they may be touched. */
import type { Expected, Label, Step, Terms } from "./schedule.ts";
import type { Buffers } from "./schedule-buffers.ts";
import { type Actor, clearsNow, Fault, filled, type RegisterState } from "./schedule-state.ts";
import type { Results } from "./simulate-results.ts";
import type { Trips } from "./simulate-trips.ts";

export class Computing {
  readonly #buffers: Buffers;
  readonly #trips: Trips;
  readonly #results: Results;

  constructor(buffers: Buffers, trips: Trips, results: Results) {
    this.#buffers = buffers;
    this.#trips = trips;
    this.#results = results;
  }

  multiply(actor: Actor, step: Step & { kind: "multiply" }): void {
    const into = this.registers(actor, step.into);
    if (into.touched)
      throw new Fault(`${actor.name} sums products into ${step.into} without a fence behind what touched it`);
    const who = `the product into ${step.into}`;
    const held: RegisterState[] = [into];
    let event = 0n;
    const labels = [step.a, step.b].map((operand) => {
      if ("registers" in operand) {
        const registers = this.registers(actor, operand.registers);
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

  compute(actor: Actor, step: Step & { kind: "compute" }): void {
    const settledRegisters = (name: string, does: string): RegisterState => {
      const registers = this.registers(actor, name);
      if (registers.flying)
        throw new Fault(`${step.name} of ${actor.name} ${does} ${name} while products with it are on their way`);
      return registers;
    };
    for (const { registers, holds } of step.reads ?? []) {
      const state = settledRegisters(registers, "reads");
      this.mustHold(actor, step.name, registers, state.terms, holds);
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
      for (let block = 0; block < this.#trips.blocks; block++) {
        const event = this.#buffers.write(actor, buffer, slot, holds, block);
        actor.knows |= event;
        actor.unpublished |= event;
      }
    if (step.gives !== undefined && actor.leads) this.#results.give(actor, step.gives);
  }

  /** Throws where registers hold something else than they should. */
  mustHold(actor: Actor, who: string, name: string, terms: readonly Label[], holds: Expected): void {
    const wanted: Label[] = [];
    for (const one of [holds].flat() as (Label | Terms)[])
      if (typeof one === "string") wanted.push(filled(one, actor.counters, actor.part));
      else
        for (let i = 0; i < this.#trips.count(one.count, actor.counters); i++)
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

  registers(actor: Actor, name: string): RegisterState {
    const registers = actor.registers.get(name);
    if (registers === undefined) throw new Fault(`${actor.name} has no registers ${name}`);
    return registers;
  }
}
