import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type CpuOptions, type CpuSession, openCpuSession } from "../../../../runtime/device/cpu/session.ts";
import { addon } from "../../../../runtime/native/addon.ts";
import type { LaunchProgram } from "../../../../runtime/program/launch.ts";
import { type CpuVariant, libraryOf } from "../../../../runtime/program/variants.ts";
import { buffer, kernelPackage, writePrograms } from "../../../support/kernels.ts";
import { KERNELS } from "./kernels.ts";

let directory: string;
const sessions: CpuSession[] = [];

beforeAll(async () => {
  directory = await kernelPackage(KERNELS);
});
afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Counts, then sleeps `launches` times, then counts again. */
function sleeper(launches: number): LaunchProgram {
  return {
    name: "sleep",
    dims: [],
    buffers: [
      buffer("input", "ms", "i32", 1),
      buffer("temp", "done", "f32", 1),
      buffer("state", "begun", "f32", 1),
      buffer("state", "ended", "f32", 1),
      buffer("output", "out", "f32", 1),
    ],
    launches: [
      { kernel: "count", args: [2, 1], extents: [] },
      ...Array.from({ length: launches }, () => ({ kernel: "sleep", args: [0, 1], extents: [] })),
      { kernel: "count", args: [3, 4], extents: [] },
    ],
  };
}

function open(launches = 100, options: CpuOptions = {}): CpuSession {
  writePrograms(directory, sleeper(launches));
  const session = openCpuSession(directory, options);
  sessions.push(session);
  return session;
}

const sleep = (ms: number) => ({ program: "sleep", sizes: {}, inputs: { ms: Int32Array.of(ms) } });
const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** How many calls began and how many came to their end. */
function counted(session: CpuSession): [number, number] {
  return [session.read("begun")[0]!, session.read("ended")[0]!];
}

describe("cancelling", () => {
  test("ends a call between its launches, with the signal's reason; the session goes on", async () => {
    const session = open();
    const control = new AbortController();
    const start = performance.now();
    const call = session.run(sleep(100), control.signal);
    setTimeout(() => control.abort(new Error("enough")), 200);
    await expect(call).rejects.toThrow("enough");
    // All of it would take ten seconds.
    expect(performance.now() - start).toBeLessThan(8000);
    const [begun, ended] = counted(session);
    expect(ended).toBe(0);
    expect(await session.run(sleep(0))).toEqual({ out: Float32Array.of(1) });
    expect(counted(session)).toEqual([begun + 1, 1]);
  });

  test("takes a call out of the queue at once", async () => {
    const session = open();
    const [first, second] = [new AbortController(), new AbortController()];
    const running = session.run(sleep(10), first.signal);
    const waiting = session.run(sleep(0), second.signal);
    const last = session.run(sleep(0));
    second.abort();
    await expect(waiting).rejects.toThrow("aborted");
    first.abort();
    await expect(running).rejects.toThrow("aborted");
    expect(await last).toEqual({ out: Float32Array.of(1) });
    const [begun, ended] = counted(session);
    // The first may not have begun either.
    expect([begun <= 2, ended]).toEqual([true, 1]);
  });

  test("a signal that was raised before keeps a call from being made; one that is raised later does nothing", async () => {
    const session = open(1);
    await expect(session.run(sleep(0), AbortSignal.abort(new Error("never")))).rejects.toThrow("never");
    const control = new AbortController();
    await session.run(sleep(0), control.signal);
    control.abort();
    expect(counted(session)).toEqual([1, 1]);
  });
});

describe("a call", () => {
  test("keeps neither the event loop nor the pool of libuv busy", async () => {
    // More than libuv has threads; each call takes a second.
    const control = new AbortController();
    const busy = Array.from({ length: 6 }, () => open(10).run(sleep(100), control.signal));
    let ended = 0;
    for (const call of busy) call.catch(() => undefined).finally(() => ended++);
    for (let i = 0; i < 5; i++) {
      await after(1);
      await readFile(join(directory, "program.json"));
    }
    expect(ended).toBe(0);
    control.abort();
    expect(await Promise.allSettled(busy)).toHaveLength(6);
  });

  test("keeps params and states to itself", async () => {
    const session = open(5);
    const call = session.run(sleep(5));
    expect(() => session.read("begun")).toThrow("while calls are under way");
    expect(() => session.write("begun", Float32Array.of(1))).toThrow("while calls are under way");
    await call;
    session.write("begun", Float32Array.of(7));
    expect(session.read("begun")).toEqual(Float32Array.of(7));
  });
});

describe("closing", () => {
  test("ends calls that run and wait; nothing is called any more", async () => {
    const session = open();
    const calls = [session.run(sleep(10)), session.run(sleep(10)), session.run(sleep(10))];
    await after(30);
    session.close();
    session.close();
    for (const call of calls) await expect(call).rejects.toThrow("the session was closed");
    await expect(session.run(sleep(0))).rejects.toThrow("the session is closed");
    expect(() => session.read("begun")).toThrow("the session is closed");
    expect(() => session.memory()).toThrow("the session is closed");
  });

  test("gives the memory back when the last launch is over", async () => {
    const program: LaunchProgram = {
      name: "large",
      dims: [],
      buffers: [buffer("cache", "c", "f32", 1 << 20), buffer("param", "p", "f32", 1 << 20)],
      launches: [],
    };
    const before = addon().untouchedBytes();
    writePrograms(directory, program);
    const session = openCpuSession(directory, { cacheRows: 64 });
    await session.run({ program: "large", sizes: {}, inputs: {} });
    expect(addon().untouchedBytes() - before).toBeGreaterThanOrEqual(65 << 22);
    session.close();
    for (let i = 0; i < 100 && addon().untouchedBytes() > before; i++) await after(10);
    expect(addon().untouchedBytes()).toBeLessThanOrEqual(before);
  });
});

