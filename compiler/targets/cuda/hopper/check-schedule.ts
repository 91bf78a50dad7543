/**
 * Whether a schedule is sound: it fits the machine, and in every order in which warpgroups and copies can run nothing is read
 * before it is there, nothing is overwritten while it is in use, sums are not touched in flight, the results are the right ones,
 * and all ends. What happens before what is followed exactly (simulate-schedule.ts), so a few orders stand for all of them.
 */
import {
  REGISTERS,
  registersAtStart,
  type Schedule,
  SHARED_BYTES,
  type SharedBuffer,
  sharedBytes,
  type Step,
  threadsOf,
  WARPGROUP,
  walkSteps,
} from "./schedule.ts";
import { ORDERS, simulate } from "./simulate-schedule.ts";
import type { Counts } from "./simulate-trips.ts";

/** Registers that addresses, counters and the values of an epilogue take beside sums. */
const WORKING_REGISTERS = 28;

/**
 * What is wrong with a schedule, in a sentence; undefined when nothing is.
 *
 * @param runs trip counts to try, by the names of loops' counts
 */
export function faultOf(schedule: Schedule, runs: readonly Counts[]): string | undefined {
  const fault = misfit(schedule) ?? misnamed(schedule);
  if (fault !== undefined) return fault;
  for (const counts of runs)
    for (const order of ORDERS) {
      const found = simulate(schedule, counts, order);
      if (found !== undefined) return found;
    }
  return undefined;
}

/** Throws when a schedule is not sound: it must not be printed. */
export function requireSound(schedule: Schedule, runs: readonly Counts[]): void {
  const fault = faultOf(schedule, runs);
  if (fault !== undefined) throw new Error(`schedule ${schedule.name}: ${fault}`);
}

/** What of the budgets of a block a schedule exceeds. */
export function misfit(schedule: Schedule): string | undefined {
  const bytes = sharedBytes(schedule);
  if (bytes > SHARED_BYTES) return `it takes ${bytes} bytes of shared memory, and a block has ${SHARED_BYTES}`;
  const sizeOf = ({ bytes, stages, each = 1 }: SharedBuffer): number => bytes * stages * each;
  for (const buffer of schedule.buffers) {
    if (buffer.over === undefined) continue;
    const below = schedule.buffers.filter(({ name }) => buffer.over!.includes(name));
    const room = below.reduce((n, other) => n + sizeOf(other), 0);
    if (sizeOf(buffer) > room)
      return `${buffer.name} takes ${sizeOf(buffer)} bytes, and ${buffer.over.join(" and ")} have ${room}`;
  }
  const threads = threadsOf(schedule);
  if (threads > 1024) return `it has ${threads} threads, and a block has at most 1024`;
  const pool = Math.min(REGISTERS, registersAtStart(threads) * threads);
  const asked = schedule.roles.reduce((n, { registers, warpgroups }) => n + registers * warpgroups * WARPGROUP, 0);
  if (asked > pool) return `its roles ask for ${asked} registers, and the block starts with ${pool}`;
  for (const { name, registers } of schedule.roles) {
    if (registers % 8 !== 0 || registers < 24 || registers > 256)
      return `${name} asks for ${registers} registers; setmaxnreg takes multiples of 8 from 24 to 256`;
    const own = schedule.registers.filter(({ role }) => role === name).reduce((n, { count }) => n + count, 0);
    if (own > 0 && own + WORKING_REGISTERS > registers)
      return `${name} keeps ${own} registers and works with ${WORKING_REGISTERS} more, but has ${registers}`;
  }
  const taken = new Map<number, string>();
  for (const { name, id, each = 1, threads: needed } of schedule.named) {
    if (needed % 32 !== 0) return `named barrier ${name} counts ${needed} threads, which are no whole warps`;
    for (let i = id; i < id + each; i++) {
      if (i < 1 || i > 15) return `named barrier ${name} has the number ${i}; 0 is __syncthreads, and there are 16`;
      if (taken.has(i)) return `named barriers ${taken.get(i)} and ${name} have the number ${i}`;
      taken.set(i, name);
    }
  }
  return undefined;
}

/** Names that steps use and nothing declares, and rings of different lengths. */
function misnamed(schedule: Schedule): string | undefined {
  const cursors = new Map(schedule.cursors.map(({ name, stages }) => [name, stages]));
  const rings = new Map([...schedule.barriers, ...schedule.buffers].map(({ name, stages }) => [name, stages]));
  let fault: string | undefined;
  const slot = (of: string, at: { readonly cursor: string } | undefined): void => {
    const stages = rings.get(of);
    if (stages === undefined) fault ??= `nothing is called ${of}`;
    else if (at === undefined ? stages !== 1 : cursors.get(at.cursor) !== stages)
      fault ??= `${of} has ${stages} stages, and ${at === undefined ? "a step names none" : `${at.cursor} has ${cursors.get(at.cursor) ?? 0}`}`;
  };
  const visit = (step: Step): void => {
    if (step.kind === "wait" || step.kind === "arrive" || step.kind === "expect") slot(step.barrier, step.at);
    if (step.kind === "load") slot(step.barrier, step.at);
    if (step.kind === "load" || step.kind === "gather" || step.kind === "store") slot(step.buffer, step.at);
    if (step.kind === "advance" && !cursors.has(step.cursor)) fault ??= `nothing is called ${step.cursor}`;
    if (step.kind === "multiply")
      for (const operand of [step.a, step.b]) if ("buffer" in operand) slot(operand.buffer, operand.at);
  };
  for (const { steps } of schedule.roles) walkSteps(steps, visit);
  return fault;
}
