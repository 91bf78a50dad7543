import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import type { StepEvent, StopEvent, TrainEvent, ValidationEvent } from "../../../runtime/train/events.ts";
import { readMetrics } from "../../../runtime/train/metrics-log.ts";
import { type RunOptions, runTraining } from "../../../runtime/train/run.ts";
import { PLAN, tinyTraining } from "../../support/tiny-training.ts";

const root = mkdtempSync(join(tmpdir(), "dskc-run-"));
afterAll(() => rmSync(root, { recursive: true }));

let folders = 0;
const newFolder = (): string => join(root, `${folders++}`);

interface Ran {
  readonly folder: string;
  readonly stop: StopEvent;
  readonly events: readonly TrainEvent[];
}

async function train(options: Partial<RunOptions> = {}, changes: Partial<typeof PLAN> = {}): Promise<Ran> {
  const folder = options.folder ?? newFolder();
  const events: TrainEvent[] = [];
  const listen = (event: TrainEvent): void => {
    events.push(event);
    options.listen?.(event);
  };
  const stop = await runTraining({
    ...tinyTraining(changes),
    folder,
    saveEvery: 4,
    evaluateEvery: 10,
    ...options,
    listen,
  });
  return { folder, stop, events };
}

/** Trains up to a step, as if somebody had pressed Ctrl-C in it. */
async function interrupted(step: number, folder = newFolder()): Promise<string> {
  const abort = new AbortController();
  const listen = (event: TrainEvent): void => {
    if (event.event === "step" && event.step === step) abort.abort();
  };
  const { stop } = await train({ folder, listen, signal: abort.signal, resume: true });
  expect(stop).toMatchObject({ reason: "interrupted", step });
  return folder;
}

/** The bytes of the weights and the optimizer of a checkpoint. */
function bytesOf(folder: string, step = 30): Buffer[] {
  const path = join(folder, "checkpoints", String(step).padStart(8, "0"));
  return ["model.safetensors", "optimizer.safetensors"].map((file) => readFileSync(join(path, file)));
}

/** Metrics without what a clock on the wall says. */
function metricsOf(folder: string): unknown[] {
  return [...readMetrics(join(folder, "metrics.jsonl"))].map((event) => ({
    ...event,
    seconds: 0,
    tokens_per_second: 0,
  }));
}

const whole = await train();

describe("a run", () => {
  const metrics = [...readMetrics(join(whole.folder, "metrics.jsonl"))];
  const steps = metrics.filter((event): event is StepEvent => event.event === "step");
  const validations = metrics.filter((event): event is ValidationEvent => event.event === "validation");

  test("learns", () => {
    expect(whole.stop).toMatchObject({ reason: "done", step: 30 });
    expect(validations.map(({ step }) => step)).toEqual([0, 10, 20, 30]);
    expect(validations[0]!.loss).toBeCloseTo(Math.log(32), 0);
    expect(validations.at(-1)!.loss).toBeLessThan(0.6 * validations[0]!.loss);
    expect(validations[0]!.scored).toBe(8 * 16);
  });

  test("logs every step", () => {
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    const { losses, load_violation, ...last } = steps.at(-1)!;
    expect(last).toMatchObject({
      tokens: 30 * 64,
      sequences: 120,
      epochs: 0.6,
      progress: 1,
      lr: 0.01,
      scalars: { "train.balance_rate": 1e-3 },
    });
    expect(Object.keys(losses)).toEqual(["next_token", "sequence_balance", "mtp"]);
    expect(last.loss).toBeCloseTo(losses["next_token"]! + 1e-3 * losses["sequence_balance"]! + 0.3 * losses["mtp"]!, 5);
    expect(Object.keys(load_violation!.layers)).toEqual(["trunk.0.ffn", "trunk.1.ffn", "mtp.0.layer.ffn"]);
    expect(steps[4]!.lr).toBeCloseTo(1e-3 + 0.4 * 9e-3, 9);
  });

  test("keeps the newest checkpoints", () => {
    expect(readdirSync(join(whole.folder, "checkpoints"))).toEqual(["00000024", "00000028", "00000030"]);
    const weights = new Checkpoint(join(whole.folder, "checkpoints/00000030"));
    expect(weights.names).toContain("trunk.1.ffn.bias");
    expect(weights.names.filter((name) => name.startsWith("optimizer."))).toEqual([]);
  });

  test("tells what happens", () => {
    expect(whole.events[0]).toMatchObject({
      event: "start",
      name: "Short",
      model: "Pico",
      device: "reference",
      step: 0,
    });
    expect(whole.events.filter(({ event }) => event === "checkpoint")).toHaveLength(8);
    expect(whole.events.at(-1)).toMatchObject({ event: "stop", reason: "done" });
  });

  test("is the same when it is made again, to the last bit", async () => {
    const again = await train();
    expect(bytesOf(again.folder)).toEqual(bytesOf(whole.folder));
    expect(metricsOf(again.folder)).toEqual(metricsOf(whole.folder));
  });

  test("is another one with another seed", async () => {
    const other = await train({}, { seed: 8 });
    expect(bytesOf(other.folder)).not.toEqual(bytesOf(whole.folder));
  });
});

