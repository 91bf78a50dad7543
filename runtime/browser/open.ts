/** The side of the page: a model that is asked over a port. */
import { answerOf, type GenerateOptions, type Generation, type GenerationEnd } from "../package/answer.ts";
import type { ChatMessage, ChatOptions, ModelMemory, ModelNames, ModelTensor } from "../package/model.ts";
import { ModelError } from "../package/model-error.ts";
import type { Scores } from "../package/score.ts";
import type { Row, StepOf, TrainerOptions, TrainingNames } from "../package/trainer.ts";
import type { EngineCounts } from "../serve/engine/counts.ts";
import { Outbox } from "../serve/outbox.ts";
import type { GeneratedToken } from "../serve/text/token-texts.ts";
import type { Evaluation } from "../train/evaluate.ts";
import type { TrainingPlan } from "../train/plan.ts";
import { received } from "./errors.ts";
import type { Asked, CallName, Calls, Facts, Port, Prompt, Told } from "./messages.ts";
import type { BrowserModel, BrowserTrainer, LoadOptions, Progress, WeightsFolder } from "./model.ts";

/**
 * Loads a package in the browser, in a worker of its own.
 * @param folder the address of the package
 * @throws NoGpuError without WebGPU; LimitError for an adapter that is too small; ShardError for weights that cannot be had;
 *   CheckpointError for weights that do not fit; ModelError for what is no package
 */
export async function openInBrowser<Names extends ModelNames = ModelNames>(
  folder: string | URL,
  { weights, tokenizer, worker = true, onProgress, signal, ...options }: LoadOptions = {},
): Promise<BrowserModel<Names>> {
  signal?.throwIfAborted();
  const { port, end } = await connected(worker);
  const line = new Line(port, onProgress ?? (() => {}));
  if (port instanceof Worker) watch(port, line);
  try {
    const request = {
      ...options,
      package: folderOf(folder),
      ...(weights === undefined ? {} : { weights: sentWeights(weights) }),
      ...(tokenizer === undefined ? {} : { tokenizer: folderOf(tokenizer) }),
    };
    const facts = await line.call("open", [request], signal);
    return new RemoteModel(line, facts, end) as unknown as BrowserModel<Names>;
  } catch (error) {
    end();
    throw error;
  }
}

/** An address with a slash at the end: what lies in the folder is relative to it. */
function folderOf(folder: string | URL): string {
  const url = new URL(folder, document.baseURI);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url.href;
}

function sentWeights(weights: WeightsFolder): string | FileSystemDirectoryHandle {
  return typeof weights === "string" || weights instanceof URL ? folderOf(weights) : weights;
}

async function connected(worker: boolean | (() => Worker)): Promise<{ readonly port: Port; readonly end: () => void }> {
  if (worker === false) {
    const { host } = await import("./host.ts");
    const { port1, port2 } = new MessageChannel();
    host(port2 as unknown as Port);
    port1.start();
    port2.start();
    return { port: port1 as unknown as Port, end: () => port1.close() };
  }
  // Bundlers know a worker by exactly this expression.
  const own =
    worker === true ? new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "dskc" }) : worker();
  return { port: own, end: () => own.terminate() };
}

/** A worker that cannot be loaded, or dies. */
function watch(worker: Worker, line: Line): void {
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    line.fail(new ModelError(`the worker of the model failed: ${event.message || "it cannot be loaded"}`));
  });
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onToken: ((token: GeneratedToken) => void) | undefined;
}

/** Calls over a port. */
class Line {
  readonly #port: Port;
  readonly #pending = new Map<number, Pending>();
  #next = 0;
  #failed: Error | undefined;

  constructor(port: Port, onProgress: (progress: Progress) => void) {
    this.#port = port;
    port.addEventListener("message", ({ data }: MessageEvent<Told>) => {
      if ("progress" in data) return onProgress(data.progress);
      const pending = this.#pending.get(data.id);
      if (pending === undefined) return;
      if ("token" in data) return pending.onToken?.(data.token);
      this.#pending.delete(data.id);
      if ("error" in data) pending.reject(received(data.error));
      else pending.resolve(data.value);
    });
  }

