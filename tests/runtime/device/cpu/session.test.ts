import { rmSync } from "node:fs";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type CpuOptions, type CpuSession, openCpuSession } from "../../../../runtime/device/cpu/session.ts";
import { planArena } from "../../../../runtime/program/arena.ts";
import type { BufferSpec, Launch, LaunchProgram } from "../../../../runtime/program/launch.ts";
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

function open(programs: readonly LaunchProgram[], options: CpuOptions = {}): CpuSession {
  writePrograms(directory, ...programs);
  const session = openCpuSession(directory, options);
  sessions.push(session);
  return session;
}

const AXPY: LaunchProgram = {
  name: "axpy",
  dims: ["T"],
  buffers: [
    buffer("input", "a", "f32", 1),
    buffer("input", "x", "f32", "T"),
    buffer("input", "y", "f32", "T"),
    buffer("output", "out", "f32", "T"),
  ],
  launches: [{ kernel: "axpy", args: [0, 1, 2, 3], extents: ["T"] }],
};

/** out = x + 2 x + 4 x + ... in `depth` launches, each reading what the one before wrote. */
function chain(depth: number): LaunchProgram {
  const temps = Array.from({ length: depth - 1 }, (_, i) => buffer("temp", `t${i}`, "f32", "T"));
  const buffers = [buffer("input", "a", "f32", 1), buffer("input", "x", "f32", "T"), ...temps];
  const last = buffers.push(buffer("output", "out", "f32", "T")) - 1;
  const launches = Array.from({ length: depth }, (_, i) => {
    const from = i === 0 ? 1 : i + 1;
    return { kernel: "axpy", args: [0, from, 1, i === depth - 1 ? last : i + 2], extents: ["T"] };
  });
  return { name: "chain", dims: ["T"], buffers, launches };
}

const f32 = (length: number, value: (i: number) => number): Float32Array =>
  Float32Array.from({ length }, (_, i) => value(i));

