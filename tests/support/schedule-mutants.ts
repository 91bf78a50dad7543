/** Schedules with one mistake in them: what the checker must find. */
import type { Schedule, Slot, Step } from "../../compiler/targets/cuda/hopper/schedule.ts";

export interface Mutant {
  readonly what: string;
  readonly schedule: Schedule;
}

/** A list of steps with one change, and what it is. */
interface Change {
  readonly what: string;
  readonly steps: readonly Step[];
}

/** Every mutant of a schedule that means something else. */
export function mutantsOf(schedule: Schedule): Mutant[] {
  const mutants: Mutant[] = [];
  for (const [i, role] of schedule.roles.entries()) {
    const roles = (change: Partial<typeof role>): Schedule => ({
      ...schedule,
      roles: schedule.roles.with(i, { ...role, ...change }),
    });
    for (const { what, steps } of changes(role.steps, schedule))
      mutants.push({ what: `${role.name}: ${what}`, schedule: roles({ steps }) });
    mutants.push({ what: `${role.name}: 4 more registers`, schedule: roles({ registers: role.registers + 4 }) });
    mutants.push({ what: `${role.name}: 216 more registers`, schedule: roles({ registers: role.registers + 216 }) });
  }
  for (const [i, barrier] of schedule.barriers.entries())
    for (const more of [-1, 1])
      mutants.push({
        what: `${barrier.name}: ${more} arrivals`,
        schedule: {
          ...schedule,
          barriers: schedule.barriers.with(i, { ...barrier, arrivals: barrier.arrivals + more }),
        },
      });
  for (const [i, named] of schedule.named.entries())
    for (const more of [-32, 32, 8])
      mutants.push({
        what: `${named.name}: ${more} threads`,
        schedule: { ...schedule, named: schedule.named.with(i, { ...named, threads: named.threads + more }) },
      });
  for (const [i, buffer] of schedule.buffers.entries())
    mutants.push({
      what: `${buffer.name}: eight times as large`,
      schedule: { ...schedule, buffers: schedule.buffers.with(i, { ...buffer, bytes: buffer.bytes * 8 }) },
    });
  return mutants;
}

function* changes(steps: readonly Step[], schedule: Schedule): Generator<Change> {
  for (const [i, step] of steps.entries()) {
    const after = steps[i + 1];
    if (step.kind === "loop")
      for (const { what, steps: body } of changes(step.body, schedule))
        yield { what, steps: steps.with(i, { ...step, body }) };
    yield { what: `no ${nameOf(step)}`, steps: steps.toSpliced(i, 1) };
    if (!IDEMPOTENT.has(step.kind) && !(step.kind === "multiply" && step.clears === "always"))
      yield { what: `${nameOf(step)} twice`, steps: steps.toSpliced(i, 0, step) };
    if (after !== undefined && !commute(step, after))
      yield { what: `${nameOf(after)} before ${nameOf(step)}`, steps: steps.with(i, after).with(i + 1, step) };
    for (const { what, step: other } of variants(step, schedule)) yield { what, steps: steps.with(i, other) };
  }
}

/** Steps that wait, fence or close a group: at once again, they find nothing left to do. */
const IDEMPOTENT: ReadonlySet<Step["kind"]> = new Set([
  "wait",
  "fence",
  "commit",
  "settle",
  "publish",
  "sync",
  "commit_stores",
  "settle_stores",
  "commit_copies",
  "settle_copies",
]);

/** Neighbors that do not depend on each other. */
function commute(a: Step, b: Step): boolean {
  // An arrival that comes later costs time only, unless something waits in between.
  if (a.kind === "arrive" && (b.kind === "compute" || (b.kind === "loop" && b.counter === "slice"))) return true;
  // Results leave in any order.
  if (isEpilogue(a) && isEpilogue(b)) return true;
  const [first, second] = [a, b].toSorted((x, y) => x.kind.localeCompare(y.kind)) as [Step, Step];
  // Bytes may be announced before a place is free, and beside what threads write to it.
  if (first.kind === "expect" && second.kind === "compute" && second.writes?.every((write) => "buffer" in write))
    return true;
  // What does not look at a cursor may come behind its next step.
  if (first.kind === "advance" && second.kind === "compute" && !slotsOf(second).includes(first.cursor)) return true;
  if (first.kind === "advance" && second.kind === "wait" && second.at.cursor !== first.cursor) return true;
  if (first.kind === "advance" && second.kind === "advance") return true;
  const pair = `${first.kind} ${second.kind}`;
  switch (pair) {
    // Bytes may come before they are announced while the announcement's own arrival is missing; copies are started in any order.
    case "expect load":
    case "load load":
    case "gather load":
    case "expect gather":
    case "gather gather":
    // Sums of different registers, or the same sum in another order.
    case "multiply multiply":
    // A fence orders what threads do to registers, a barrier what others do to memory.
    case "fence wait":
    case "fence sync":
    // A group that is closed already is waited for by its place in the line.
    case "commit_stores publish":
    case "commit_stores settle_copies":
    case "commit_copies load":
    case "arrive arrive":
    case "meet meet":
      return true;
    // What is behind an arrival does not look at the cursor.
    case "advance fence":
    case "advance settle":
    case "advance settle_stores":
    case "advance sync":
    case "advance publish":
    case "advance commit":
    case "advance commit_stores":
    case "advance commit_copies":
      return true;
    default:
      return false;
  }
}

