import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { rowsOf } from "../../../compiler/cli/bench/kernels.ts";
import { quantile, spreadOf } from "../../../compiler/cli/bench/statistics.ts";
import { PICO } from "../../support/pico-package.ts";

// Kernels are compiled here when nobody did it before.
vi.setConfig({ testTimeout: 300_000 });

const folder = mkdtempSync(join(tmpdir(), "dskc-bench-"));
writeFileSync(join(folder, "pico.dsk"), PICO);
afterAll(() => rmSync(folder, { recursive: true }));

function bench(...args: string[]): {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
} {
  const all = [resolve("bin/dskc.js"), "bench", ...args, "--seconds", "0.05"];
  return spawnSync(process.execPath, all, { cwd: folder, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
}

interface Document {
  readonly machine: { readonly flops: number; readonly read: { readonly bytesPerSecond: number } };
  readonly tokensPerSecond: number;
}

function json<T>(...args: string[]): T & Document {
  const { status, stdout, stderr } = bench(...args, "--json");
  expect(status, `${stderr}`).toBe(0);
  return JSON.parse(stdout) as T & Document;
}

describe("bench", () => {
  test.each(["prefill", "decode", "score", "train_step"])(
    "kernels of %s: times add up to the whole, shares to 1",
    (program) => {
      const report = json<{
        readonly tokens: number;
        readonly milliseconds: number;
        readonly kernels: readonly {
          readonly milliseconds: number;
          readonly shareOfTime: number;
          readonly shareOfPeak: number;
        }[];
      }>("kernels", "pico.dsk", "--program", program, "--sequences", "2", "--length", "32");
      expect(report.tokens).toBe(program === "decode" ? 2 : 64);
      expect(report.tokensPerSecond).toBeCloseTo((1000 * report.tokens) / report.milliseconds, 6);
      const sum = (of: "milliseconds" | "shareOfTime"): number =>
        report.kernels.reduce((total, row) => total + row[of], 0);
      expect(sum("shareOfTime")).toBeCloseTo(1, 9);
      expect(sum("milliseconds")).toBeLessThan(2 * report.milliseconds);
      expect(report.kernels.length).toBeGreaterThan(5);
      for (const { shareOfPeak } of report.kernels) expect(shareOfPeak).toBeGreaterThan(0);
      expect(report.machine.flops).toBeGreaterThan(1e9);
      expect(report.machine.read.bytesPerSecond).toBeGreaterThan(1e9);
    },
  );

  test("train: tokens of a step over its time", () => {
    const report = json<{
      readonly tokens: number;
      readonly seconds: { readonly median: number };
      readonly flops: number;
    }>("train", "pico.dsk");
    expect(report.tokens).toBe(2 * 24);
    expect(report.tokensPerSecond).toBeCloseTo(report.tokens / report.seconds.median, 6);
    expect(report.flops).toBeGreaterThan(3 * 2 * 160 * 8 * report.tokens);
  });

  test("latency and throughput: a row for each case, the p99 not below the median", () => {
    type Times = { readonly median: number; readonly p99: number; readonly count: number };
    interface Answers {
      readonly answers: readonly { streams: number; promptTokens: number; firstToken: Times; nextToken: Times }[];
    }
    const { answers: alone } = json<Answers>("latency", "pico.dsk", "--tokens", "8");
    expect(alone.map(({ streams, promptTokens }) => [streams, promptTokens])).toEqual([
      [1, 16],
      [1, 128],
      [1, 1024],
    ]);
    const { answers: many } = json<Answers>("throughput", "pico.dsk", "--tokens", "8", "--length", "16", "--no-draft");
    expect(many.map(({ streams }) => streams)).toEqual([1, 8, 32]);
    for (const { firstToken, nextToken } of [...alone, ...many]) {
      for (const { median, p99 } of [firstToken, nextToken]) expect(median > 0 && p99 >= median).toBe(true);
      expect(nextToken.count).toBe(7 * firstToken.count);
    }
  });

  test("prints tables", () => {
    const { stdout, status } = bench("kernels", "pico.dsk", "--length", "16");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^this machine: .*, \d+ threads?, [\d.]+ [GT]FLOP\/s, [\d.]+ [GT]B\/s reading/);
    expect(stdout).toMatch(/^kernel +family +launches +ms +time +work +memory +peak +bound by$/m);
    expect(stdout).toMatch(/^gemm_\w+ +gemm +\d+ .* % .*FLOP\/s .*B\/s +[\d.]+ % {2}(compute|memory)$/m);
  });

  test("says what is wrong", () => {
    expect(bench("speed", "pico.dsk").stderr).toContain("Allowed choices are kernels, train, latency, throughput");
    expect(bench("train", "pico.dsk", "--train", "None")).toMatchObject({ status: 2 });
    expect(bench("train", "pico.dsk", "--weights", "nowhere")).toMatchObject({ status: 1 });
  });
});

test("quantiles are values that were measured", () => {
  const values = Array.from({ length: 200 }, (_, i) => (i * 37) % 200);
  expect([0, 0.5, 0.99, 1].map((share) => quantile(values, share))).toEqual([0, 99, 197, 199]);
  expect(spreadOf([3])).toEqual({ median: 3, p99: 3, count: 1 });
});

test("a kernel's share of the peak is the least time of its operations or bytes, of its time", () => {
  const machine = { flops: 1e12, read: { bytes: 1, bytesPerSecond: 1e11 } };
  const kernels = ["a", "b"].map((name) => ({
    name,
    family: "rows" as const,
    args: [],
    extents: [],
    from: [],
    rows: [],
    locals: [],
    body: [],
  }));
  const launch = (kernel: string, nanoseconds: number, flops: number, bytes: number) => ({
    kernel,
    nanoseconds,
    flops,
    bytes,
  });
  const rows = rowsOf(
    [launch("a", 1e6, 5e8, 1e3), launch("b", 5e6, 1e6, 1e8), launch("a", 3e6, 5e8, 1e3)],
    kernels,
    machine,
  );
  expect(rows).toMatchObject([
    { kernel: "b", launches: 1, milliseconds: 5, shareOfTime: 5 / 9, shareOfPeak: 1e8 / 1e11 / 5e-3, bound: "memory" },
    { kernel: "a", launches: 2, milliseconds: 4, shareOfTime: 4 / 9, shareOfPeak: 1e9 / 1e12 / 4e-3, bound: "compute" },
  ]);
});

test("a model that no machine holds is refused before anything is allocated, with its bytes", () => {
  writeFileSync(
    join(folder, "huge.dsk"),
    `edition 2026
import { Embedding } from "std/nn"
model Huge {
  dim V = 1_000_000
  dim D = 10_000_000
  use embed = Embedding[V, D]
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { return embed.transposed(embed(tokens)) }
}
train Pretrain for Huge { data = text("*.txt")  length = 16 tokens  batch = 4  stop = 3 steps  optimizer = adamw()  lr = 1e-3  loss = next_token() }
`,
  );
  const refused = /need 120,000,000,000,000 bytes of memory, only [\d,]+ are available/;
  expect(bench("train", "huge.dsk")).toMatchObject({ status: 1, stderr: expect.stringMatching(refused) as string });
  writeFileSync(join(folder, "a.txt"), "Some text, and more of it.\n".repeat(500));
  const train = spawnSync(process.execPath, [resolve("bin/dskc.js"), "train", "huge.dsk"], {
    cwd: folder,
    encoding: "utf8",
  });
  expect(train).toMatchObject({ status: 1, stderr: expect.stringMatching(refused) as string });
});