describe("a session", () => {
  test("computes y + a x for any T, with any number of threads", async () => {
    for (const threads of [1, 2, 4]) {
      const session = open([AXPY], { threads });
      for (const T of [0, 1, 63, 64, 65, 1000, 100_003]) {
        const [x, y] = [f32(T, (i) => i), f32(T, (i) => 1 / (i + 1))];
        const { out } = await session.run({ program: "axpy", sizes: { T }, inputs: { a: f32(1, () => 0.5), x, y } });
        expect(out).toEqual(f32(T, (i) => Math.fround(0.5 * x[i]!) + y[i]!));
      }
    }
  });

  test("reduces rows, each thread with scratch memory of its own", async () => {
    const program: LaunchProgram = {
      name: "sums",
      dims: ["T"],
      buffers: [buffer("input", "x", "f32", "T", 500), buffer("output", "out", "f32", "T")],
      launches: [{ kernel: "row_sum", args: [0, 1], extents: ["T", 500] }],
    };
    const session = open([program], { threads: 4 });
    for (let round = 0; round < 50; round++) {
      const x = f32(200 * 500, (i) => (i * 7919) % 17);
      const { out } = await session.run({ program: "sums", sizes: { T: 200 }, inputs: { x } });
      expect(out).toEqual(f32(200, (t) => x.subarray(t * 500, (t + 1) * 500).reduce((a, b) => a + b, 0)));
    }
    expect(session.memory().scratchBytes).toBe(4 * 2048);
  });

  test("a thread finds scratch memory that begins with zeros in each launch, and keeps what it writes", async () => {
    const program: LaunchProgram = {
      name: "calls",
      dims: ["T"],
      buffers: [
        buffer("input", "x", "f32", "T", 500),
        buffer("output", "first", "i32", "T"),
        buffer("output", "sums", "f32", "T"),
        buffer("output", "second", "i32", "T"),
      ],
      launches: [
        { kernel: "calls", args: [1], extents: ["T"] },
        { kernel: "row_sum", args: [0, 2], extents: ["T", 500] },
        { kernel: "calls", args: [3], extents: ["T"] },
      ],
    };
    for (const threads of [1, 2]) {
      const session = open([program], { threads });
      for (let round = 0; round < 20; round++) {
        const x = f32(64 * 500, () => 1);
        const { first, second } = await session.run({ program: "calls", sizes: { T: 64 }, inputs: { x } });
        for (const calls of [first!, second!]) {
          // 16 calls of four items for two threads: each counts from 1 on.
          const counts = [...calls].filter((_, i) => i % (threads === 1 ? 64 : 4) === 0);
          const longest = Math.max(...counts);
          const once = Array.from({ length: longest }, (_, i) => counts.filter((count) => count === i + 1).length);
          expect(once.every((count) => count >= 1 && count <= threads)).toBe(true);
          expect(once.reduce((sum, count) => sum + count, 0)).toBe(threads === 1 ? 1 : 16);
        }
      }
    }
  });

  test("asks a kernel how many items there are when it is the kernel's turn", async () => {
    const program: LaunchProgram = {
      name: "mark",
      dims: ["T"],
      buffers: [
        buffer("input", "n", "i32", 1),
        buffer("state", "marks", "f32", 100),
        buffer("input", "one", "f32", 1),
        buffer("input", "zeros", "f32", 100),
        buffer("output", "out", "f32", 100),
      ],
      launches: [
        { kernel: "mark", args: [0, 1], extents: [] },
        { kernel: "axpy", args: [2, 1, 3, 4], extents: [100] },
      ],
    };
    const session = open([program], { threads: 3 });
    const inputs = { one: f32(1, () => 1), zeros: new Float32Array(100) };
    for (const n of [0, 3, 57]) {
      const { out } = await session.run({
        program: "mark",
        sizes: { T: 1 },
        inputs: { ...inputs, n: Int32Array.of(n) },
      });
      expect(out).toEqual(f32(100, (i) => (i < n ? 1 : 0)));
    }
    await expect(
      session.run({ program: "mark", sizes: { T: 1 }, inputs: { ...inputs, n: Int32Array.of(-1) } }),
    ).rejects.toThrow("program mark, launch 0 (mark): it has -1 work items");
  });

  test("hundreds of launches that depend on each other, more threads than processors", async () => {
    const session = open([chain(200)], { threads: 4 });
    const T = 640;
    const x = f32(T, (i) => i % 13);
    // a = 1: each launch adds x once more.
    for (let round = 0; round < 200; round++) {
      const { out } = await session.run({ program: "chain", sizes: { T }, inputs: { a: f32(1, () => 1), x } });
      expect(out).toEqual(f32(T, (i) => 201 * x[i]!));
    }
  });

  test("launches of one item stay on the session's thread; larger ones are shared", async () => {
    const program: LaunchProgram = {
      name: "where",
      dims: ["T"],
      buffers: [buffer("output", "one", "i32", 1), buffer("output", "many", "i32", "T")],
      launches: [
        { kernel: "own_thread", args: [0], extents: [1] },
        { kernel: "own_thread", args: [1], extents: ["T"] },
      ],
    };
    const session = open([program], { threads: 2 });
    let own = 0;
    let all = 0;
    // On a busy machine, workers may come too late many times.
    for (let round = 0; round < 5000 && (own === 0 || own === all); round++) {
      const { one, many } = await session.run({ program: "where", sizes: { T: 2000 }, inputs: {} });
      expect([...one!]).toEqual([1]);
      own += (many as Int32Array).reduce((a, b) => a + b, 0);
      all += many!.length;
    }
    expect(own).toBeGreaterThan(0);
    expect(own).toBeLessThan(all);
  });

  test("keeps states between calls and shares them between programs; calls run in the order in which they are made", async () => {
    const counter = (name: string): LaunchProgram => ({
      name,
      dims: [],
      buffers: [buffer("state", "n", "f32", 1), buffer("output", "now", "f32", 1)],
      launches: [{ kernel: "count", args: [0, 1], extents: [] }],
    });
    const session = open([counter("a"), counter("b")]);
    expect(session.stores).toEqual([{ name: "n", kind: "state", dtype: "f32", shape: [1] }]);
    session.write("n", Float32Array.of(10));
    const calls = Array.from({ length: 100 }, (_, i) =>
      session.run({ program: i % 3 ? "a" : "b", sizes: {}, inputs: {} }),
    );
    expect((await Promise.all(calls)).map(({ now }) => now![0])).toEqual(Array.from({ length: 100 }, (_, i) => 11 + i));
    expect(session.read("n")).toEqual(Float32Array.of(110));
  });

  test("caches have the session's rows, which kernels index themselves", async () => {
    const put: LaunchProgram = {
      name: "put",
      dims: ["T"],
      buffers: [
        buffer("cache", "c", "f32", 2),
        buffer("input", "values", "f32", "T", 2),
        buffer("input", "rows", "i32", "T"),
      ],
      launches: [{ kernel: "put", args: [0, 1, 2], extents: ["T"] }],
    };
    const get: LaunchProgram = {
      name: "get",
      dims: ["T"],
      buffers: [
        buffer("cache", "c", "f32", 2),
        buffer("input", "rows", "i32", "T"),
        buffer("output", "out", "f32", "T", 2),
      ],
      launches: [{ kernel: "get", args: [0, 1, 2], extents: ["T"] }],
    };
    const session = open([put, get], { cacheRows: 50 });
    expect([session.cacheRows, session.cacheRowBytes, session.stores]).toEqual([50, 8, []]);
    const rows = Int32Array.of(49, 0, 7);
    const values = f32(6, (i) => i + 1);
    await session.run({ program: "put", sizes: { T: 3 }, inputs: { values, rows } });
    const { out } = await session.run({ program: "get", sizes: { T: 3 }, inputs: { rows: Int32Array.of(7, 49, 1) } });
    expect(out).toEqual(Float32Array.of(5, 6, 1, 2, 0, 0));
    expect(session.memory()).toMatchObject({ cacheBytes: 448, storeBytes: 0 });
  });

  test("gives only the outputs that are wanted, and takes inputs and sizes that a program does not use", async () => {
    const program: LaunchProgram = {
      name: "two",
      dims: ["T"],
      buffers: [...AXPY.buffers, buffer("output", "more", "f32", "T")],
      launches: [...AXPY.launches, { kernel: "axpy", args: [0, 3, 2, 4], extents: ["T"] }],
    };
    const session = open([program]);
    const inputs = { a: f32(1, () => 2), x: f32(3, () => 1), y: f32(3, () => 1), pos: new Int32Array(7) };
    const call = { program: "two", sizes: { T: 3, S: 12 }, inputs };
    expect(await session.run({ ...call, outputs: ["more"] })).toEqual({ more: Float32Array.of(7, 7, 7) });
    expect(await session.run({ ...call, outputs: [] })).toEqual({});
    expect(Object.keys(await session.run(call))).toEqual(["out", "more"]);
  });

  test("inputs are copied when the call is made", async () => {
    const session = open([AXPY]);
    const x = f32(1000, () => 1);
    const first = session.run({ program: "axpy", sizes: { T: 1000 }, inputs: { a: f32(1, () => 1), x, y: x } });
    x.fill(100);
    expect((await first)["out"]).toEqual(f32(1000, () => 2));
    const shared = new Float32Array(new SharedArrayBuffer(4000)).fill(3);
    const inputs = { a: f32(1, () => 1), x: shared, y: shared };
    expect((await session.run({ program: "axpy", sizes: { T: 1000 }, inputs }))["out"]).toEqual(f32(1000, () => 6));
  });

  test("every buffer lies on a cache line", async () => {
    const kinds = ["input", "state", "cache", "output", "temp"] as const;
    // Sizes that are no multiples of a line, twice each, so that the second would be off it.
    const buffers = kinds.flatMap((kind) => [0, 1].map((i) => buffer(kind, `${kind}${i}`, "f32", "T", 3)));
    const fixed = buffers.map((spec): BufferSpec =>
      spec.kind === "state" || spec.kind === "cache" ? { ...spec, shape: [3] } : spec,
    );
    const program: LaunchProgram = {
      name: "lines",
      dims: ["T"],
      buffers: [...fixed, ...fixed.map((spec) => buffer("output", `at.${spec.name}`, "i32", 1))],
      launches: fixed.map((_, i) => ({ kernel: "misaligned", args: [i, fixed.length + i], extents: [] })),
    };
    const session = open([program], { cacheRows: 5 });
    const inputs = { input0: new Float32Array(15), input1: new Float32Array(15) };
    const outputs = await session.run({ program: "lines", sizes: { T: 5 }, inputs });
    const off = fixed.filter(({ name }) => outputs[`at.${name}`]![0] !== 0);
    expect(off).toEqual([]);
  });
});

