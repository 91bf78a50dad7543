/** Sessions on the stand-in of libcuda: memory, calls, graphs, choices, profiles, cancelling. */
import { rmSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { NoCudaError } from "../../../../runtime/device/cuda/errors.ts";
import { type CudaOptions, type CudaSession, openCudaSession } from "../../../../runtime/device/cuda/session.ts";
import type { Choice } from "../../../../runtime/device/choice.ts";
import { MemoryError } from "../../../../runtime/device/session.ts";
import { choose } from "../../../../runtime/serve/sampling/choose.ts";
import { runAndChoose } from "../../../../runtime/serve/sampling/run-and-choose.ts";
import { cudaPackage, useStandIn } from "../../../support/cuda/package.ts";
import { REAL } from "../../../support/cuda/real.ts";
import { KERNELS, PROGRAMS } from "./kernels.ts";

let directory: string;
const sessions: CudaSession[] = [];

beforeAll(async () => {
  await useStandIn();
  directory = await cudaPackage(KERNELS, PROGRAMS);
}, 120_000);
afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});
afterAll(() => {
  if (!REAL) rmSync(directory, { recursive: true });
});

async function open(options: CudaOptions = {}): Promise<CudaSession> {
  const session = await openCudaSession(directory, { cacheRows: 64, ...options });
  sessions.push(session);
  return session;
}

const floats = (length: number, of: (i: number) => number): Float32Array =>
  Float32Array.from({ length }, (_, i) => of(i));

function chain(T: number) {
  const [a, x, y] = [Float32Array.of(2), floats(T * 4, (i) => (i % 7) - 3), floats(4096, (i) => (i % 5) - 1)];
  const out = floats(T * 4, (i) => 2 * (2 * x[i]! + y[i]!) + y[i]!);
  const sums = floats(T, (t) => out[4 * t]! + out[4 * t + 1]! + out[4 * t + 2]! + out[4 * t + 3]!);
  return { y, call: { program: "chain", sizes: { T }, inputs: { a, x } }, want: { out, sums } };
}

/** Writes a row and reads those from 0 on. */
function decode(step: number) {
  const S = step + 1;
  const tokens = Int32Array.from({ length: S }, (_, i) => i);
  const inputs = { values: Float32Array.of(step, 10 * step), rows: Int32Array.of(step), tokens };
  const logits = floats(2 * S, (i) => (i % 2 === 0 ? 1 : 10) * Math.floor(i / 2));
  const want = { sums: floats(S, (i) => 11 * i), step: Float32Array.of(step + 1), logits };
  return { call: { program: "decode", sizes: { T: 1, S }, inputs }, want };
}

describe("memory", () => {
  test("stores and caches are zero, and keep what is written", async () => {
    const session = await open();
    expect(session.device).toBe("cuda");
    expect(session.stores.map(({ name }) => name)).toEqual(["y", "steps"]);
    expect(session.read("y")).toEqual(new Float32Array(4096));
    const values = floats(4096, (i) => i);
    session.write("y", values);
    session.write("steps", Float32Array.of(7));
    expect(session.read("y")).toEqual(values);
    expect(session.read("steps")).toEqual(Float32Array.of(7));
    expect(session.memory()).toMatchObject({ storeBytes: 4096 * 4 + 256, cacheBytes: 64 * 8 });
  });

  test("the first value that is no number is found", async () => {
    const session = await open();
    expect(session.firstNonFinite("y")).toBe(-1);
    session.write(
      "y",
      floats(4096, (i) => (i === 4000 || i === 4095 ? NaN : 1)),
    );
    expect(session.firstNonFinite("y")).toBe(4000);
  });

  test("what does not fit is told before anything is allocated", async () => {
    await expect(openCudaSession(directory, { memoryLimit: 1000 })).rejects.toThrow(
      /^params, states and 1024 rows of caches need 24,832 bytes of memory, only 1,000 are available on /,
    );
    const session = await open({ memoryLimit: 20_000 });
    expect(() => session.reserve!("chain", { T: 100 })).toThrow(MemoryError);
    await expect(session.run(chain(100).call)).rejects.toThrow(
      /^program chain with T = 100 needs [\d,]+ bytes of memory, only 2,848 are available/,
    );
    // Smaller calls fit still.
    const { call } = decode(0);
    expect((await session.run(call))["step"]).toEqual(Float32Array.of(1));
  });

  test("the arena grows, and calls of other sizes use it again", async () => {
    const session = await open();
    session.write("y", chain(100).y);
    for (const T of [100, 700, 100]) {
      const { call, want } = chain(T);
      const { sums } = await session.run(call);
      // 400 elements are computed, whatever T is.
      expect(sums!.subarray(0, 100)).toEqual(want.sums.subarray(0, 100));
    }
    expect(session.memory().arenaBytes).toBeGreaterThan(700 * 4 * 4 * 2);
  });
});

