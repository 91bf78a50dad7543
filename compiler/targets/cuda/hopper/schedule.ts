/**
 * Schedules as data: what each warpgroup of a kernel does, step by step. The same list is printed as code (print-schedule.ts)
 * and run by a checker (check-schedule.ts), so what was checked is what the device gets. docs/hopper.md says how to read one.
 */

/** The steps of a kernel's warpgroups and what they share. */
export interface Schedule {
  readonly name: string;
  /** Places in rings: each warpgroup has its own stage and phase of each. */
  readonly cursors: readonly Cursor[];
  readonly barriers: readonly EventBarrier[];
  readonly named: readonly NamedBarrier[];
  readonly buffers: readonly SharedBuffer[];
  readonly registers: readonly RegisterArray[];
  /** The first warpgroups run the first role. */
  readonly roles: readonly Role[];
  /** Blocks that run it together and write to each other's shared memory; `{rank}` of labels is which one a block is. */
  readonly cluster?: number;
  /** What every part of a role leaves in memory, for all values of these counters, exactly once. */
  readonly results: readonly { readonly role: string; readonly over: readonly Count[]; readonly label: string }[];
}

export interface Count {
  readonly counter: string;
  /** The name of how often: a constant or a variable of the kernel. */
  readonly count: string;
}

/** Goes round `stages` places; its phase changes each time it comes back to the first. */
export interface Cursor {
  readonly name: string;
  readonly stages: number;
}

/** An mbarrier for each stage: `arrivals` end a phase, once all bytes that were announced are there. */
export interface EventBarrier {
  readonly name: string;
  readonly stages: number;
  readonly arrivals: number;
  /** What has happened when a phase is over. */
  readonly event: string;
}

/** A barrier in hardware for so many threads; `each`: every part of a role has one of its own, with numbers from `id` on. */
export interface NamedBarrier {
  readonly name: string;
  readonly id: number;
  readonly threads: number;
  readonly each?: number;
}

export interface SharedBuffer {
  readonly name: string;
  readonly stages: number;
  /** Of one stage. */
  readonly bytes: number;
  /** Every part of a role has one of its own: how many. */
  readonly each?: number;
  /** It lies where these do, from the first of them on: what they hold is gone when it is written. */
  readonly over?: readonly string[];
  readonly holds: string;
}

/** Registers of each thread of a role: sums of products, or an operand. */
export interface RegisterArray {
  readonly name: string;
  readonly role: string;
  /** 32-bit registers of a thread. */
  readonly count: number;
}

export interface Role {
  readonly name: string;
  /** Warpgroups that run the steps; each knows which part it is. */
  readonly warpgroups: number;
  /** `one`: a single thread runs the steps, `warp`: the first warp; the others have nothing to do. */
  readonly threads: "one" | "warp" | "all";
  /** Registers of a thread (setmaxnreg), a multiple of 8. */
  readonly registers: number;
  readonly steps: readonly Step[];
}

/** The stage of a cursor, or the one that it was at so many steps ago. */
export interface Slot {
  readonly cursor: string;
  readonly back?: number;
}

/** A step runs only in these turns of a loop. */
export interface When {
  readonly counter: string;
  readonly from: number;
}

/**
 * Labels say what memory holds: `a[{tile},{k_block}]` with the values of counters, `{k_block-1}` of the turn before (`+1`: behind), `{part}` the
 * warpgroup of the role. The checker carries them from loads through products to the results.
 */
export type Label = string;

/** What registers must hold: a term for every value of a counter, one label, or several of these. */
export type Expected = Label | Terms | readonly (Label | Terms)[];

export interface Terms {
  readonly counter: string;
  readonly count: string;
  readonly term: Label;
}

export type Operand =
  | { readonly buffer: string; readonly at?: Slot; readonly holds?: Label }
  | { readonly registers: string };

/** Sums start in the turn `at` of a loop, its first one (0) where that is not said. */
export interface Clears {
  readonly counter: string;
  readonly at?: number;
}

export type Step = Plain & {
  readonly when?: When;
  /** Only this warpgroup of the role takes it. */
  readonly part?: number;
  /** Why it stands here: the comment beside it. */
  readonly why?: string;
};

