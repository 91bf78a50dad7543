import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ValidationEvent } from "../../../runtime/train/events.ts";
import { lock, LockedError } from "../../../runtime/train/lock.ts";
import { MetricsLog, readMetrics } from "../../../runtime/train/metrics-log.ts";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "dskc-files-"))));
afterEach(() => rmSync(folder, { recursive: true }));

describe("metrics.jsonl", () => {
  const event = (step: number): ValidationEvent => ({
    event: "validation",
    step,
    tokens: 10 * step,
    loss: 1 / step,
    scored: 8,
    seconds: 0.5,
  });
  const write = (path: string, upTo: number, ...steps: readonly number[]): void => {
    const log = new MetricsLog(path, upTo);
    for (const step of steps) log.append(event(step));
    log.sync();
    log.close();
  };

  test("is appended to, without the lines of later steps and the half of one", () => {
    const path = join(folder, "metrics.jsonl");
    write(path, -1, 1, 2, 3, 4);
    appendFileSync(path, '{"event":"valid');
    expect([...readMetrics(path)].map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    write(path, 3, 7);
    expect([...readMetrics(path)]).toEqual([1, 2, 3, 7].map(event));
    expect(readFileSync(path, "utf8").endsWith("\n")).toBe(true);
    write(path, 99, 8);
    expect([...readMetrics(path)].map(({ step }) => step)).toEqual([1, 2, 3, 7, 8]);
  });

  test("starts anew when nothing was saved", () => {
    const path = join(folder, "metrics.jsonl");
    write(path, -1, 1, 2);
    write(path, -1, 5);
    expect([...readMetrics(path)].map(({ step }) => step)).toEqual([5]);
  });
});

describe("lock", () => {
  const path = (): string => join(folder, "lock");
  const hold = (holder: unknown): void => writeFileSync(path(), JSON.stringify(holder));

  test("is there while it is held", () => {
    const unlock = lock(path());
    expect(JSON.parse(readFileSync(path(), "utf8"))).toMatchObject({ host: hostname(), pid: process.pid });
    unlock();
    expect(existsSync(path())).toBe(false);
  });

  test("of a process that runs holds others off", () => {
    const stat = readFileSync(`/proc/${process.ppid}/stat`, "utf8");
    const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    hold({ host: hostname(), pid: process.ppid, started });
    expect(() => lock(path())).toThrow(LockedError);
    expect(() => lock(path())).toThrow(`process ${process.ppid} is training in this folder`);
  });

  test("of a process on another machine as well", () => {
    hold({ host: "elsewhere", pid: 1, started: null });
    expect(() => lock(path())).toThrow("process 1 on elsewhere");
  });

  test.for<[string, unknown]>([
    ["gone", { host: hostname(), pid: 2 ** 22 + 1, started: "1" }],
    ["another one with the same number by now", { host: hostname(), pid: process.ppid, started: "1" }],
    ["not written to the end", "{"],
  ])("of a process that is %s is taken over", ([, holder]) => {
    hold(holder);
    lock(path())();
    expect(existsSync(path())).toBe(false);
  });
});
