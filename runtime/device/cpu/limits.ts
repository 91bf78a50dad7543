import { readFileSync } from "node:fs";
import { availableParallelism, freemem } from "node:os";
import { join, posix } from "node:path";

/** What this process may use of the machine. `root` stands before `/proc` and `/sys`. */

export interface Available {
  readonly bytes: number;
  /** What sets the bound, as the end of "only N bytes are available ...". */
  readonly bound: string;
}

/** Memory that can be allocated: of the machine, and under the limits of the control groups that this process is in. */
export function availableMemory(root = "/"): Available {
  const free = /^MemAvailable:\s+(\d+) kB/m.exec(read(join(root, "proc/meminfo")) ?? "")?.[1];
  const bounds: Available[] = [
    { bytes: free === undefined ? freemem() : Number(free) * 1024, bound: "on this machine" },
    ...groups(root, "memory").flatMap(memoryOf),
  ];
  return bounds.reduce((least, bound) => (bound.bytes < least.bytes ? bound : least));
}

/** Threads that get a processor each: those that the process may run on, less where a control group's quota gives less time. */
export function availableThreads(root = "/"): number {
  const quotas = groups(root, "cpu").flatMap(quotaOf);
  return Math.max(1, Math.round(Math.min(availableParallelism(), ...quotas)));
}

function memoryOf(group: string): Available[] {
  const limit = number(group, "memory.max") ?? number(group, "memory.limit_in_bytes");
  const used = number(group, "memory.current") ?? number(group, "memory.usage_in_bytes");
  if (limit === undefined || used === undefined) return [];
  // Pages of files that were not used lately go when memory is needed.
  const files = /^(?:total_)?inactive_file (\d+)$/gm;
  const reclaimable = [...(read(join(group, "memory.stat")) ?? "").matchAll(files)].map((m) => Number(m[1]));
  return [
    {
      bytes: Math.max(0, limit - used + Math.max(0, ...reclaimable)),
      bound: "under the memory limit of its control group",
    },
  ];
}

function quotaOf(group: string): number[] {
  const [quota, period] = read(join(group, "cpu.max"))?.split(" ") ?? [
    read(join(group, "cpu.cfs_quota_us")),
    read(join(group, "cpu.cfs_period_us")),
  ];
  const processors = Number(quota) / Number(period);
  // "max", -1 and what is not there are no quota.
  return processors > 0 ? [processors] : [];
}

/** The directories of the control groups of this process and of those around them, of version 1 and 2. */
function groups(root: string, controller: string): string[] {
  const own = new Map<string, string>();
  for (const line of read(join(root, "proc/self/cgroup"))?.split("\n") ?? []) {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (names !== undefined) for (const name of names.split(",")) own.set(name, path!);
  }
  return (read(join(root, "proc/self/mountinfo"))?.split("\n") ?? []).flatMap((line) => {
    const [before, after] = line.split(" - ");
    const [type, , options] = after?.split(" ") ?? [];
    const [, , , top, mount] = before!.split(" ");
    const version1 = type === "cgroup" && options?.split(",").includes(controller);
    const path = own.get(version1 ? controller : "");
    if ((type !== "cgroup2" && !version1) || path === undefined) return [];
    // A container may see its group as the top, and a path that leads elsewhere.
    const below = posix.relative(top!, path);
    const parts = below === "" || below.startsWith("..") ? [] : below.split("/");
    return [...parts.keys(), parts.length].map((n) => join(root, mount!, ...parts.slice(0, n)));
  });
}

function number(group: string, file: string): number | undefined {
  const text = read(join(group, file));
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
