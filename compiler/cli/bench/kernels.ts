/** `dskc bench kernels`: the time of every kernel of a program, against what the machine could do. */
import type { LaunchProfile, ProfilingSession } from "../../../runtime/device/session.ts";
import { planArena } from "../../../runtime/program/arena.ts";
import type { LaunchProgram } from "../../../runtime/program/launch.ts";
import { programCost } from "../../kernel-ir/cost.ts";
import type { Kernel } from "../../kernel-ir/types.ts";
import type { DrawnCall } from "./calls.ts";
import type { Machine, MeasureMachine } from "./machine.ts";
import { median } from "./statistics.ts";

export interface KernelRow {
  readonly kernel: string;
  readonly family: Kernel["family"];
  /** In one call. */
  readonly launches: number;
  readonly milliseconds: number;
  readonly flops: number;
  readonly bytes: number;
  /** Of all kernels together. */
  readonly shareOfTime: number;
  /** The least time that its operations or its bytes take on this machine, of the time that it took. */
  readonly shareOfPeak: number;
  /** Which of the two takes longer. */
  readonly bound: "compute" | "memory";
}

export interface KernelsReport {
  readonly program: string;
  readonly tokens: number;
  readonly machine: Machine;
  readonly calls: number;
  /** Of a call, as a caller sees it. */
  readonly milliseconds: number;
  readonly tokensPerSecond: number;
  readonly kernels: readonly KernelRow[];
}

/** Runs a program for about so many seconds. The session must profile. */
export async function benchKernels(
  session: ProfilingSession,
  program: LaunchProgram,
  kernels: readonly Kernel[],
  { call, tokens, seen }: DrawnCall,
  { seconds, measure }: { readonly seconds: number; readonly measure: MeasureMachine },
): Promise<KernelsReport> {
  const walls: number[] = [];
  const times: number[][] = program.launches.map(() => []);
  let before = await profiled(session, call, program.name);
  const end = performance.now() + 1000 * seconds;
  do {
    const started = performance.now();
    const after = await profiled(session, call, program.name);
    walls.push(performance.now() - started);
    after.forEach((launch, i) => times[i]!.push(launch.nanoseconds - before[i]!.nanoseconds));
    before = after;
  } while (performance.now() < end || walls.length < 3);
  const { storeBytes } = session.memory();
  const machine = await measure(storeBytes + planArena(program, call.sizes).bytes);
  const costs = programCost(program, kernels, call.sizes, { seen });
  const launches = program.launches.map(({ kernel }, i) => ({ kernel, nanoseconds: median(times[i]!), ...costs[i]! }));
  const milliseconds = median(walls);
  return {
    program: program.name,
    tokens,
    machine,
    calls: walls.length,
    milliseconds,
    tokensPerSecond: (1000 * tokens) / milliseconds,
    kernels: rowsOf(launches, kernels, machine),
  };
}

async function profiled(session: ProfilingSession, call: DrawnCall["call"], program: string): Promise<LaunchProfile[]> {
  await session.run({ ...call, outputs: [] });
  return session.profile().filter((launch) => launch.program === program);
}

interface TimedLaunch {
  readonly kernel: string;
  readonly nanoseconds: number;
  readonly flops: number;
  readonly bytes: number;
}

/** Kernels by the time that all their launches take, the longest first. */
export function rowsOf(
  launches: readonly TimedLaunch[],
  kernels: readonly Kernel[],
  machine: Pick<Machine, "flops" | "read">,
): KernelRow[] {
  const families = new Map(kernels.map(({ name, family }) => [name, family]));
  const all = launches.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
  const rows = [...grouped(launches)].map(([kernel, own]): KernelRow => {
    const sum = (of: "nanoseconds" | "flops" | "bytes"): number => own.reduce((total, launch) => total + launch[of], 0);
    const [nanoseconds, flops, bytes] = [sum("nanoseconds"), sum("flops"), sum("bytes")];
    const [compute, memory] = [flops / machine.flops, bytes / machine.read.bytesPerSecond];
    return {
      kernel,
      family: families.get(kernel)!,
      launches: own.length,
      milliseconds: nanoseconds / 1e6,
      flops,
      bytes,
      shareOfTime: nanoseconds / all,
      shareOfPeak: Math.max(compute, memory) / (nanoseconds / 1e9),
      bound: compute > memory ? "compute" : "memory",
    };
  });
  return rows.toSorted((a, b) => b.milliseconds - a.milliseconds);
}

function grouped(launches: readonly TimedLaunch[]): Map<string, TimedLaunch[]> {
  const groups = new Map<string, TimedLaunch[]>();
  for (const launch of launches) groups.set(launch.kernel, [...(groups.get(launch.kernel) ?? []), launch]);
  return groups;
}
