/**
 * The training of specs/quickstart.dsk, shorter, killed at any moment from its start on: while it learns the tokenizer, makes
 * steps, evaluates, saves. `KILLS=20` for the long form.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readMetrics } from "../../../runtime/train/metrics-log.ts";

const KILLS = Number(process.env["KILLS"] ?? 2);
const STEPS = 10 + 3 * KILLS;

const folder = mkdtempSync(join(tmpdir(), "dskc-kill-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(): void {
  const spec = readFileSync("specs/quickstart.dsk", "utf8");
  const short = spec
    .replace("stop         = 900 steps", `stop         = ${STEPS} steps`)
    .replace("batch        = 8", "batch        = 2");
  expect(short).toContain(`${STEPS} steps`);
  expect(short).toContain("batch        = 2");
  writeFileSync(join(folder, "short.dsk"), short);
  mkdirSync(join(folder, "corpus"));
  const texts = readdirSync("docs")
    .filter((name) => name.endsWith(".md"))
    .map((name) => readFileSync(join("docs", name), "utf8"));
  writeFileSync(join(folder, "corpus", "docs.jsonl"), texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
}

interface Ended {
  readonly end: NodeJS.Signals | number | null;
  readonly milliseconds: number;
  readonly errors: string;
}

/** Trains, or goes on, until it is done or some milliseconds after its start. */
function train(run: string, milliseconds = 1e6): Promise<Ended> {
  const args = [
    "train",
    "short.dsk",
    "-o",
    run,
    "--resume",
    "--save-every",
    "3",
    "--evaluate-every",
    "4",
    "--evaluate-tokens",
    "1024",
  ];
  // Tokens of the corpus are prepared by each run anew: a kill may hit that too.
  const env = {
    ...process.env,
    XDG_CACHE_HOME: join(folder, run, "..", `${run}-cache`),
    DSKC_CACHE: process.env["DSKC_CACHE"] ?? "",
  };
  const started = performance.now();
  const child = spawn(process.execPath, [resolve("bin/dskc.js"), ...args], {
    cwd: folder,
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (more: Buffer) => (errors += more.toString()));
  const timer = setTimeout(() => child.kill("SIGKILL"), milliseconds);
  return new Promise((done) => {
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      done({ end: signal ?? code, milliseconds: performance.now() - started, errors });
    });
  });
}

/** Hashes of the weights and the optimizer's states of a run that is done, and its metrics without what clocks say. */
function resultOf(run: string): unknown[] {
  const last = join(folder, run, "checkpoints", String(STEPS).padStart(8, "0"));
  const files = ["model.safetensors", "optimizer.safetensors"].map((file) =>
    createHash("sha256")
      .update(readFileSync(join(last, file)))
      .digest("hex"),
  );
  const metrics = [...readMetrics(join(folder, run, "metrics.jsonl"))];
  return [...files, metrics.map((event) => ({ ...event, seconds: 0, tokens_per_second: 0 }))];
}

test(`the training of the quickstart, killed at ${KILLS} random moments, ends with the same weights and metrics, to the last bit`, async () => {
  write();
  const whole = await train("whole");
  expect(whole).toMatchObject({ end: 0 });
  const moments: number[] = [];
  while (moments.length < KILLS) {
    // Some kills come before the first step, most between steps.
    const moment = Math.round(Math.random() * Math.min(whole.milliseconds, 6000));
    const { end, errors } = await train("pieces", moment);
    // A run that was quick enough begins again: all kills shall hit it.
    if (end === 0) rmSync(join(folder, "pieces"), { recursive: true });
    else if (end === "SIGKILL") moments.push(moment);
    else throw new Error(`it ended with ${end} after kills at ${moments.join(", ")} ms: ${errors}`);
  }
  const last = await train("pieces");
  expect(last).toMatchObject({ end: 0 });
  expect(resultOf("pieces"), `killed after ${moments.join(", ")} ms`).toEqual(resultOf("whole"));
  const left = readdirSync(join(folder, "pieces"), { recursive: true, encoding: "utf8" });
  expect(left.filter((path) => /(^|\/)\./.test(path))).toEqual([]);
}, 1_800_000);
