import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { Diagnostics } from "../../../compiler/diagnostics/diagnostic.ts";
import { trainingPlan } from "../../../compiler/package/training-plan.ts";
import { checkFile } from "../../../dsl/semantics/check.ts";
import { TrainingClock } from "../../../runtime/train/clock.ts";
import type { TrainingPlan } from "../../../runtime/train/plan.ts";
import { constantSchedule } from "../../../runtime/train/schedule.ts";

const specs = resolve(import.meta.dirname, "../../../specs");
const quickstart = readFileSync(resolve(specs, "quickstart.dsk"), "utf8");

interface Result {
  readonly name: string;
  readonly plan: TrainingPlan | undefined;
  /** What is refused: `entry: why`, with the text that it stands in. */
  readonly refused: readonly string[];
}

/** The plans of all train sections of a text. */
function plansOf(text: string, path = "spec.dsk"): Result[] {
  const diagnostics = new Diagnostics();
  const { models, sections } = checkFile({ path, text }, diagnostics);
  expect(diagnostics.all.filter(({ severity }) => severity === "error")).toEqual([]);
  return sections.all
    .filter(({ kind }) => kind === "train")
    .map((section) => {
      const refusals = new Diagnostics();
      const plan = trainingPlan(section, models.get(section.model!)!, refusals);
      const refused = refusals.all.map(({ code, message, primary: { span } }) => {
        expect(code).toBe("DSK6902");
        return `${message.replace("cannot be executed yet: ", "")} | ${text.slice(span.start, span.end)}`;
      });
      return { name: section.name, plan, refused };
    });
}

/** Quickstart's plan with a line of the text replaced. */
function planOf(entry: string, by: string): Result {
  const pattern = new RegExp(`^  ${entry} *=.*$`, "m");
  expect(quickstart).toMatch(pattern);
  return plansOf(quickstart.replace(pattern, `  ${by}`))[0]!;
}

test("the plan of quickstart", () => {
  const [result] = plansOf(quickstart);
  expect(result).toEqual({
    name: "Pretrain",
    refused: [],
    plan: {
      format: 1,
      name: "Pretrain",
      model: "Tiny",
      data: { kind: "lines", files: "corpus/*.jsonl", field: "text", pack: true, fim: 0 },
      length: 256,
      batch: { unit: "sequences", size: constantSchedule(8) },
      stop: { clock: "steps", value: 900 },
      seed: 0,
      scalars: {
        lr: {
          by: "steps",
          pieces: [
            { until: { value: 40, clock: "steps" }, shape: { kind: "ramp", from: 1e-4, to: 4e-3 } },
            { until: { value: 900, clock: "steps" }, shape: { kind: "cosine", from: 4e-3, to: 2e-4 } },
            { shape: { kind: "constant", from: 2e-4, to: 2e-4 } },
          ],
        },
        "train.balance_rate": {
          by: "steps",
          pieces: [
            { until: { value: 600, clock: "steps" }, shape: { kind: "constant", from: 2e-2, to: 2e-2 } },
            { shape: { kind: "constant", from: 2e-3, to: 2e-3 } },
          ],
        },
      },
      losses: [
        { name: "next_token", weight: 1 },
        { name: "sequence_balance", weight: 1e-4 },
        { name: "mtp", weight: 0.3 },
      ],
      lookAhead: 1,
      optimizer: { name: "adamw", options: { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1 } },
      clip: 1,
    },
  });
});

