/** `npm run bench:gpu` with tiny shapes on the stand-in of libcuda, where times mean nothing and everything else is as on a GPU. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Row } from "../../../../bench/gpu/measure.ts";
import { NoAnswer, Talk } from "../../../../bench/gpu/talk.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "dskc-bench-test-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function bench(args: readonly string[], env: NodeJS.ProcessEnv): { status: number | null; text: string; rows: Row[] } {
  const json = join(directory, "result.json");
  rmSync(json, { force: true });
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["scripts/bench-gpu.mjs", "--tiny", "--rounds", "1", "--json", json, ...args],
    { encoding: "utf8", env: { ...process.env, ...env } },
  );
  let rows: Row[] = [];
  try {
    rows = (JSON.parse(readFileSync(json, "utf8")) as { rows: Row[] }).rows;
  } catch {
    // Nothing was measured.
  }
  return { status, text: stdout + stderr, rows };
}

const CASES = ["--no-peer", "--only", "^(gemm|grouped|mla-decode|stored-int4-grouped)/"];

test("every case has a time, a line and what it was measured with", { timeout: 300_000 }, () => {
  const { status, text, rows } = bench(CASES, { DSKC_GPU: "simulate" });
  expect(text).toContain("4 measured, 0 wrong, 0 failed, 0 skipped");
  expect(status).toBe(0);
  expect(rows.map(({ name, kernels }) => [name, kernels])).toEqual([
    ["gemm/80x136x72", ["gemm_y_tensor"]],
    ["grouped/3x27x136x72", ["gemm_y_tensor_sort", "gemm_y_tensor"]],
    ["stored-int4-grouped/3x54x136x72", ["gemm_w_tensor_sort", "gemm_w_tensor"]],
    ["mla-decode/2x3x40", ["rows_span_to_main", "plane_out_tensor", "plane_out_combine"]],
  ]);
  for (const { us, tflops, flops, compared } of rows) {
    expect(us).toBeGreaterThan(0);
    expect(tflops! * us! * 1e6).toBeCloseTo(flops, -1);
    expect(compared).toBe("there is no peer");
  }
  expect(text).toContain("skipped: peers and limits. --no-peer");
});

test("a case that fails is told with its reason, the next ones go on", { timeout: 300_000 }, () => {
  const { status, text, rows } = bench(CASES, { DSKC_GPU: "simulate", DSK_FAIL: "cuLaunchKernel:4" });
  expect(rows.map((row) => row.status)).toEqual(["failed", "measured", "measured", "measured"]);
  expect(rows[0]!.why).toMatch(/cuLaunchKernel/);
  expect(text).toContain("| gemm/80x136x72 | failed |");
  expect(status).toBe(1);
});

/** Answers as bench/peers/torch_gpu.py does: a millisecond for everything, and the distance that its environment says. */
const PEER = `#!/usr/bin/env node
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const request = JSON.parse(line);
  const compared = Object.fromEntries((request.results ?? []).map(({ name }) => [name, { mean: Number(process.env.APART), worst: 0 }]));
  console.log(JSON.stringify({
    limits: { gpu: "none", torch: "none", copy: 1e12, bf16: 1e12 },
    open: { peers: ["peer", "faster"], others: ["faster"], compared, theirs: {}, without: { other: "it is not there" } },
    time: { us: Array(request.runs).fill(request.peer === "faster" ? 1 : 1000) },
    close: {},
  }[request.do]));
});
`;

test.each([
  ["0.001", "measured", 0],
  ["0.1", "wrong", 1],
] as const)("results that are %s apart are %s", { timeout: 300_000 }, (apart, wanted, code) => {
  const peer = join(directory, "peer");
  writeFileSync(peer, PEER, { mode: 0o755 });
  const env = { DSKC_GPU: "simulate", PYTHON: peer, APART: apart };
  const { status, text, rows } = bench(["--only", "^gemm/"], env);
  const [row] = rows as [Row];
  expect([row.status, status]).toEqual([wanted, code]);
  expect(row.peers["peer"]!.ratio).toBeCloseTo(1000 / row.us!, 6);
  expect(row.peers["faster"]).toMatchObject({ us: 1, same: false });
  expect(row.share).toBeCloseTo(row.flops / row.us! / 1e6, 6);
  expect(text).toContain("skipped: gemm/80x136x72: other. it is not there");
  const reached = row.us! < 1000 ? "goal" : row.us! < 1000 / 0.85 ? "gate" : "below";
  expect(row.verdict).toBe(wanted === "wrong" ? undefined : reached);
  // What is wrong has no time in the table.
  expect(/\| gemm\/80x136x72 \| wrong \|/.test(text)).toBe(wanted === "wrong");
});

test("a whole model has its tokens in a second and the time of each kernel", { timeout: 300_000 }, () => {
  const { status, text, rows } = bench(["--no-peer", "--only", "v2lite-decode/1x"], { DSKC_GPU: "simulate" });
  expect(rows.map(({ name, whole }) => [name, whole!.layers])).toEqual([["v2lite-decode/1x6", 3]]);
  const [{ us, whole }] = rows as [Row];
  expect((whole!.tokensPerSecond * us!) / 1e6).toBeCloseTo(1, 6);
  // Attention is a kernel for each layer, and what comes first has the most time.
  expect(whole!.times.find(({ kernel }) => kernel.startsWith("plane_"))!.launches).toBe(3);
  expect(whole!.times.map((time) => time.us)).toEqual(whole!.times.map((time) => time.us).toSorted((a, b) => b - a));
  expect(text).toContain("| v2lite-decode/1x6 |");
  expect(text).toContain("skipped: v2lite-train/2x24, which has to be asked for");
  expect(status).toBe(0);
});

test("without a GPU all of it is skipped", { timeout: 60_000 }, () => {
  const { status, text, rows } = bench([], { DSKC_LIBCUDA: "/nowhere/libcuda.so.1" });
  expect(text).toMatch(/^skipped: all \d+ cases\. there is no CUDA driver \(\/nowhere/);
  expect([status, rows]).toEqual([0, []]);
});

test("a process that does not answer in time is ended, one that ends says how", async () => {
  const silent = new Talk(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  await expect(silent.ask({}, 100)).rejects.toThrow(new NoAnswer("hung: no answer in 0.1 s"));
  expect(silent.ended).toBe(true);
  const gone = new Talk(process.execPath, ["-e", "process.exit(3)"]);
  await expect(gone.ask({}, 10_000)).rejects.toThrow(/^its process ended/);
});
