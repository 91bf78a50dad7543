/** Runs a whole model on the GPU: fills its params there, makes some calls, and one more that takes the time of each launch. */
import { cacheRowsFor } from "../../compiler/cli/bench/calls.ts";
import { median } from "../../compiler/cli/bench/statistics.ts";
import { type CudaSession, openCudaSession } from "../../runtime/device/cuda/session.ts";
import { type LaunchProfile, MemoryError } from "../../runtime/device/session.ts";
import { directoryOf } from "./directory.ts";
import { type Size, type Whole, wholePackage, workOf } from "./v2lite.ts";

export interface KernelTime {
  readonly kernel: string;
  readonly launches: number;
  readonly us: number;
}

export interface WholeTimes {
  readonly gpu: string;
  readonly layers: number;
  /** Of a call, as its caller sees it. */
  readonly us: number;
  readonly tokens: number;
  readonly flops: number;
  readonly bytes: number;
  /** The longest first. */
  readonly kernels: readonly KernelTime[];
  /** What more layers would have needed. */
  readonly refused: readonly string[];
}

/** Calls that are timed, behind two that allocate and make graphs. */
const CALLS = { decode: 10, train: 2 } as const;

/** @throws MemoryError when no number of layers fits, with what the last one needs */
export async function runWhole(one: Whole, tiny: boolean): Promise<WholeTimes> {
  const made = wholePackage(one.kind, tiny);
  const directory = await directoryOf(made.files);
  const refused: string[] = [];
  for (const size of made.sizes) {
    try {
      return { ...(await runSize(one, size, directory)), refused };
    } catch (error) {
      if (!(error instanceof MemoryError) || size === made.sizes.at(-1)) throw error;
      refused.push(`${size.layers} layers: ${error.message}`);
    }
  }
  throw new Error("there are no sizes");
}

async function runSize(one: Whole, size: Size, directory: string): Promise<Omit<WholeTimes, "refused">> {
  const work = workOf(one, size);
  const call = { ...work.call, outputs: [] };
  const { program, names, layers } = size;
  const withSession = async <T>(profile: boolean, use: (session: CudaSession) => Promise<T>): Promise<T> => {
    const cacheRows = one.kind === "decode" ? cacheRowsFor(one) : 1;
    const programs = { [program.name]: names.program, fill: names.fill };
    const session = await openCudaSession(directory, { programs, cacheRows, profile });
    try {
      session.reserve!(program.name, call.sizes);
      await session.run({ program: "fill", sizes: {}, inputs: {} });
      for (let i = 0; i < 2; i++) await session.run(call);
      return await use(session);
    } finally {
      session.close();
    }
  };
  const [gpu, us] = await withSession(false, async (session) => {
    const times: number[] = [];
    for (let i = 0; i < CALLS[one.kind]; i++) {
      const start = performance.now();
      await session.run(call);
      times.push(1000 * (performance.now() - start));
    }
    return [session.gpu.name, median(times)] as const;
  });
  const kernels = await withSession(true, async (session) => {
    const launches = (): LaunchProfile[] => session.profile().filter((launch) => launch.program === program.name);
    const before = launches();
    await session.run(call);
    return kernelTimes(before, launches());
  });
  return { gpu, layers, us, tokens: work.tokens, flops: work.flops, bytes: work.bytes, kernels };
}

function kernelTimes(before: readonly LaunchProfile[], after: readonly LaunchProfile[]): KernelTime[] {
  const found = new Map<string, KernelTime>();
  for (const [i, { kernel, nanoseconds }] of after.entries()) {
    const { launches, us } = found.get(kernel) ?? { launches: 0, us: 0 };
    const own = (nanoseconds - before[i]!.nanoseconds) / 1000;
    found.set(kernel, { kernel, launches: launches + 1, us: us + own });
  }
  return [...found.values()].toSorted((a, b) => b.us - a.us);
}