  /** @throws what the other side threw; the signal's reason as soon as it is aborted */
  async call<Name extends CallName>(
    call: Name,
    args: Parameters<Calls[Name]>,
    signal?: AbortSignal,
    onToken?: (token: GeneratedToken) => void,
  ): Promise<Awaited<ReturnType<Calls[Name]>>> {
    if (this.#failed !== undefined) throw this.#failed;
    signal?.throwIfAborted();
    const id = this.#next++;
    const answer = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject, onToken }));
    const cancel = (): void => {
      this.#say({ id, cancel: true });
      this.#pending.get(id)?.reject(signal!.reason);
      this.#pending.delete(id);
    };
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      this.#say({ id, call, args });
      return (await answer) as Awaited<ReturnType<Calls[Name]>>;
    } finally {
      this.#pending.delete(id);
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** Whatever waits, or is asked from now on, fails with this. */
  fail(error: Error): void {
    this.#failed ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#failed);
    this.#pending.clear();
  }

  #say(message: Asked): void {
    this.#port.postMessage(message, []);
  }
}

class RemoteModel implements BrowserModel {
  readonly name: string;
  readonly device: string;
  readonly vocabulary: number;
  readonly context: number;
  readonly trainings: readonly string[];
  readonly chats: boolean;
  readonly #line: Line;
  readonly #end: () => void;

  constructor(line: Line, facts: Facts, end: () => void) {
    this.#line = line;
    this.#end = end;
    this.name = facts.name;
    this.device = facts.device;
    this.vocabulary = facts.vocabulary;
    this.context = facts.context;
    this.trainings = facts.trainings;
    this.chats = facts.chats;
  }

  generate(prompt: string | readonly number[], { signal, ...options }: GenerateOptions = {}): Generation {
    return answerOf(() => this.#answer({ prompt, options }, signal));
  }

  chat(messages: readonly ChatMessage[], { signal, ...options }: ChatOptions = {}): Generation {
    return answerOf(() => this.#answer({ messages, options }, signal));
  }

  async *#answer(
    prompt: Prompt,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<GeneratedToken, GenerationEnd, undefined> {
    const left = new AbortController();
    const canceled = signal === undefined ? left.signal : AbortSignal.any([left.signal, signal]);
    const outbox = new Outbox<GeneratedToken>();
    const end = this.#line.call("answer", [prompt], canceled, (token) => outbox.put(token));
    // Who stops reading is told nothing of the end.
    end.catch(() => undefined).finally(() => outbox.end());
    try {
      for await (const tokens of outbox) yield* tokens;
      return await end;
    } finally {
      left.abort();
    }
  }

  score(rows: readonly (string | readonly number[])[]): Promise<Scores> {
    return this.#line.call("score", [rows]);
  }

  param(name: string): Promise<ModelTensor> {
    return this.#line.call("param", [name]);
  }

  async trainer(name: string, options: TrainerOptions = {}): Promise<BrowserTrainer> {
    const { trainer, plan } = await this.#line.call("trainer", [name, options]);
    return new RemoteTrainer(this.#line, trainer, plan);
  }

  load(weights: WeightsFolder, { signal }: Pick<LoadOptions, "signal"> = {}): Promise<void> {
    return this.#line.call("load", [sentWeights(weights)], signal);
  }

  encode(text: string): Promise<number[]> {
    return this.#line.call("encode", [text]);
  }

  decode(tokens: readonly number[]): Promise<string> {
    return this.#line.call("decode", [tokens]);
  }

  memory(): Promise<ModelMemory> {
    return this.#line.call("memory", []);
  }

  counts(): Promise<Readonly<EngineCounts> | undefined> {
    return this.#line.call("counts", []);
  }

  async close(): Promise<void> {
    try {
      await this.#line.call("close", []);
    } finally {
      this.#end();
      this.#line.fail(new ModelError(`${this.name} is closed`));
    }
  }
}

class RemoteTrainer implements BrowserTrainer {
  readonly plan: TrainingPlan;
  readonly #line: Line;
  readonly #number: number;
  #steps = 0;

  constructor(line: Line, number: number, plan: TrainingPlan) {
    this.#line = line;
    this.#number = number;
    this.plan = plan;
  }

  get steps(): number {
    return this.#steps;
  }

  async step(rows: readonly Row[]): Promise<StepOf<TrainingNames>> {
    const result = await this.#line.call("step", [this.#number, rows]);
    this.#steps++;
    return result;
  }

  evaluate(rows: readonly Row[]): Promise<Evaluation> {
    return this.#line.call("evaluate", [this.#number, rows]);
  }

  publish(): Promise<void> {
    return this.#line.call("publish", [this.#number]);
  }

  save(): Promise<Blob> {
    return this.#line.call("save", [this.#number]);
  }

  close(): Promise<void> {
    return this.#line.call("closeTrainer", [this.#number]);
  }
}
