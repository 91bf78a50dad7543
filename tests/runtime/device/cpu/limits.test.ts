import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { availableMemory, availableThreads } from "../../../../runtime/device/cpu/limits.ts";

/** Trees of files as the kernel shows them to processes in containers. */
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dskc-limits-"));
});
afterEach(() => rmSync(root, { recursive: true }));

function files(texts: Readonly<Record<string, string | number>>): void {
  for (const [path, text] of Object.entries(texts)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  }
}

const MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB";
const V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
const V1 = ["cpu,cpuacct", "memory"]
  .map((names) => `40 30 0:35 / /sys/fs/cgroup/${names} rw,nosuid shared:9 - cgroup cgroup rw,${names}`)
  .join("\n");

describe("memory", () => {
  test("without control groups it is that of the machine", () => {
    files({ "proc/meminfo": MEMINFO });
    expect(availableMemory(root)).toEqual({ bytes: 8_192_000_000, bound: "on this machine" });
  });

  test("version 2: the least of the group and those around it, with files that can go", () => {
    files({
      "proc/meminfo": MEMINFO,
      "proc/self/mountinfo": V2,
      "proc/self/cgroup": "0::/a/b",
      "sys/fs/cgroup/a/memory.max": 5_000_000,
      "sys/fs/cgroup/a/memory.current": 3_000_000,
      "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 500000\nactive_file 7",
      "sys/fs/cgroup/a/b/memory.max": "max",
      "sys/fs/cgroup/a/b/memory.current": 1,
    });
    expect(availableMemory(root)).toEqual({ bytes: 2_500_000, bound: "under the memory limit of its control group" });
    files({ "sys/fs/cgroup/a/b/memory.max": 1_000_001 });
    expect(availableMemory(root).bytes).toBe(1_000_000);
    files({ "sys/fs/cgroup/a/b/memory.current": 2_000_000 });
    expect(availableMemory(root).bytes).toBe(0);
  });

  test("version 1, seen from within a container: the group is the top of the mount", () => {
    files({
      "proc/meminfo": MEMINFO,
      "proc/self/mountinfo": V1.replaceAll(" / /sys", " /docker/abc /sys"),
      "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": 1_000_000,
      "sys/fs/cgroup/memory/memory.usage_in_bytes": 400_000,
      "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100000",
    });
    expect(availableMemory(root).bytes).toBe(700_000);
  });

  test("a path that the mount does not show leads to its top", () => {
    files({
      "proc/meminfo": MEMINFO,
      "proc/self/mountinfo": V2.replace(" / /sys", " /other /sys"),
      "proc/self/cgroup": "0::/elsewhere/x",
      "sys/fs/cgroup/memory.max": 900,
      "sys/fs/cgroup/memory.current": 100,
    });
    expect(availableMemory(root).bytes).toBe(800);
  });

  test("the limit of version 1 that means none is none", () => {
    files({
      "proc/meminfo": MEMINFO,
      "proc/self/mountinfo": V1,
      "proc/self/cgroup": "5:memory:/",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
      "sys/fs/cgroup/memory/memory.usage_in_bytes": 400_000,
    });
    expect(availableMemory(root).bound).toBe("on this machine");
  });

  test("this machine says something", () => {
    expect(availableMemory().bytes).toBeGreaterThan(0);
  });
});

describe("threads", () => {
  const all = availableParallelism();

  test("as many as processors that the process may run on", () => {
    expect(availableThreads(root)).toBe(all);
  });

  test.each([
    ["max 100000", all],
    ["400000000 100000", all],
    ["100000 100000", 1],
    ["140000 100000", 1],
    ["160000 100000", Math.min(all, 2)],
    ["20000 100000", 1],
  ])("version 2: %s", (quota, threads) => {
    files({
      "proc/self/mountinfo": V2,
      "proc/self/cgroup": "0::/a",
      "sys/fs/cgroup/cpu.max": "max 100000",
      "sys/fs/cgroup/a/cpu.max": quota,
    });
    expect(availableThreads(root)).toBe(threads);
  });

  test.each([
    [-1, all],
    [50_000, 1],
    [1_000_000_000, all],
  ])("version 1: %i", (quota, threads) => {
    files({
      "proc/self/mountinfo": V1,
      "proc/self/cgroup": "3:cpu,cpuacct:/a/b",
      "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": quota,
      "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": 50_000,
    });
    expect(availableThreads(root)).toBe(threads);
  });
});