describe("resuming", () => {
  test("after interruptions gives the same weights and metrics", async () => {
    const folder = await interrupted(7);
    await interrupted(10, folder);
    await interrupted(11, folder);
    const { stop, events } = await train({ folder, resume: true });
    expect(events[0]).toMatchObject({ event: "start", step: 11 });
    expect(stop).toMatchObject({ reason: "done", step: 30 });
    expect(bytesOf(folder)).toEqual(bytesOf(whole.folder));
    expect(metricsOf(folder)).toEqual(metricsOf(whole.folder));
  });

  test("starts where there is nothing yet", async () => {
    const { events } = await train({ resume: true }, { stop: { clock: "steps", value: 1 } });
    expect(events[0]).toMatchObject({ event: "start", step: 0 });
  });

  test("passes over a damaged checkpoint, says so, and gives the same weights", async () => {
    const folder = await interrupted(11);
    const file = join(folder, "checkpoints/00000011/optimizer.safetensors");
    const bytes = readFileSync(file);
    bytes[bytes.length - 5]! ^= 1;
    writeFileSync(file, bytes);
    const { events } = await train({ folder, resume: true });
    expect(events[0]).toMatchObject({
      event: "warning",
      message: expect.stringMatching(/a damaged checkpoint is passed over: .*00000011: optimizer.safetensors does not/),
    });
    expect(events[1]).toMatchObject({ event: "start", step: 8 });
    expect(bytesOf(folder)).toEqual(bytesOf(whole.folder));
    expect(metricsOf(folder)).toEqual(metricsOf(whole.folder));
  });

  test("stops when all checkpoints are damaged, and touches none of them", async () => {
    const folder = await interrupted(5);
    for (const step of ["00000004", "00000005"]) rmSync(join(folder, "checkpoints", step, "model.safetensors"));
    const left = readdirSync(join(folder, "checkpoints"), { recursive: true }).toSorted();
    await expect(train({ folder, resume: true })).rejects.toThrow(
      /no checkpoint of `.*checkpoints` is sound: .*00000005.*; .*00000004/,
    );
    expect(readdirSync(join(folder, "checkpoints"), { recursive: true }).toSorted()).toEqual(left);
  });

  test("after a fault goes on as well; the fault is told", async () => {
    const folder = newFolder();
    const { session } = tinyTraining();
    const run = session.run.bind(session);
    let calls = 0;
    session.run = (call) => (++calls === 9 ? Promise.reject(new Error("device lost")) : run(call));
    await expect(train({ folder, session })).rejects.toThrow("device lost");
    expect(JSON.parse(readFileSync(join(folder, "status.json"), "utf8"))).toMatchObject({
      stop: { reason: "failed", message: "device lost" },
    });
    await train({ folder, resume: true });
    expect(bytesOf(folder)).toEqual(bytesOf(whole.folder));
  });

  test("of a run that is done changes nothing", async () => {
    const before = bytesOf(whole.folder);
    const { stop, events } = await train({ folder: whole.folder, resume: true });
    expect(stop).toMatchObject({ reason: "done", step: 30 });
    expect(events.map(({ event }) => event)).toEqual(["start", "stop"]);
    expect(bytesOf(whole.folder)).toEqual(before);
  });

  test("refuses another plan, and says what changed", async () => {
    const folder = await interrupted(2);
    const scalars = { ...PLAN.scalars, lr: PLAN.scalars["train.balance_rate"]! };
    await expect(train({ folder, resume: true }, { scalars, seed: 9 })).rejects.toThrow(
      "holds a run of another plan: seed, scalars.lr.pieces.0.until, scalars.lr.pieces.0.shape.kind",
    );
  });

  test("makes a run longer", async () => {
    const { folder } = await train({}, { stop: { clock: "steps", value: 6 } });
    const { events } = await train({ folder, resume: true });
    expect(events[0]).toMatchObject({ event: "start", step: 6 });
    expect(bytesOf(folder)).toEqual(bytesOf(whole.folder));
  });

  test("is not needed where nothing was trained yet", async () => {
    const folder = newFolder();
    const data = () => Promise.reject(new Error("no file matches"));
    await expect(train({ folder, data })).rejects.toThrow("no file matches");
    const { events } = await train({ folder }, { seed: 9, stop: { clock: "steps", value: 1 } });
    expect(events[0]).toMatchObject({ event: "start", step: 0 });
  });

  test("of a run without its plan is refused", async () => {
    const folder = await interrupted(2);
    writeFileSync(join(folder, "plan.json"), "{");
    await expect(train({ folder, resume: true })).rejects.toThrow(
      "plan.json` says what was trained here, and cannot be",
    );
  });

  test("must be asked for", async () => {
    const folder = await interrupted(2);
    await expect(train({ folder })).rejects.toThrow("holds a run: continue it with --resume");
  });
});