describe("memory", () => {
  test("the highest byte of the arena that a launch was given is the plan's figure", async () => {
    // Launches that read two of ten temps and write a third, of sizes that depend on T.
    const programs = fc
      .record({
        counts: fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 10, maxLength: 10 }),
        launches: fc.array(fc.uniqueArray(fc.nat({ max: 9 }), { minLength: 3, maxLength: 3 }), {
          minLength: 1,
          maxLength: 20,
        }),
      })
      .map(({ counts, launches }): LaunchProgram => ({
        name: "p",
        dims: ["T"],
        buffers: [
          buffer("input", "a", "f32", 1),
          ...counts.map((count, i) => buffer("temp", `t${i}`, "f32", "T", count)),
        ],
        launches: launches.map((args): Launch => ({
          kernel: "axpy",
          args: [0, ...args.map((i) => i + 1)],
          extents: [1],
        })),
      }));
    await fc.assert(
      fc.asyncProperty(programs, fc.integer({ min: 1, max: 100 }), async (program, T) => {
        const session = open([program], { threads: 1 });
        await session.run({ program: "p", sizes: { T }, inputs: { a: f32(1, () => 1) } });
        const { bytes } = planArena(program, { T });
        expect(session.memory()).toMatchObject({ arenaBytes: bytes, arenaHighWater: bytes });
        session.close();
      }),
      { seed: 1, numRuns: 100 },
    );
  });

  test("an arena serves larger and smaller calls; its figures are those of the largest", async () => {
    const session = open([chain(5)]);
    const run = async (T: number): Promise<void> => {
      const { out } = await session.run({
        program: "chain",
        sizes: { T },
        inputs: { a: f32(1, () => 1), x: f32(T, (i) => i) },
      });
      expect(out).toEqual(f32(T, (i) => 6 * i));
    };
    const bytes = (T: number): number => planArena(chain(5), { T }).bytes;
    for (const T of [10, 100_000, 10, 500_000, 3]) await run(T);
    expect(session.memory()).toMatchObject({ arenaBytes: bytes(500_000), arenaHighWater: bytes(500_000) });
    // Many sizes: plans are shared from now on, and still hold.
    for (let T = 100; T < 400; T += 7) await run(T);
  });

  test("a call that needs more than there is fails before anything is allocated, and names the bytes", async () => {
    const session = open([chain(5)], { memoryLimit: 1 << 20 });
    const inputs = (T: number) => ({ a: f32(1, () => 1), x: f32(T, () => 1) });
    const before = session.memory();
    const { bytes } = planArena(chain(5), { T: 100_000 });
    expect(bytes).toBe(2 * 400_000);
    await expect(session.run({ program: "chain", sizes: { T: 100_000 }, inputs: inputs(100_000) })).rejects.toThrow(
      "program chain with T = 100000 needs 1,200,000 bytes of memory, only 1,048,576 are available under the session's memory limit",
    );
    expect(session.memory()).toEqual(before);
    const { out } = await session.run({ program: "chain", sizes: { T: 1000 }, inputs: inputs(1000) });
    expect(out).toEqual(f32(1000, () => 6));
  });

  test("what no machine has is refused as well", async () => {
    const program: LaunchProgram = {
      name: "huge",
      dims: ["T"],
      buffers: [buffer("input", "a", "f32", 1), buffer("temp", "t", "f32", "T", "T")],
      launches: [{ kernel: "axpy", args: [0, 0, 0, 1], extents: [1] }],
    };
    const session = open([program]);
    const inputs = { a: f32(1, () => 1) };
    await expect(session.run({ program: "huge", sizes: { T: 3_000_000 }, inputs })).rejects.toThrow(
      /program huge with T = 3000000 needs 36,000,000,000,000 bytes of memory, only [\d,]+ are available/,
    );
    await expect(session.run({ program: "huge", sizes: { T: 2 ** 40 }, inputs })).rejects.toThrow(/bytes/);
    const cached: LaunchProgram = {
      name: "cached",
      dims: [],
      buffers: [buffer("cache", "c", "f32", 1000)],
      launches: [],
    };
    expect(() => open([cached], { cacheRows: 1e10 })).toThrow(
      /params, states and 10000000000 rows of caches need 40,000,000,000,000 bytes of memory, only/,
    );
  });
});
