/** `dskc train FILE [NAME]`: trains a model as a train section says. */
import { basename, dirname, join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { DataError } from "../../runtime/data/data-error.ts";
import { DeviceError, DeviceLostError } from "../../runtime/device/session.ts";
import { loadWeights } from "../../runtime/device/weights.ts";
import { replaceFile } from "../../runtime/io/replace-file.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import { LockedError } from "../../runtime/train/lock.ts";
import { openTrainingData } from "../../runtime/train/open-data.ts";
import { RunError } from "../../runtime/train/run-folder.ts";
import { runTraining } from "../../runtime/train/run.ts";
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { trainingPlan } from "../package/training-plan.ts";
import { examples, InputError, positive, readSource, remark, ticking, UsageError } from "./io.ts";
import { loadModel, type LoadedModel } from "./load-model.ts";
import { tableOf } from "./name-table.ts";
import { type Device, DEVICES, forTraining } from "./open-session.ts";
import { report } from "./report.ts";
import { StopSignal } from "./stop-signal.ts";
import { trainDisplay } from "./train-display.ts";
import { trainPlan } from "./train-plan.ts";

interface Options {
  readonly out?: string;
  readonly resume?: boolean;
  readonly device: Device;
  readonly model?: string;
  readonly weights?: string;
  readonly tokenizer?: string;
  readonly cache?: string;
  readonly json?: boolean;
  readonly tokensPerCall?: number;
  readonly saveEvery: number;
  readonly keep: number;
  readonly evaluateEvery: number;
  readonly evaluateTokens: number;
}

export function register(command: Command): void {
  command
    .argument("<file>", "a spec")
    .argument("[name]", "a train section; the first one of the model without this")
    .option("-o, --out <dir>", "the folder of the run; `runs/NAME` without this")
    .option("--resume", "go on from the newest sound checkpoint; start where there is none")
    .addOption(new Option("--device <device>", "where it runs").choices(DEVICES).default("cpu"))
    .option("--model <name>", "the model of the file; the first one without this")
    .option("--weights <dir>", "a checkpoint or a run to start from")
    .option("--tokenizer <dir>", "a folder with tokenizer.json; without this one is learned from the data")
    .option("--cache <dir>", "the folder of tokenized data; `.data` beside the run without this")
    .option("--tokens-per-call <n>", "the most tokens of one call; a step with more is split", positive)
    .option("--save-every <steps>", "steps between two checkpoints", positive, 200)
    .option("--keep <n>", "checkpoints that are kept", positive, 3)
    .option("--evaluate-every <steps>", "steps between two evaluations of held-out data", positive, 100)
    .option("--evaluate-tokens <n>", "tokens of an evaluation", positive, 16_384)
    .option("--json", "events as lines of JSON on stdout")
    .action(run);
  examples(
    command,
    ["dskc train specs/quickstart.dsk", "the run in runs/Pretrain"],
    ["dskc train model.dsk Tune -o runs/second --resume", "go on after an interruption"],
  );
}

async function run(file: string, name: string | undefined, options: Options): Promise<void> {
  const found = plansOf(file, name, options);
  if (found === undefined) return;
  const { loaded, plan, step } = found;
  const { model, open } = forTraining(loaded, step, tableOf(loaded.module), options.tokensPerCall !== undefined);
  const out = options.out ?? join("runs", plan.name);
  const weights = options.weights ?? (plan.from === undefined ? undefined : join(dirname(out), plan.from));
  const listen = trainDisplay(options.json ?? false);
  const stop = new StopSignal(() => {
    listen({ event: "warning", message: "the step is finished and saved; a second signal stops at once" });
  });
  try {
    const { reason } = await runTraining({
      folder: out,
      session: () => open(options.device),
      model,
      plan,
      data: (run) => {
        replaceFile(join(run, basename(file)), readSource(file).text);
        const { tokenizer, cache } = options;
        const where = { root: dirname(resolve(file)), run, tokenizer, cache };
        return openTrainingData(plan, model.vocabulary, { ...where, signal: stop.signal, remark });
      },
      resume: options.resume ?? false,
      ...(weights === undefined ? {} : { weights: (to) => loadWeights(to, model, weights, ticking()) }),
      ...(options.tokensPerCall === undefined ? {} : { tokensPerCall: options.tokensPerCall }),
      saveEvery: options.saveEvery,
      keep: options.keep,
      evaluateEvery: options.evaluateEvery,
      evaluateTokens: options.evaluateTokens,
      signal: stop.signal,
      listen,
    });
    if (reason === "failed") process.exitCode = 1;
    if (reason === "interrupted") process.exitCode = stop.exitCode;
  } catch (error) {
    if (stop.signal.aborted && error === stop.signal.reason) process.exitCode = stop.exitCode;
    else if (error instanceof DeviceLostError)
      throw new InputError(`${error.message}; --resume goes on from the last checkpoint`);
    else throw isInput(error) ? new InputError((error as Error).message) : error;
  } finally {
    stop.close();
  }
}

/** The train section in both forms: what the runtime follows, and what the programs are made from. */
function plansOf(file: string, name: string | undefined, { model }: Options) {
  const loaded = loadModel(file, model);
  if (loaded === undefined) return undefined;
  const section = name === undefined ? loaded.trains[0] : loaded.trains.find((train) => train.name === name);
  if (section === undefined) throw new UsageError(whyNoSection(loaded, name));
  const plan = trainingPlan(section, loaded, loaded.diagnostics);
  report(loaded.diagnostics.all);
  return plan === undefined ? undefined : { loaded, plan, step: trainPlan(section, loaded.training()) };
}

function whyNoSection({ decl, trains }: LoadedModel, name: string | undefined): string {
  if (name === undefined) return `\`${decl.name.text}\` has no train section`;
  const names = trains.map((train) => train.name);
  const help = didYouMean(name, names);
  return `\`${decl.name.text}\` has no train section \`${name}\`${help === undefined ? "" : `; ${help}`}`;
}

/** Whether the input is at fault, not dskc. */
function isInput(error: unknown): boolean {
  return [DataError, RunError, LockedError, CheckpointError, DeviceError].some((kind) => error instanceof kind);
}
