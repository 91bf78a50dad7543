/** Steps of a schedule as CUDA C++: a printer for each kind of step; what a kernel computes itself comes from its hooks. */
import type { Lines } from "../../../emit/lines.ts";
import {
  type Arrival,
  type Role,
  type Schedule,
  type SharedBuffer,
  type Slot,
  type Step,
  walkSteps,
} from "./schedule.ts";

type Of<K extends Step["kind"]> = Step & { kind: K };

/** What a kernel prints by itself. */
export interface Hooks {
  /** In front of a loop: what stays the same in it. */
  before?(loop: Of<"loop">): void;
  /** In front of the body of a loop: what its counter means. */
  enter(loop: Of<"loop">): void;
  load(step: Of<"load">, to: string, barrier: string): void;
  gather(step: Of<"gather">, to: string): void;
  multiply(step: Of<"multiply">): void;
  compute(step: Of<"compute">): void;
  store(step: Of<"store">, from: string): void;
  /** The head of a loop, where it is not `for (int counter = 0; counter < count; counter++)`. */
  head?(loop: Of<"loop">): string | undefined;
}

export class SchedulePrinter {
  readonly #schedule: Schedule;
  readonly #role: Role;
  readonly #lines: Lines;
  readonly #hooks: Hooks;
  /** Loops that the step is in. */
  readonly #inside: Of<"loop">[] = [];
  /** The one that was printed last. */
  #last: Step | undefined;
  /** How often the loops that were printed so far run, by their counters. */
  readonly #counts = new Map<string, string>();

  constructor(schedule: Schedule, role: Role, lines: Lines, hooks: Hooks) {
    this.#schedule = schedule;
    this.#role = role;
    this.#lines = lines;
    this.#hooks = hooks;
  }

  /** Cursors that the role moves, and its steps. */
  print(): void {
    for (const { name } of this.#schedule.cursors)
      if (this.#some((step) => step.kind === "advance" && step.cursor === name))
        this.#lines.add(`int ${name} = 0${this.#waitsWith(name) ? `, ${phaseOf(name)} = 0` : ""};`);
    for (const step of this.#role.steps) this.#step(step);
  }

  /** Whether a wait looks at the cursor's phase. */
  #waitsWith(cursor: string): boolean {
    return this.#some((step) => step.kind === "wait" && step.at.cursor === cursor);
  }

  #some(holds: (step: Step) => boolean): boolean {
    let found = false;
    walkSteps(this.#role.steps, (step) => (found ||= holds(step)));
    return found;
  }

  #step(step: Step): void {
    const when = this.#condition(step);
    const last = this.#last;
    this.#last = step;
    if (step.kind === "loop") {
      this.#comment(step);
      this.#hooks.before?.(step);
      if (step.unrolled === true) this.#lines.add("#pragma unroll");
      const { counter, count, from = 0 } = step;
      this.#counts.set(counter, count);
      const head = this.#hooks.head?.(step) ?? `for (int ${counter} = ${from}; ${counter} < ${count}; ${counter}++)`;
      return this.#lines.block(head, () => {
        this.#inside.push(step);
        this.#hooks.enter(step);
        for (const inner of step.body) this.#step(inner);
        this.#inside.pop();
      });
    }
    if (when !== undefined && ["compute", "multiply", "gather", "load", "store"].includes(step.kind))
      return this.#lines.block(`if (${when})`, () => this.#plain(step));
    if (step.kind === "arrive" && this.#needsAll(step, last))
      this.#lines.add(`${when === undefined ? "" : `if (${when}) `}__syncwarp();`);
    this.#plain(step, when);
  }

  /** Whether all lanes must have come to an arrival of one: what they copied, or published, is behind it. */
  #needsAll({ by, when }: Of<"arrive">, last: Step | undefined): boolean {
    if (by !== "warps" || !(last?.kind === "publish" || this.#some(({ kind }) => kind === "gather"))) return false;
    return !(last?.kind === "arrive" && last.by === by && JSON.stringify(last.when) === JSON.stringify(when));
  }

  /** `when` of a step, or its part; behind the loop, its counter has its last value. */
  #condition({ when, part }: Step): string | undefined {
    if (part !== undefined) return `part == ${part}`;
    if (when === undefined) return undefined;
    const loop = this.#inside.find(({ counter }) => counter === when.counter);
    if (loop !== undefined) return when.from === 0 ? undefined : `${when.counter} >= ${when.from}`;
    return when.from === 0 ? undefined : `${this.#counts.get(when.counter)} > ${when.from}`;
  }