describe("the specs", () => {
  const files = readdirSync(specs, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".dsk"));
  const all = files
    .toSorted()
    .flatMap((file) =>
      plansOf(readFileSync(resolve(specs, file), "utf8"), resolve(specs, file)).map((result) => ({ ...result, file })),
    );

  test("what cannot be executed yet is named, all else has a plan", () => {
    const refused = all.filter(({ plan }) => plan === undefined);
    const names = (results: typeof all): string[] => results.map(({ file, name }) => `${file} ${name}`);
    expect(names(refused)).toEqual([
      "deepseek-math-7b.dsk Reinforce",
      "deepseek-v3.dsk Reason",
      "r1-pipeline.dsk Zero",
      "r1-pipeline.dsk Reason",
      "r1-pipeline.dsk Align",
      "r1-pipeline.dsk AlignPreferences",
    ]);
    for (const result of refused) expect(result.refused).not.toEqual([]);
    for (const { plan, refused: none } of all) expect(plan === undefined).toBe(none.length > 0);
    expect(all.length - refused.length).toBeGreaterThan(15);
  });

  test("reasons", () => {
    const of = (file: string, name: string): readonly string[] =>
      all.find((result) => result.file === file && result.name === name)!.refused;
    expect(of("deepseek-math-7b.dsk", "Reinforce")).toEqual([
      "`objective` there is no training from rewards | grpo(group: 64, kl: 0.04, estimator: k3, ratio: token)",
      "`rollout` there is no training from rewards | 1_024",
      "`reward` there is no training from rewards | exact_answer()",
    ]);
  });

  test("plans are plain JSON, and their schedules have values from the first step to the last", () => {
    for (const { plan, file, name } of all) {
      if (plan === undefined) continue;
      expect(JSON.parse(JSON.stringify(plan)), `${file} ${name}`).toEqual(plan);
      const clock = new TrainingClock(plan, 1e11);
      expect(clock.batch).toBeGreaterThanOrEqual(1);
      const { clock: by, value } = plan.stop;
      const steps = by === "steps" ? value : 1_000_000;
      const marks = { 0: { steps: 0, tokens: 0, sequences: 0, epochs: 0 } };
      for (const schedule of Object.values(plan.scalars)) {
        expect(clock.value(schedule)).toBeGreaterThanOrEqual(0);
        const last = {
          steps,
          tokens: by === "tokens" ? value : 1e12,
          sequences: 1e8,
          epochs: by === "epochs" ? value : 1,
        };
        const early = Object.fromEntries([1_000, 2_000, 10_000].map((at) => [at, { ...last, steps: at, tokens: 1e9 }]));
        const ended = new TrainingClock(plan, 1e11);
        ended.restore({ done: last, marks: { ...marks, ...early } });
        expect(Number.isFinite(ended.value(schedule)), `${file} ${name}`).toBe(true);
      }
    }
  });
});

