/** `dskc bench WHAT FILE`: how fast a model is on this machine, and how much faster the machine is. */
import { type Command, Option } from "commander";
import { availableThreads } from "../../runtime/device/cpu/limits.ts";
import { DeviceError, type ProfilingSession } from "../../runtime/device/session.ts";
import { loadWeights } from "../../runtime/device/weights.ts";
import { CheckpointError } from "../../runtime/io/safetensors/format.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import { initialize } from "../../runtime/train/init.ts";
import { vocabularySize } from "../elaborate/forward.ts";
import { LogitsError } from "../../runtime/serve/sampling/sampler.ts";
import type { WeightForm } from "../lower/stored-weights.ts";
import { modelFile } from "../package/model.ts";
import { lowered, loweredSource } from "../package/package.ts";
import { servingPrograms, trainingPrograms } from "../package/programs.ts";
import { trainingPlan } from "../package/training-plan.ts";
import type { Program } from "../tensor-ir/types.ts";
import { scoreProgram } from "../elaborate/score.ts";
import { type AnswersCase, type AnswersRow, benchAnswers } from "./bench/answers.ts";
import { type Amount, cacheRowsFor, drawnCall } from "./bench/calls.ts";
import { benchKernels } from "./bench/kernels.ts";
import { measureCuda } from "./bench/cuda.ts";
import { measureGpu } from "./bench/gpu.ts";
import { type MeasureMachine, measureMachine } from "./bench/machine.ts";
import { answersText, kernelsText, trainText } from "./bench/text.ts";
import { benchTrain } from "./bench/train.ts";
import { examples, InputError, number, positive, print, printJson, ticking, UsageError } from "./io.ts";
import { STORE_HELP, weightForm } from "./weight-form.ts";
import { loadModel, type LoadedModel } from "./load-model.ts";
import { tableOf } from "./name-table.ts";
import { openOnCpu, openOnCuda, openOnWebGpu } from "./open-session.ts";
import { report } from "./report.ts";
import { servePlan } from "../package/serve-plan.ts";
import { trainPlan } from "./train-plan.ts";

const WHATS = ["kernels", "train", "latency", "throughput"] as const;
const PROGRAMS = ["prefill", "decode", "score", "train_step"] as const;

interface Options {
  readonly model?: string;
  readonly program: (typeof PROGRAMS)[number];
  readonly train?: string;
  readonly weights?: string;
  readonly store?: WeightForm;
  readonly sequences?: number;
  readonly length?: number;
  readonly tokens?: number;
  readonly draft: boolean;
  readonly device: "cpu" | "webgpu" | "cuda";
  readonly threads: number;
  readonly seconds: number;
  readonly json?: boolean;
}

type Given = Omit<Options, "threads"> & { readonly threads?: number };

export function register(command: Command): void {
  command
    .addArgument(command.createArgument("<what>", "what is measured").choices(WHATS))
    .argument("<file>", "a spec, or a config.json of Hugging Face")
    .option("--model <name>", "the model of the file; the first one without this")
    .addOption(new Option("--program <name>", "whose kernels are measured").choices(PROGRAMS).default("prefill"))
    .option("--train <name>", "the train section; the first one of the model without this")
    .option("--weights <dir>", "a checkpoint or a run; initial weights without this, which cost the same")
    .option("--store <form>", STORE_HELP, weightForm)
    .option("--sequences <n>", "sequences of a call, or answers at the same time", positive)
    .option("--length <tokens>", "tokens of each, of its prompt, or in the cache before it decodes", positive)
    .option("--tokens <n>", "tokens of each answer", positive)
    .option("--no-draft", "do not guess tokens with look-ahead modules")
    .addOption(new Option("--device <device>", "where it runs").choices(["cpu", "webgpu", "cuda"]).default("cpu"))
    .option("--threads <n>", "threads of a call on the CPU; as many as there are processors without this", positive)
    .option("--seconds <s>", "about how long each measurement takes", number(0), 3)
    .option("--json", "print one JSON document")
    .action(run);
  examples(
    command,
    ["dskc bench kernels model.dsk --program decode", "each kernel's time and its share of the machine's peak"],
    ["dskc bench train model.dsk", "tokens/s of training steps"],
    ["dskc bench latency model.dsk", "time to the first token and to the next ones, alone"],
    ["dskc bench kernels model.dsk --device webgpu", "the same on a GPU, by its timestamps"],
    ["dskc bench throughput model.dsk", "tokens/s of 1, 8 and 32 answers at the same time"],
  );
}

async function run(what: (typeof WHATS)[number], file: string, given: Given): Promise<void> {
  const options: Options = { threads: availableThreads(), ...given };
  const loaded = loadModel(file, options.model);
  if (loaded === undefined) return;
  try {
    if (what === "kernels") await kernels(loaded, options);
    else if (what === "train") await train(loaded, options);
    else await answers(loaded, what, options);
  } catch (error) {
    const isInput = [CheckpointError, DeviceError, LogitsError].some((kind) => error instanceof kind);
    throw isInput ? new InputError((error as Error).message) : error;
  }
}