describe("several sessions", () => {
  test("run at the same time, each call with its own result", async () => {
    const chain: LaunchProgram = {
      name: "chain",
      dims: ["T"],
      buffers: [
        buffer("input", "a", "f32", 1),
        buffer("input", "x", "f32", "T"),
        buffer("temp", "t", "f32", "T"),
        buffer("output", "out", "f32", "T"),
      ],
      launches: Array.from({ length: 101 }, (_, i) => ({
        kernel: "axpy",
        args: [0, i === 0 ? 1 : i % 2 ? 2 : 3, 1, i % 2 ? 3 : 2],
        extents: ["T"],
      })).concat({ kernel: "axpy", args: [0, 2, 1, 3], extents: ["T"] }),
    };
    writePrograms(directory, chain);
    const several = [1, 2, 3, 2].map((threads) => openCpuSession(directory, { threads }));
    sessions.push(...several);
    const calls = Array.from({ length: 200 }, async (_, i) => {
      const x = new Float32Array(300 + i).fill(i);
      const { out } = await several[i % 4]!.run({
        program: "chain",
        sizes: { T: x.length },
        inputs: { a: Float32Array.of(1), x },
      });
      expect(out).toEqual(new Float32Array(300 + i).fill(103 * i));
    });
    await Promise.all(calls);
  });
});

/** Code that opens the sleeper with the addon itself, without TypeScript. */
const PLAIN = `
const { Session, isa } = require(addonPath);
const session = new Session({ library, programs, mappings: [], cacheRows: 1, threads: 2, profile: false });
let id = 0;
const run = (ms) => session.run(id++, 0, new Float64Array(0), new Float64Array(5).fill(0), 64,
  Float64Array.of(0), [Int32Array.of(ms)], Float64Array.of(4), [new Float32Array(1)]);
`;

function plain(launches: number): { addonPath: string; library: string; programs: LaunchProgram[] } {
  const library = join(directory, libraryOf(addon().isa() as CpuVariant));
  return { addonPath: resolve("dist/dskc.node"), library, programs: [sleeper(launches)] };
}

describe("threads and processes of Node", () => {
  test("workers load the addon, and may be ended while a program runs", async () => {
    const code = `
      const { parentPort, workerData: { addonPath, library, programs } } = require("node:worker_threads");
      ${PLAIN}
      run(0).then((done) => { parentPort.postMessage(done); run(100); run(100); });
    `;
    for (let round = 0; round < 3; round++) {
      const workers = [0, 1].map(() => new Worker(code, { eval: true, workerData: plain(100) }));
      await Promise.all(
        workers.map(
          (worker) =>
            new Promise<void>((resolve, reject) => {
              worker.once("error", reject);
              worker.once("message", (done) => (done === true ? resolve() : reject(new Error("not done"))));
            }),
        ),
      );
      await after(30);
      const start = performance.now();
      await Promise.all(workers.map((worker) => worker.terminate()));
      // Not the twenty seconds that both calls would take.
      expect(performance.now() - start).toBeLessThan(10_000);
    }
    const session = open(1);
    expect(await session.run(sleep(0))).toEqual({ out: Float32Array.of(1) });
  });

  test("workers may be ended while results and errors are on their way", async () => {
    const code = `
      const { parentPort, workerData: { addonPath, library, programs } } = require("node:worker_threads");
      ${PLAIN}
      const again = () => {
        try { session.read("nothing", new Float32Array(1)); } catch {}
        return run(0).then(again);
      };
      for (let i = 0; i < 20; i++) again();
      parentPort.postMessage("begun");
    `;
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(code, { eval: true, workerData: plain(3) });
      await new Promise((resolve) => worker.once("message", resolve));
      await after(round);
      await worker.terminate();
    }
    expect(await open(1).run(sleep(0))).toEqual({ out: Float32Array.of(1) });
  });

  const script = async (body: string): Promise<string> => {
    const given = Object.entries(plain(20)).map(([name, value]) => `const ${name} = ${JSON.stringify(value)};`);
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", `${given.join("")}${PLAIN}${body}`]);
    return stdout;
  };

  test("a process may end while a program runs", async () => {
    expect(await script(`run(50); setTimeout(() => { console.log("bye"); process.exit(0); }, 30);`)).toBe("bye\n");
  });

  test("a process that awaits a call waits for it; a session that does nothing keeps none alive", async () => {
    expect(await script(`run(1).then((done) => console.log(done));`)).toBe("true\n");
    expect(await script(`console.log("end");`)).toBe("end\n");
  });

  test("a session that nobody knows any more finishes its calls", async () => {
    const body = `
      const { setFlagsFromString } = require("node:v8");
      setFlagsFromString("--expose-gc");
      const gc = require("node:vm").runInNewContext("gc");
      (() => {
        for (let i = 0; i < 20; i++) {
          const other = new Session({ library, programs, mappings: [], cacheRows: 1, threads: 2, profile: false });
          other.run(0, 0, new Float64Array(0), new Float64Array(5), 64, Float64Array.of(0), [Int32Array.of(1)],
            Float64Array.of(4), [new Float32Array(1)]).then((done) => done && process.stdout.write("."));
        }
      })();
      const timer = setInterval(gc, 1);
      run(3).then(() => { clearInterval(timer); gc(); });
    `;
    expect(await script(body)).toBe(".".repeat(20));
  });
});
