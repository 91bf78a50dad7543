/** What this machine can do at best, measured like kernels: on the same threads, compiled with the same flags. */
import { openCpuSession } from "../../../runtime/device/cpu/session.ts";
import { availableThreads } from "../../../runtime/device/cpu/limits.ts";
import { addon } from "../../../runtime/native/addon.ts";
import { PEAK_UNIT, peakFiles } from "../../targets/cpu/peak.ts";
import { packageInCache } from "../open-session.ts";

export interface Machine {
  /** The variant of kernels, `x86-64-v3`, or the name of a GPU. */
  readonly variant: string;
  /** Of a processor. */
  readonly threads?: number;
  /** Operations in a second, of fused multiply-adds in registers; two each. */
  readonly flops: number;
  readonly read: {
    /** So many bytes, again and again: what fits into caches is faster. */
    readonly bytes: number;
    readonly bytesPerSecond: number;
  };
}

/** Measures what a session runs on; `bytes` is how many the model has. */
export type MeasureMachine = (bytes: number) => Promise<Machine>;

const ROUNDS = 15;
const LEAST_BYTES = 1 << 20;
const MOST_BYTES = 1 << 28;

/** @param bytes how many the model has: their bandwidth is what its kernels can have at best */
export async function measureMachine(bytes: number, threads = availableThreads()): Promise<Machine> {
  const items = 16 * threads;
  const unit = items * PEAK_UNIT;
  const wanted = Math.min(MOST_BYTES, Math.max(LEAST_BYTES, bytes));
  const elements = Math.ceil(wanted / 4 / unit) * unit;
  const session = openCpuSession(await packageInCache(peakFiles(elements)), { threads });
  try {
    // Pages that nobody wrote are all the same one.
    session.write("data", new Float32Array(elements).fill(0.5));
    const best = async (program: string, sizes: Record<string, number>, work: number): Promise<number> => {
      const rates: number[] = [];
      const inputs = { in: Float32Array.of(0.999, 0.001) };
      for (let round = 0; round <= ROUNDS; round++) {
        const started = performance.now();
        await session.run({ program, sizes, inputs });
        // The first round wakes threads and clocks.
        if (round > 0) rates.push((1000 * work) / (performance.now() - started));
      }
      return Math.max(...rates);
    };
    // A few milliseconds each: long against a launch, short against whatever else the machine does.
    const flops = PEAK_UNIT * 100_000;
    const times = Math.max(1, Math.round((1 << 27) / (4 * elements)));
    return {
      variant: addon().isa(),
      threads,
      flops: await best("multiply_add", { items, flops }, items * flops),
      read: {
        bytes: 4 * elements,
        bytesPerSecond: await best("read", { items, elements, times }, 4 * elements * times),
      },
    };
  } finally {
    session.close();
  }
}