function slotsOf({ loads = [], writes = [] }: Step & { kind: "compute" }): (string | undefined)[] {
  return [...loads, ...writes].map((place) => ("buffer" in place ? place.at?.cursor : undefined));
}

function isEpilogue(step: Step): boolean {
  return step.kind === "loop" ? step.counter === "slice" : step.kind === "compute" && step.gives !== undefined;
}

function* variants(step: Step, schedule: Schedule): Generator<{ readonly what: string; readonly step: Step }> {
  const name = nameOf(step);
  const stages = (slot: Slot | undefined): number =>
    schedule.cursors.find((cursor) => cursor.name === slot?.cursor)?.stages ?? 1;
  if ("at" in step && step.at !== undefined && stages(step.at) > 1) {
    const at = { ...step.at, back: (step.at.back ?? 0) + 1 };
    yield { what: `${name} a stage behind`, step: { ...step, at } };
  }
  if (step.kind === "wait") {
    const phase = step.phase === "current" ? "previous" : "current";
    yield { what: `${name} in the ${phase} phase`, step: { ...step, phase } };
  }
  if (step.kind === "wait" || step.kind === "arrive" || step.kind === "expect" || step.kind === "load")
    for (const { name: barrier } of schedule.barriers)
      if (barrier !== step.barrier) yield { what: `${name} at ${barrier}`, step: { ...step, barrier } };
  if (step.kind === "arrive")
    for (const by of ["thread", "warps", "threads"] as const)
      if (by !== step.by) yield { what: `${name} by ${by}`, step: { ...step, by } };
  if (step.kind === "expect") yield { what: `${name} of half`, step: { ...step, bytes: step.bytes / 2 } };
  if (step.kind === "settle" || step.kind === "settle_stores" || step.kind === "settle_copies")
    yield { what: `${name} with one more pending`, step: { ...step, pending: step.pending + 1 } };
  if (step.kind === "multiply") {
    for (const { name: into } of schedule.registers)
      if (into !== step.into) yield { what: `${name} into ${into}`, step: { ...step, into } };
    if (step.clears !== "never") yield { what: `${name} without clearing`, step: { ...step, clears: "never" } };
    if (step.clears !== "always") yield { what: `${name} always clearing`, step: { ...step, clears: "always" } };
    yield { what: `${name} of A twice`, step: { ...step, b: step.a } };
  }
  if (step.kind === "store" || step.kind === "load" || step.kind === "gather")
    for (const { name: buffer, stages: n } of schedule.buffers)
      if (buffer !== step.buffer && n === stages(step.at))
        yield { what: `${name} of ${buffer}`, step: { ...step, buffer } };
  if (step.part !== undefined) {
    const { part, ...rest } = step;
    yield { what: `${name} in part ${1 - part}`, step: { ...rest, part: 1 - part } };
    yield { what: `${name} in all parts`, step: rest };
  }
  if (step.kind === "load") yield { what: `${name} of half`, step: { ...step, bytes: step.bytes / 2 } };
  if (step.when !== undefined) {
    const { when, ...rest } = step;
    yield { what: `${name} from ${when.from + 1} on`, step: { ...step, when: { ...when, from: when.from + 1 } } };
    if (when.from > 0 && !IDEMPOTENT.has(step.kind)) yield { what: `${name} from the start`, step: rest };
  }
}

function nameOf(step: Step): string {
  switch (step.kind) {
    case "loop":
      return `loop over ${step.counter}`;
    case "wait":
    case "arrive":
    case "expect":
    case "sync":
    case "signal":
      return `${step.kind} ${step.barrier}`;
    case "load":
    case "gather":
    case "store":
      return `${step.kind} ${step.buffer}`;
    case "multiply":
      return `multiply ${step.into}`;
    case "compute":
      return step.name;
    case "advance":
      return `advance ${step.cursor}`;
    default:
      return step.kind;
  }
}