type Plain =
  /**
   * `unrolled`: the compiler sees every turn, as constant indices of registers want it. `from`: the turns before stand in front of
   * the loop; where no other one follows, the counter is that of the last of them.
   */
  | ({
      readonly kind: "loop";
      readonly unrolled?: boolean;
      readonly from?: number;
      readonly body: readonly Step[];
    } & Count)
  /** To the next stage. */
  | { readonly kind: "advance"; readonly cursor: string }
  /** Until the phase that the cursor is in is over (`current`), or the one before it (`previous`). */
  | { readonly kind: "wait"; readonly barrier: string; readonly at: Slot; readonly phase: "current" | "previous" }
  /** One arrival of the warpgroup's first thread, of each warp, or of each thread. */
  | { readonly kind: "arrive"; readonly barrier: string; readonly at: Slot; readonly by: Arrival }
  /** The first thread arrives and announces bytes. */
  | { readonly kind: "expect"; readonly barrier: string; readonly at: Slot; readonly bytes: number }
  /** The first thread asks the copy engine for a part of a buffer; its bytes count on the barrier. */
  | {
      readonly kind: "load";
      readonly buffer: string;
      readonly at: Slot;
      readonly barrier: string;
      readonly bytes: number;
      readonly holds: Label;
    }
  /** All threads start copies of their own (cp.async) into a buffer; `reads`: where from, as registers say. */
  | {
      readonly kind: "gather";
      readonly buffer: string;
      readonly at?: Slot;
      readonly reads?: readonly { readonly registers: string; readonly holds: Expected }[];
      readonly holds: Label;
    }
  | { readonly kind: "commit_copies" }
  | { readonly kind: "settle_copies"; readonly pending: number }
  /** wgmma.fence: registers that were touched may be summed into. */
  | { readonly kind: "fence" }
  /** `into += a * b`, or `=` where `clears` says so. */
  | {
      readonly kind: "multiply";
      readonly a: Operand;
      readonly b: Operand;
      readonly into: string;
      readonly clears: "always" | "never" | Clears;
    }
  | { readonly kind: "commit" }
  /** Until all but the last `pending` groups of products are done; `done`: registers that are read behind it while others go on. */
  | { readonly kind: "settle"; readonly pending: number; readonly done?: readonly string[] }
  /** The threads compute: with registers, and with memory that they share. */
  | {
      readonly kind: "compute";
      readonly name: string;
      readonly reads?: readonly { readonly registers: string; readonly holds: Expected }[];
      readonly loads?: readonly { readonly buffer: string; readonly at?: Slot; readonly holds: Label }[];
      /** Registers that are scaled where they are: they hold the same sums. */
      readonly touches?: readonly string[];
      /** Sums that begin anew, with no terms. */
      readonly zeroes?: readonly string[];
      /** Registers whose sums are added to others'. */
      readonly adds?: { readonly from: string; readonly into: string };
      readonly writes?: readonly (
        | { readonly registers: string; readonly holds: Label }
        | { readonly buffer: string; readonly at?: Slot; readonly holds: Label }
      )[];
      /** What it writes to shared memory of each block of the cluster: `{to}` is which one. */
      readonly sends?: readonly { readonly buffer: string; readonly at?: Slot; readonly holds: Label }[];
      /** What it stores to memory by itself. */
      readonly gives?: Label;
    }
  /** fence.proxy.async: what this thread wrote is seen by copies and products. */
  | { readonly kind: "publish" }
  /** Waits at a named barrier; of its own part's, or the next part's. */
  | { readonly kind: "sync"; readonly barrier: string; readonly of?: "own" | "next" }
  /** Until all threads of the cluster are here: those of a role, too, that have nothing else to do. */
  | { readonly kind: "meet" }
  /** Comes to a named barrier and goes on. */
  | { readonly kind: "signal"; readonly barrier: string; readonly of?: "own" | "next" }
  /** The first thread asks the copy engine to store a buffer. */
  | {
      readonly kind: "store";
      readonly buffer: string;
      readonly at?: Slot;
      readonly holds: Label;
      readonly gives?: Label;
      readonly adds?: boolean;
    }
  | { readonly kind: "commit_stores" }
  /** Until all but the last `pending` groups of stores have read their buffers. */
  | { readonly kind: "settle_stores"; readonly pending: number };

export type Arrival = "thread" | "warps" | "threads";

/** Bytes of shared memory that one block may have. */
export const SHARED_BYTES = 232_448;
/** Registers of a block. */
export const REGISTERS = 65_536;

export const WARPGROUP = 128;

/** Registers of a thread when a kernel starts, with one block on a multiprocessor. */
export function registersAtStart(threads: number): number {
  return Math.min(255, Math.floor(REGISTERS / threads / 8) * 8);
}

export function threadsOf({ roles }: Schedule): number {
  return roles.reduce((n, { warpgroups }) => n + warpgroups * WARPGROUP, 0);
}

/** Buffers one behind the other, swizzled tiles at multiples of 1024 bytes, then the barriers; some lie over others. */
export function sharedBytes({ buffers, barriers }: Schedule): number {
  const up = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;
  const data = buffers.reduce(
    (n, { bytes, stages, each = 1, over }) =>
      over === undefined ? up(n, bytes % 1024 === 0 ? 1024 : 8) + bytes * stages * each : n,
    0,
  );
  return up(up(data, 8) + barriers.reduce((n, { stages }) => n + 8 * stages, 0), 1024);
}

/** Calls `visit` for each step, those of loops behind the loop. */
export function walkSteps(steps: readonly Step[], visit: (step: Step) => void): void {
  for (const step of steps) {
    visit(step);
    if (step.kind === "loop") walkSteps(step.body, visit);
  }
}
