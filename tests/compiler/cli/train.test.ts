import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TrainEvent } from "../../../runtime/train/events.ts";
import { readMetrics } from "../../../runtime/train/metrics-log.ts";

const DSKC = resolve("bin/dskc.js");
const SPEC = `edition 2026

import { Gqa } from "std/attention"
import { DeepSeekMoe } from "std/moe"
import { Decoder, Embedding, RmsNorm } from "std/nn"

model Pico {
  dim V = 280
  dim D = 8
  dtype = f32

  use embed = Embedding[V, D]
  use trunk = stack { 1 of Decoder[D](mixer: Gqa[D, 1, 2, 4], ffn: DeepSeekMoe[D](E: 4, F: 6, K: 2, G: 1, keep: 1)) }
  use norm = RmsNorm[D]
  use head = Embedding[V, D].transposed

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return head(norm(trunk(embed(tokens), pos)))
  }
}

train Short for Pico {
  data         = text("*.md", pack: true)
  length       = 24 tokens
  stop         = 8 steps
  batch        = 2
  optimizer    = adamw(clip: 1.0)
  lr           = 1e-2
  balance_rate = 1e-3
  loss         = next_token()
}

train More for Pico from Short {
  stop = 1 steps
}

train Never for Pico from Short {
  data = text("*.txt")
}
`;

const folder = mkdtempSync(join(tmpdir(), "dskc-train-"));
afterAll(() => rmSync(folder, { recursive: true }));

const OPTIONS = ["--device", "reference", "--evaluate-every", "4", "--evaluate-tokens", "64", "--save-every", "3"];

function dskc(...args: string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  const env = { ...process.env, NO_COLOR: "1" };
  return spawnSync(process.execPath, [DSKC, ...args], { cwd: folder, encoding: "utf8", env });
}

/** Trains with `--json`; sends a signal when a step was made. Gives the exit code and the events. */
function stopped(args: string[], signal: NodeJS.Signals, step: number): Promise<[number | null, TrainEvent[]]> {
  const child = spawn(process.execPath, [DSKC, "train", "pico.dsk", ...args, "--json"], { cwd: folder });
  let [text, sent] = ["", false];
  child.stdout.on("data", (more: Buffer) => {
    text += more.toString();
    if (sent || !text.includes(`"event":"step","step":${step},`)) return;
    sent = true;
    child.kill(signal);
  });
  const events = (): TrainEvent[] =>
    text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as TrainEvent);
  return new Promise((done) => child.on("exit", (code) => done([code, events()])));
}

const weights = (run: string): Buffer => readFileSync(join(folder, run, "checkpoints/00000008/model.safetensors"));

beforeAll(() => {
  writeFileSync(join(folder, "pico.dsk"), SPEC);
  cpSync(resolve("docs/autodiff.md"), join(folder, "a.md"));
  cpSync(resolve("docs/passes.md"), join(folder, "b.md"));
});

describe("dskc train", () => {
  test("trains, tells how it goes, and leaves a run", () => {
    const { status, stdout, stderr } = dskc("train", "pico.dsk", ...OPTIONS);
    expect([status, stdout]).toEqual([0, ""]);
    expect(stderr).toMatch(
      /^a tokenizer of 280 tokens is learned from the data\ndata: [\d,]+ tokens, [\d,]+ more are held out\n/,
    );
    expect(stderr).toContain("Short  Pico, 5,");
    expect(stderr).toMatch(/step 8 \(100\.0 %\) {2}loss [\d.]+ {2}next_token/);
    expect(stderr).toContain("validation after step 4: loss ");
    expect(stderr.trimEnd().split("\n").at(-1)).toBe("done after step 8");
    const files = [
      "pico.dsk",
      "tokenizer.json",
      "plan.json",
      "model.json",
      "metrics.jsonl",
      "report.html",
      "status.json",
    ];
    expect(files.filter((file) => !existsSync(join(folder, "runs/Short", file)))).toEqual([]);
    expect(existsSync(join(folder, "runs/Short/lock"))).toBe(false);
  });

  test("trains on the CPU as the interpreter does, and again to the same weights", () => {
    for (const run of ["runs/cpu", "runs/again"]) {
      expect(dskc("train", "pico.dsk", ...OPTIONS, "--device", "cpu", "-o", run).status).toBe(0);
    }
    const losses = (run: string): number[] =>
      [...readMetrics(join(folder, run, "metrics.jsonl"))].map(({ loss }) => loss);
    const exact = losses("runs/Short");
    expect(losses("runs/cpu").length).toBe(exact.length);
    for (const [i, loss] of losses("runs/cpu").entries()) expect(Math.abs(loss - exact[i]!)).toBeLessThan(1e-4);
    expect(losses("runs/again")).toEqual(losses("runs/cpu"));
    expect(weights("runs/again")).toEqual(weights("runs/cpu"));
  });

  test("ends in order after a signal, with a code that says which; --resume goes on to the same weights", async () => {
    const args = [...OPTIONS, "-o", "runs/cut"];
    const [interrupted, first] = await stopped(args, "SIGINT", 2);
    expect(interrupted).toBe(130);
    expect(first.slice(-2)).toMatchObject([
      { event: "checkpoint" },
      { event: "stop", reason: "interrupted", step: first.findLast((e) => e.event === "step")!.step },
    ]);
    const [terminated, second] = await stopped([...args, "--resume"], "SIGTERM", 5);
    expect(terminated).toBe(143);
    expect(second.find((e) => e.event === "start")!.step).toBeGreaterThanOrEqual(2);
    expect(dskc("train", "pico.dsk", ...args, "--resume").status).toBe(0);
    expect(weights("runs/cut")).toEqual(weights("runs/Short"));
  });

  test("starts from the run of the section that it is based on", () => {
    const { status, stdout } = dskc("train", "pico.dsk", "More", ...OPTIONS, "--json");
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as TrainEvent);
    expect(status).toBe(0);
    const before = readFileSync(join(folder, "runs/Short/metrics.jsonl"), "utf8").trim().split("\n");
    const last = JSON.parse(before.at(-1)!) as { event: string; loss: number };
    expect(last.event).toBe("validation");
    expect(events.find((e) => e.event === "validation")!.loss).toBe(last.loss);
  });

  test.for<[string, number, string[]]>([
    ["holds a run: continue it with --resume", 1, ["pico.dsk"]],
    ["has no train section `Shirt`; did you mean `Short`?", 2, ["pico.dsk", "Shirt"]],
    ["no file matches `*.txt` in", 1, ["pico.dsk", "Never"]],
    ["runs/none: there is no such file or directory", 1, ["pico.dsk", "-o", "runs/x", "--weights", "runs/none"]],
    ["`0` is not a positive whole number", 2, ["pico.dsk", "--keep", "0"]],
    ["Allowed choices are cpu, webgpu, cuda, reference", 2, ["pico.dsk", "--device", "gpu"]],
  ])("says: %s", ([text, code, args]) => {
    const { status, stderr } = dskc("train", ...args);
    expect(stderr).toContain(text);
    expect(status).toBe(code);
  });
});
