/**
 * What a launch costs beside the work of its kernel: programs of 500 launches, real kernels that do nothing or spin for a
 * given time, on 1 and 2 threads. Prints the median and the best of many calls.
 */
import { rmSync } from "node:fs";
import { type CpuSession, openCpuSession } from "../runtime/device/cpu/session.ts";
import type { LaunchProgram } from "../runtime/program/launch.ts";
import { buffer, kernelPackage, writePrograms } from "../tests/support/kernels.ts";

const LAUNCHES = 500;
const CALLS = 200;

/** Launches of `items` items that take `ns` each. */
function program(items: number, ns: number, launches: number): LaunchProgram {
  return {
    name: `${items} x ${ns} x ${launches}`,
    dims: [],
    buffers: [buffer("temp", "x", "f32", 16)],
    launches: Array.from({ length: launches }, () => ({ kernel: "spin", args: [0], extents: [items, ns] })),
  };
}

/** Microseconds of a call: the median and the least. */
async function time(session: CpuSession, { name }: LaunchProgram): Promise<[number, number]> {
  const times: number[] = [];
  for (let i = 0; i < CALLS; i++) {
    const before = process.hrtime.bigint();
    await session.run({ program: name, sizes: {}, inputs: {} });
    times.push(Number(process.hrtime.bigint() - before) / 1000);
  }
  times.sort((a, b) => a - b);
  return [times[CALLS / 2]!, times[0]!];
}

const directory = await kernelPackage({
  spin: {
    args: 1,
    extents: 2,
    items: "return extents[0];",
    run: `
      if (extents[1] == 0) return;
      for (int64_t i = begin; i < end; ++i) {
        timespec now, then;
        clock_gettime(CLOCK_MONOTONIC, &then);
        do clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - then.tv_sec) * 1000000000 + now.tv_nsec - then.tv_nsec < extents[1]);
      }`,
  },
});
const cases = [
  [1, 0],
  [2, 0],
  [16, 0],
  [1000, 0],
  [2, 2000],
  [16, 500],
  [64, 1000],
] as const;
const programs = cases.map(([items, ns]) => program(items, ns, LAUNCHES));
const empty = program(1, 0, 0);
writePrograms(directory, empty, ...programs);
const column = (text: string | number): string => (typeof text === "number" ? text.toFixed(2) : text).padStart(12);
console.log(["threads", "items", "ns an item", "ideal us", "median us", "best us"].map(column).join(""));
for (const threads of [1, 2]) {
  const session = openCpuSession(directory, { threads });
  const [base, best] = await time(session, empty);
  console.log([String(threads), "no launch", "", "", base, best].map(column).join(""));
  for (const [i, [items, ns]] of cases.entries()) {
    const [median, least] = await time(session, programs[i]!);
    const ideal = (Math.ceil(items / threads) * ns) / 1000;
    const row = [(median - base) / LAUNCHES, (least - best) / LAUNCHES];
    console.log([String(threads), String(items), String(ns), ideal, ...row].map(column).join(""));
  }
  session.close();
}
rmSync(directory, { recursive: true });