  #plain(step: Exclude<Step, { kind: "loop" }>, when?: string): void {
    const lines = this.#lines;
    const why = step.why === undefined ? "" : `  // ${step.why}`;
    const one = (condition: string | undefined, statement: string): void => {
      const both = [when, condition].filter((x) => x !== undefined).join(" && ");
      lines.add(`${both === "" ? "" : `if (${both}) `}${statement}${why}`);
    };
    const leader =
      this.#role.threads === "one" ? undefined : this.#role.threads === "warp" ? "lane == 0" : "thread == 0";
    switch (step.kind) {
      case "advance": {
        const { name, stages } = this.#schedule.cursors.find((cursor) => cursor.name === step.cursor)!;
        if (when !== undefined) return lines.block(`if (${when})`, () => this.#plain(step));
        if (stages === 1) return lines.add(`${phaseOf(name)} ^= 1;`);
        if (!this.#waitsWith(name)) return lines.add(`${name} = ${name} + 1 == ${stages} ? 0 : ${name} + 1;`);
        return lines.add(`if (++${name} == ${stagesOf(stages, name)}) ${name} = 0, ${phaseOf(name)} ^= 1;`);
      }
      case "wait": {
        const parity = step.phase === "current" ? phaseOf(step.at.cursor) : `${phaseOf(step.at.cursor)} ^ 1`;
        return one(undefined, `mbarrier_wait(${this.#barrier(step.barrier, step.at)}, ${parity});`);
      }
      case "arrive":
        return one(this.#who(step.by), `mbarrier_arrive(${this.#barrier(step.barrier, step.at)});`);
      case "expect":
        return one(leader, `mbarrier_expect(${this.#barrier(step.barrier, step.at)}, ${step.bytes});`);
      case "load":
        if (leader === undefined)
          return this.#hooks.load(step, this.place(step.buffer, step.at), this.#barrier(step.barrier, step.at));
        return lines.block(`if (${leader})`, () =>
          this.#hooks.load(step, this.place(step.buffer, step.at), this.#barrier(step.barrier, step.at)),
        );
      case "gather":
        return this.#hooks.gather(step, this.place(step.buffer, step.at));
      case "commit_copies":
        return one(undefined, "cp_async_commit();");
      case "settle_copies":
        return one(undefined, `cp_async_wait<${step.pending}>();`);
      case "fence":
        return one(undefined, "wgmma_fence();");
      case "multiply":
        return this.#hooks.multiply(step);
      case "commit":
        return one(undefined, "wgmma_commit();");
      case "settle": {
        one(undefined, `wgmma_wait<${step.pending}>();`);
        for (const { name, role } of this.#schedule.registers)
          if (role === this.#role.name && (step.done?.includes(name) ?? step.pending === 0))
            lines.add(`wgmma_settled(${name});`);
        return;
      }
      case "compute":
        lines.add(`// ${step.name}${step.why === undefined ? "" : `: ${step.why}`}`);
        return this.#hooks.compute(step);
      case "publish":
        return one(undefined, "fence_async();");
      case "meet":
        return one(undefined, "cluster_sync();");
      case "sync":
      case "signal": {
        const { id, threads, each } = this.#schedule.named.find(({ name }) => name === step.barrier)!;
        const which =
          each === undefined ? String(id) : step.of === "next" ? `${id} + (part + 1) % ${each}` : `${id} + part`;
        return one(
          undefined,
          `named_barrier_${step.kind === "sync" ? "sync" : "arrive"}(${which}, ${threads});${why === "" ? `  // ${step.barrier}` : ""}`,
        );
      }
      case "store":
        return lines.block("if (thread == 0)", () => this.#hooks.store(step, this.place(step.buffer, step.at)));
      case "commit_stores":
        return one("thread == 0", "tma_commit();");
      case "settle_stores":
        return one("thread == 0", `tma_wait_read<${step.pending}>();`);
    }
  }

  #comment({ why }: Step): void {
    if (why !== undefined) this.#lines.add(`// ${why}`);
  }

  #who(by: Arrival): string | undefined {
    if (by === "threads") return undefined;
    if (by === "warps") return "lane == 0";
    return this.#role.threads === "one" ? undefined : "thread == 0";
  }

  #barrier(name: string, at: Slot): string {
    return `&shared.${name}[${this.#index(at)}]`;
  }

  #index({ cursor, back = 0 }: Slot): string {
    const { stages } = this.#schedule.cursors.find(({ name }) => name === cursor)!;
    if (stages === 1) return "0";
    if (back === 0) return cursor;
    if (back === 1) return `${cursor} == 0 ? ${stages - 1} : ${cursor} - 1`;
    return `(${cursor} + ${stages - back}) % ${stages}`;
  }

  /** A stage of a buffer. */
  place(name: string, at?: Slot): string {
    const { each, stages }: SharedBuffer = this.#schedule.buffers.find((buffer) => buffer.name === name)!;
    return `shared.${name}${each === undefined ? "" : "[part]"}${stages === 1 || at === undefined ? "" : `[${this.#index(at)}]`}`;
  }
}

function phaseOf(cursor: string): string {
  return cursor === "stage" ? "phase" : `${cursor}_phase`;
}

function stagesOf(stages: number, cursor: string): string {
  return cursor === "stage" ? "STAGES" : String(stages);
}