describe("calls", () => {
  test("launches, blocks of rows and scratch arrays", async () => {
    const session = await open();
    const { y, call, want } = chain(100);
    session.write("y", y);
    expect(await session.run(call)).toEqual(want);
    expect(await session.run({ ...call, outputs: ["sums"] })).toEqual({ sums: want.sums });
  });

  test("an entry that runs before another", async () => {
    const session = await open();
    expect(await session.run({ program: "after", sizes: { N: 50 }, inputs: {} })).toEqual({
      out: new Float32Array(50).fill(4.5),
    });
    expect(await session.run({ program: "after", sizes: { N: 0 }, inputs: {} })).toEqual({ out: new Float32Array(0) });
  });

  test("dynamic shared memory", async () => {
    const session = await open();
    const x = floats(32, (i) => i);
    expect(await session.run({ program: "reverse", sizes: {}, inputs: { x } })).toEqual({ out: x.toReversed() });
  });

  test("inputs may be changed once a call was made; calls run in their order", async () => {
    const session = await open();
    const { y, call, want } = chain(100);
    session.write("y", y);
    const given = { ...call, inputs: { a: call.inputs.a.slice(), x: call.inputs.x.slice() } };
    const all = [session.run(given), session.run(decode(0).call), session.run(given)];
    given.inputs.x.fill(NaN);
    expect(() => session.read("y")).toThrow("params and states cannot be accessed while calls are under way");
    const [first, second, third] = await Promise.all(all);
    expect(first).toEqual(want);
    expect(second!["step"]).toEqual(Float32Array.of(1));
    expect(third).toEqual(want);
  });

  test("wrong calls are told", async () => {
    const session = await open();
    const { call } = chain(100);
    await expect(session.run({ ...call, program: "nothing" })).rejects.toThrow("there is no program nothing");
    await expect(session.run({ ...call, sizes: {} })).rejects.toThrow("the run-time dim T is not bound");
    await expect(session.run({ ...call, inputs: {} })).rejects.toThrow("the input a is missing");
    await expect(session.run({ ...call, outputs: ["y"] })).rejects.toThrow("there is no output y");
    expect(() => session.write("y", new Float32Array(3))).toThrow(
      "y has 3 elements, not 4096".replace("3 elements, not 4096", "4096 elements, not 3"),
    );
  });

  test("the end of a session ends its calls", async () => {
    const session = await open();
    const run = session.run({ program: "long", sizes: {}, inputs: {} });
    session.close();
    await expect(run).rejects.toThrow("the session was closed");
    await expect(session.run(chain(100).call)).rejects.toThrow("the session is closed");
  });

  test("a call is cancelled between launches", async () => {
    const session = await open();
    const control = new AbortController();
    const call = { program: "long", sizes: {}, inputs: {} };
    const [running, waiting] = [session.run(call, control.signal), session.run(call, control.signal)];
    setImmediate(() => control.abort(new Error("enough")));
    const enough = { status: "rejected", reason: new Error("enough") };
    expect(await Promise.allSettled([running, waiting])).toEqual([enough, enough]);
    expect(session.read("steps")[0]!).toBeLessThan(20_000);
    await expect(session.run(call, AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
    const { out } = await session.run(call);
    expect(out![0]).toBe(session.read("steps")[0]);
  });
});

describe("graphs", () => {
  test("give what plain launches give, and change what changes", async () => {
    for (const [graphs, made, launched] of [
      [true, 1, 19],
      [false, 0, 0],
    ] as const) {
      const session = await open({ graphs });
      for (let step = 0; step < 20; step++) {
        const { call, want } = decode(step);
        expect(await session.run(call)).toEqual(want);
      }
      const counts = session.memory().graphs;
      expect([counts.made, counts.launched]).toEqual([made, launched]);
      // The writing of a row of the cache changes when places in the arena move alone.
      expect(counts.changed).toBeLessThan(Math.max(1, 18 * 5));
    }
  });

  test("the same call again changes nothing", async () => {
    const session = await open();
    const { call, want } = decode(3);
    for (let i = 0; i < 4; i++) expect((await session.run(call))["sums"]!.at(-1)).toBe(want.sums.at(-1));
    expect(session.memory().graphs).toEqual({ made: 1, launched: 3, changed: 0 });
  });

  test("survive an arena that moves", async () => {
    const session = await open();
    for (let step = 0; step < 3; step++) await session.run(decode(step).call);
    await session.run(chain(4000).call);
    for (let step = 3; step < 6; step++) {
      const { call, want } = decode(step);
      expect(await session.run(call)).toEqual(want);
    }
    expect(session.memory().graphs.made).toBe(1);
  });
});

describe("choices", () => {
  const RULES = {
    temperature: 0,
    topP: 1,
    topK: 0,
    minP: 0,
    frequencyPenalty: 0,
    presencePenalty: 0,
    repetitionPenalty: 1,
    logitBias: new Map(),
  };
  const choice = (row: number, rules: object = {}): Choice => ({
    row,
    rules: { ...RULES, ...rules },
    noise: [1 + row, 2],
    touched: [],
    counts: [],
  });

  test("tokens are chosen by what the device tells of logits", async () => {
    const session = await open();
    for (let step = 0; step < 5; step++) {
      const { call, want } = decode(step);
      for (const rules of [{}, { temperature: 1.5 }, { temperature: 0, alternatives: 1 }]) {
        const choices = Array.from({ length: step + 1 }, (_, row) => choice(row, rules));
        const { outputs, chosen } = await runAndChoose(session, { ...call, outputs: ["sums"] }, choices);
        expect(outputs["sums"]).toEqual(want.sums);
        const tokens = choices.map((one) => choose(want.logits.subarray(2 * one.row, 2 * one.row + 2), one)?.token);
        expect(chosen.map((one) => one?.token)).toEqual(tokens);
      }
    }
  });

  test("tokens that are not known are not chosen; logits that are no numbers choose nothing", async () => {
    const session = await open();
    const { call } = decode(2);
    await session.run(call);
    const nan = { ...call, inputs: { ...call.inputs, values: Float32Array.of(NaN, 1) } };
    for (const rules of [{}, { temperature: 0, alternatives: 0 }]) {
      const { chosen } = await runAndChoose(session, nan, [choice(0, rules), choice(2, rules)], 1);
      expect(chosen.map((one) => one?.token)).toEqual([0, undefined]);
    }
    await expect(runAndChoose(session, call, [choice(3)])).rejects.toThrow("there is no row 3");
  });
});

describe("profiles", () => {
  test("have calls, items and times of every launch", async () => {
    const session = await open({ profile: true });
    const { y, call, want } = chain(100);
    session.write("y", y);
    for (let i = 0; i < 2; i++) expect(await session.run(call)).toEqual(want);
    const profile = session.profile().filter(({ program }) => program === "chain");
    expect(profile.map(({ kernel, note, calls, items }) => [kernel, note, calls, items])).toEqual([
      ["axpy", "chain.dsk:3", 2, 26],
      ["axpy", "chain.dsk:4", 2, 26],
      ["row_sum", "chain.dsk:5", 2, 200],
    ]);
    for (const { nanoseconds } of profile) expect(nanoseconds).toBeGreaterThan(0);
  });

  test("are zero unless they are asked for", async () => {
    const session = await open();
    await session.run(chain(100).call);
    expect(session.profile().every(({ calls, nanoseconds, items }) => calls + nanoseconds + items === 0)).toBe(true);
  });
});

describe("a package", () => {
  test.skipIf(REAL)("without cubins for the GPU needs NVRTC, and says so", async () => {
    process.env["DSK_CAPABILITY"] = "8.0";
    try {
      await expect(openCudaSession(directory)).rejects.toThrow(NoCudaError);
      await expect(openCudaSession(directory)).rejects.toThrow(
        /has no cubins for .* \(it has sm_90a, it runs sm_80\), and NVRTC is not here to compile them \(libnvrtc/,
      );
    } finally {
      delete process.env["DSK_CAPABILITY"];
    }
  });

  test("cannot be opened on a GPU that is not there", async () => {
    await expect(openCudaSession(directory, { gpu: 3 })).rejects.toThrow(
      "there is no GPU 3: the CUDA driver shows 0 (",
    );
  });
});