describe("what is not finite", () => {
  test("in a step ends the run; the last checkpoint is kept", async () => {
    const far = { kind: "constant", from: 1e30, to: 1e30 } as const;
    const lr = {
      by: "steps",
      pieces: [{ until: { value: 10, clock: "steps" }, shape: { ...far, from: 0.01, to: 0.01 } }, { shape: far }],
    } as const;
    const { stop, folder, events } = await train({}, { scalars: { ...PLAN.scalars, lr } });
    expect(stop).toMatchObject({ reason: "failed", step: 11 });
    expect(stop.message).toMatch(
      /^step 12: the (loss `next_token`|norm of the gradient) is (NaN|Infinity); the first bad tensor is `[\w.]+`, from element \d+ on; the checkpoint of step 8 is kept$/,
    );
    expect(events.at(-1)).toEqual(stop);
    expect(readdirSync(join(folder, "checkpoints"))).toEqual(["00000004", "00000008"]);
    expect([...readMetrics(join(folder, "metrics.jsonl"))].at(-1)!.step).toBe(11);
  });

  test("in the weights is found before they are saved", async () => {
    const far = { pieces: [{ shape: { kind: "constant", from: Infinity, to: Infinity } }], by: "steps" } as const;
    const { stop, folder } = await train({ saveEvery: 1 }, { scalars: { ...PLAN.scalars, lr: far } });
    expect(stop.message).toMatch(
      /^step 1: `\S+` has a value that is not finite, at element 0; there is no checkpoint yet$/,
    );
    expect(readdirSync(join(folder, "checkpoints"))).toEqual([]);
  });

  test("in the weights to start from is an error", async () => {
    const weights: RunOptions["weights"] = (session) => {
      const values = session.read("trunk.1.ffn.gate") as Float32Array;
      values[3] = NaN;
      session.write("trunk.1.ffn.gate", values);
    };
    await expect(train({ weights })).rejects.toThrow(
      "the weights to start from: `trunk.1.ffn.gate` has a value that is not finite, at element 3",
    );
  });
});