async function kernels(loaded: LoadedModel, options: Options): Promise<void> {
  const { module } = loaded;
  const { program: name, sequences = 1, seconds } = options;
  const amount = { sequences, length: options.length ?? (name === "decode" ? 1024 : 512) };
  const prepared = name === "train_step" ? training(loaded, options) : undefined;
  const programs = prepared?.programs ?? [
    name === "score" ? scoreProgram(module) : servingPrograms(module, false).find((one) => one.name === name)!,
  ];
  const model = prepared?.model ?? modelFile(module, tableOf(module));
  await withSession(programs, model, amount, { ...options, profile: true }, async (session, measure) => {
    const made = loweredSource({ programs, store: options.store });
    const program = made.programs.find((one) => one.name === name)!;
    const call = drawnCall(program, amount, vocabularySize(module));
    const result = await benchKernels(session, program, made.kernels, call, { seconds, measure });
    show(options, { model: module.name, ...amount, ...result }, kernelsText(result));
  });
}

async function train(loaded: LoadedModel, options: Options): Promise<void> {
  const prepared = training(loaded, options);
  if (prepared === undefined) return;
  const { model, programs, plan } = prepared;
  await withSession(programs, model, { sequences: 0, length: 0 }, options, async (session, measure) => {
    const { seconds } = options;
    const result = await benchTrain(session, plan, lowered(programs), model.vocabulary, { seconds, measure });
    show(options, { model: model.name, ...result }, trainText(result));
  });
}

async function answers(loaded: LoadedModel, what: "latency" | "throughput", options: Options): Promise<void> {
  const { module, serves } = loaded;
  const draftTokens = options.draft && serves[0] !== undefined ? servePlan(serves[0]).draftTokens : 0;
  const model = modelFile(module, tableOf(module));
  const cases = casesOf(what, options);
  const rows = cases.map(({ streams, promptTokens, answerTokens }) => ({
    sequences: streams,
    length: Math.ceil((promptTokens + answerTokens) / 64) * 64,
  }));
  const largest = rows.reduce((a, b) => (cacheRowsFor(a) > cacheRowsFor(b) ? a : b));
  await withSession(servingPrograms(module, draftTokens > 0), model, largest, options, async (session, measure) => {
    const results: AnswersRow[] = [];
    const how = { vocabulary: model.vocabulary, draftTokens, seconds: options.seconds };
    for (const one of cases) results.push(await benchAnswers(session, one, how));
    const { storeBytes, arenaBytes } = session.memory();
    const machine = await measure(storeBytes + arenaBytes);
    show(options, { model: module.name, machine, draftTokens, answers: results }, answersText(machine, results));
  });
}

/** Alone with prompts of three lengths, or several at the same time. */
function casesOf(what: "latency" | "throughput", { sequences, length, tokens = 64 }: Options): AnswersCase[] {
  const streams = sequences === undefined ? (what === "latency" ? [1] : [1, 8, 32]) : [sequences];
  const prompts = length === undefined ? (what === "latency" ? [16, 128, 1024] : [64]) : [length];
  return streams.flatMap((s) => prompts.map((p) => ({ streams: s, promptTokens: p, answerTokens: tokens })));
}

/** What a train section needs; undefined after a diagnostic for one that cannot be executed. @throws UsageError */
function training(loaded: LoadedModel, { train: name }: Options) {
  const section = name === undefined ? loaded.trains[0] : loaded.trains.find((one) => one.name === name);
  if (section === undefined)
    throw new UsageError(`\`${loaded.decl.name.text}\` has no train section ${name ?? ""}`.trim());
  const plan = trainingPlan(section, loaded, loaded.diagnostics);
  report(loaded.diagnostics.all);
  if (plan === undefined) return undefined;
  const trained = loaded.training();
  const step = trainPlan(section, trained);
  const { programs, transient } = trainingPrograms(loaded.module, trained.module, step, false);
  return { plan, programs, model: modelFile(trained.module, tableOf(loaded.module), step, transient) };
}

async function withSession(
  programs: readonly Program[],
  model: ModelFile,
  amount: Amount,
  {
    device,
    threads,
    weights,
    store,
    profile = false,
  }: Pick<Options, "device" | "threads" | "weights" | "store"> & { readonly profile?: boolean },
  use: (session: ProfilingSession, measure: MeasureMachine) => Promise<void>,
): Promise<void> {
  const source = { programs, model, store };
  const cacheRows = cacheRowsFor(amount);
  const { session, measure } =
    device === "cpu"
      ? {
          session: await openOnCpu(source, { threads, profile, cacheRows }),
          measure: (bytes: number) => measureMachine(bytes, threads),
        }
      : await (device === "cuda" ? onCuda() : onGpu());
  async function onCuda() {
    return { session: await openOnCuda(source, { profile, cacheRows }), measure: measureCuda };
  }
  async function onGpu() {
    const opened = await openOnWebGpu(source, { profile, cacheRows });
    return { session: opened, measure: (bytes: number) => measureGpu(opened.gpu, bytes) };
  }
  try {
    initialize(session, model, 1);
    if (weights !== undefined) loadWeights(session, model, weights, ticking());
    await use(session, measure);
  } finally {
    session.close();
  }
}

function show({ json }: Options, document: object, text: string): void {
  if (json) printJson(document);
  else print(text);
}