describe("entries", () => {
  test("data of every kind", () => {
    const data = planOf(
      "data",
      'data = mixture(text("a/**/*.md", pack: true, fim: 0.5) * 0.5, lines("b", field: "body") * 0.25, mixture(chat("c") * 0.4, shards("d") * 0.6) * 0.25)',
    );
    expect(data.plan!.data).toEqual({
      kind: "mixture",
      parts: [
        { share: 0.5, data: { kind: "text", files: "a/**/*.md", pack: true, fim: 0.5 } },
        { share: 0.25, data: { kind: "lines", files: "b", field: "body", pack: false, fim: 0 } },
        {
          share: 0.25,
          data: {
            kind: "mixture",
            parts: [
              { share: 0.4, data: { kind: "chat", files: "c", pack: false } },
              { share: 0.6, data: { kind: "shards", files: "d", pack: false, fim: 0 } },
            ],
          },
        },
      ],
    });
    expect(planOf("data", 'data = mixture(questions("q") * 1.0)').refused).toEqual([
      '`data` questions are for rewards | questions("q")',
    ]);
  });

  test("a batch in sequences or in tokens, also by a schedule", () => {
    const batch = (by: string): TrainingPlan["batch"] => planOf("batch", `batch = ${by}`).plan!.batch;
    expect(batch("64Ki tokens")).toEqual({ unit: "tokens", size: constantSchedule(65_536) });
    expect(batch("schedule by steps { ..10 => ramp(4, 16)  ..end => 16 }").unit).toBe("sequences");
    expect(batch("schedule by steps { ..10 => ramp(1Ki tokens, 4Ki tokens)  ..end => 4Ki tokens }")).toEqual({
      unit: "tokens",
      size: {
        by: "steps",
        pieces: [
          { until: { value: 10, clock: "steps" }, shape: { kind: "ramp", from: 1_024, to: 4_096 } },
          { shape: { kind: "constant", from: 4_096, to: 4_096 } },
        ],
      },
    });
  });

  test("a loss whose weight changes is an input, factor included", () => {
    const { plan } = planOf("loss", "loss = next_token() + 2 * mtp(schedule by tokens { ..1M => 0.3  ..end => 0.1 })");
    const weight = {
      by: "tokens",
      pieces: [
        { until: { value: 1e6, clock: "tokens" }, shape: { kind: "constant", from: 0.6, to: 0.6 } },
        { shape: { kind: "constant", from: 0.2, to: 0.2 } },
      ],
    };
    expect(plan!.losses).toEqual([
      { name: "next_token", weight: 1 },
      { name: "mtp", weight },
    ]);
    expect(plan!.scalars["train.loss.mtp"]).toEqual(weight);
  });

  test("look-ahead only where it is trained", () => {
    expect(planOf("loss", "loss = next_token()").plan!.lookAhead).toBe(0);
  });

  test("a loss that stands there twice", () => {
    expect(planOf("loss", "loss = mtp(0.1) + next_token() + mtp(0.2)").refused).toEqual([
      "`loss` `mtp` stands in it twice | mtp(0.2)",
    ]);
  });

  test("what is not executed", () => {
    expect(planOf("length", "length = schedule by steps { ..10 => 128 tokens  ..end => 256 tokens }").refused).toEqual([
      "`length` it may not change during a training | schedule by steps { ..10 => 128 tokens  ..end => 256 tokens }",
    ]);
    expect(planOf("length", "length = 256 tokens\n  freeze = [embed]").refused).toEqual([
      "`freeze` all params are trained | [embed]",
    ]);
    const precision = "length = 256 tokens\n  precision { gradients = bf16  moments = bf16 }";
    expect(planOf("length", precision).refused).toEqual([]);
    const eight = (args: string): readonly string[] =>
      planOf("length", `length = 256 tokens\n  precision { gemm = fp8(${args}) }`).refused;
    expect(eight("e4m3, activations: tile(1, 128), weights: tile(128, 128)")).toEqual([]);
    expect(eight("e5m2, activations: tile(1, 128), weights: tile(128, 128)")).toEqual([
      "`precision.gemm` eight-bit numbers are e4m3 | fp8(e5m2, activations: tile(1, 128), weights: tile(128, 128))",
    ]);
    expect(eight("e4m3, activations: tile(64, 128), weights: tile(128, 128)")).toEqual([
      "`precision.gemm` tiles of activations have one row | fp8(e4m3, activations: tile(64, 128), weights: tile(128, 128))",
    ]);
  });

  test("sgd, stops and the section before", () => {
    const { plan } = planOf("optimizer", "optimizer = sgd(momentum: 0.8, nesterov: true)");
    expect(plan!.optimizer).toEqual({ name: "sgd", options: { momentum: 0.8, nesterov: true, decay: 0 } });
    expect(plan!.clip).toBeUndefined();
    expect(planOf("stop", "stop = 3 epochs").plan!.stop).toEqual({ clock: "epochs", value: 3 });
    const [, second] = plansOf(
      `${quickstart}\ntrain Tune for Tiny from Pretrain {\n  stop = 1M tokens\n  seed = 5\n}\n`,
    );
    expect(second!.plan).toMatchObject({
      from: "Pretrain",
      length: 256,
      seed: 5,
      stop: { clock: "tokens", value: 1e6 },
    });
  });
});
