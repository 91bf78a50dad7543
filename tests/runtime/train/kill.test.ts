import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readMetrics } from "../../../runtime/train/metrics-log.ts";
import { bundle } from "../../support/bundle.ts";

const STEPS = 24;
/** `KILLS=20` for the long form. */
const KILLS = Number(process.env["KILLS"] ?? 3);

const root = mkdtempSync(join(tmpdir(), "dskc-kill-"));
afterAll(() => rmSync(root, { recursive: true }));

let child: string;
beforeAll(async () => {
  child = await bundle("train-child");
});

/** The weights, the optimizer's states and the metrics of a run that is done. */
function resultOf(folder: string): unknown[] {
  const last = join(folder, "checkpoints", String(STEPS).padStart(8, "0"));
  const files = ["model.safetensors", "optimizer.safetensors"].map((file) => readFileSync(join(last, file)));
  const metrics = [...readMetrics(join(folder, "metrics.jsonl"))];
  return [...files, metrics.map((event) => ({ ...event, seconds: 0, tokens_per_second: 0 }))];
}

/** Runs until it is done or until some milliseconds after its first step; gives the signal or exit code. */
function runFor(folder: string, milliseconds: number): Promise<NodeJS.Signals | number | null> {
  const process = spawn(globalThis.process.execPath, [child, folder, String(STEPS)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let timer: NodeJS.Timeout | undefined;
  process.stdout.on("data", () => {
    timer ??= setTimeout(() => process.kill("SIGKILL"), milliseconds);
  });
  return new Promise((resolve) => {
    process.on("exit", (code, signal) => {
      clearTimeout(timer);
      resolve(signal ?? code);
    });
  });
}

test(`a run that is killed at ${KILLS} random moments ends with the same weights, to the last bit`, async () => {
  const whole = join(root, "whole");
  expect(await runFor(whole, 1e6)).toBe(0);
  const pieces = join(root, "pieces");
  const moments: number[] = [];
  while (moments.length < KILLS) {
    const moment = Math.random() * 400;
    const end = await runFor(pieces, moment);
    // A run that was quick enough begins again: all kills shall hit it.
    if (end === 0) rmSync(pieces, { recursive: true });
    else if (end === "SIGKILL") moments.push(moment);
    else throw new Error(`the child ended with ${end} after ${moments.join(", ")} ms`);
  }
  expect(await runFor(pieces, 1e6), `killed after ${moments.join(", ")} ms`).toBe(0);
  expect(resultOf(pieces), `killed after ${moments.join(", ")} ms`).toEqual(resultOf(whole));
  expect(readdirSync(join(pieces, "checkpoints")).filter((name) => name.startsWith("."))).toEqual([]);
}, 600_000);

describe("a full disk", () => {
  /** A run whose files may have this many bytes at most: the system refuses what is written beyond, as a full disk does. */
  function limited(
    folder: string,
    steps: number,
    bytes: number,
  ): { readonly code: number | null; readonly out: string } {
    const script = `trap '' XFSZ; ulimit -f ${Math.floor(bytes / 512)}; exec "$0" "$@"`;
    const { status, stdout, stderr } = spawnSync("sh", ["-c", script, process.execPath, child, folder, `${steps}`], {
      encoding: "utf8",
    });
    return { code: status, out: stdout + stderr };
  }

  test("is told, the last checkpoint stays, nothing half-written is left, and the training goes on", async () => {
    const folder = join(root, "full");
    expect(spawnSync(process.execPath, [child, folder, "4"]).status).toBe(0);
    const model = statSync(join(folder, "checkpoints/00000004/model.safetensors")).size;
    const optimizer = statSync(join(folder, "checkpoints/00000004/optimizer.safetensors")).size;
    expect(optimizer).toBeGreaterThan(model + 1024);
    // Room for the weights, not for the optimizer's states.
    const { code, out } = limited(folder, 8, (model + optimizer) / 2);
    expect(code).toBe(1);
    expect(out).toMatch(/the checkpoint of step 6 could not be saved: EFBIG: .*; the last one is of step 4/);
    expect(out).toContain('"event":"step","step":8');
    expect(out).toContain('"reason":"failed","step":8');
    expect(readdirSync(join(folder, "checkpoints"))).toEqual(["00000002", "00000004"]);
    expect(existsSync(join(folder, "lock"))).toBe(false);
  }, 300_000);
});
