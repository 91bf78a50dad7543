/** The side of the model: does what the page asks. */
import { OpenedModel } from "../package/open.ts";
import type { ModelTrainer } from "../package/trainer.ts";
import { ModelError } from "../package/model-error.ts";
import { sent } from "./errors.ts";
import { type FetchedFiles, fetchPackage } from "./fetch-package.ts";
import type { Asked, Calls, Facts, OpenRequest, Port, Prompt, Told } from "./messages.ts";

/** What a call may use beside its arguments. */
interface Context {
  readonly signal: AbortSignal;
  /** Says something before the end. */
  readonly tell: (part: { readonly token: unknown }) => void;
}

type Hosted = {
  readonly [Name in keyof Calls]: (context: Context, ...args: Parameters<Calls[Name]>) => ReturnType<Calls[Name]>;
};

/** Answers what comes from a port. */
export function host(port: Port): void {
  const running = new Map<number, AbortController>();
  const tell = (message: Told, transfer: Transferable[] = []): void => port.postMessage(message, transfer);
  const calls = new Host((what, done, all) => tell({ progress: { what, done, all } })).calls;
  port.addEventListener("message", ({ data }: MessageEvent<Asked>) => {
    const { id } = data;
    if ("cancel" in data) return running.get(id)?.abort();
    const controller = new AbortController();
    running.set(id, controller);
    const context: Context = { signal: controller.signal, tell: (part) => tell({ id, ...part } as Told) };
    const work = calls[data.call] as (context: Context, ...args: readonly unknown[]) => Promise<unknown>;
    work(context, ...data.args)
      .then(
        (value) => tell({ id, value }, transferred(value)),
        (error: unknown) => tell({ id, error: sent(error) }),
      )
      .finally(() => running.delete(id));
  });
}

/** Copies of arrays belong to who asked for them: they are handed over. */
function transferred(value: unknown): Transferable[] {
  const buffers = new Set<ArrayBuffer>();
  const visit = (part: unknown): void => {
    if (ArrayBuffer.isView(part)) buffers.add(part.buffer as ArrayBuffer);
    else if (Array.isArray(part)) part.forEach(visit);
    else if (typeof part === "object" && part !== null && !(part instanceof Blob)) Object.values(part).forEach(visit);
  };
  visit(value);
  return [...buffers];
}

class Host {
  readonly #listen: (what: string, done: number, all: number) => void;
  #model: OpenedModel | undefined;
  #files: FetchedFiles | undefined;
  /** By their numbers; those that are closed stay where they were. */
  readonly #trainers: ModelTrainer[] = [];

  constructor(listen: (what: string, done: number, all: number) => void) {
    this.#listen = listen;
  }

  readonly calls: Hosted = {
    open: (context, request) => this.#open(context, request),
    load: async ({ signal }, weights) => {
      const path = await this.#files!.addWeights(weights, signal);
      await this.#opened.load(path!);
    },
    answer: async (context, prompt) => {
      const answer = this.#answer(context, prompt);
      for await (const token of answer) context.tell({ token });
      return answer.end!;
    },
    score: (_, rows) => this.#opened.score(rows),
    param: (_, name) => this.#opened.param(name),
    encode: async (_, text) => this.#tokenizer.encode(text),
    decode: async (_, tokens) => this.#tokenizer.decode(tokens),
    memory: async () => this.#opened.memory(),
    counts: async () => this.#opened.counts,
    trainer: async (_, name, options) => {
      const made = await this.#opened.trainer(name, options);
      const trainer = this.#trainers.push(made) - 1;
      return { trainer, plan: made.plan };
    },
    step: (_, trainer, rows) => this.#trainer(trainer).step(rows),
    evaluate: (_, trainer, rows) => this.#trainer(trainer).evaluate(rows),
    publish: (_, trainer) => this.#trainer(trainer).publish(),
    save: async (_, trainer) => {
      const name = `trainer ${trainer}`;
      await this.#trainer(trainer).save(name);
      const blob = this.#files!.saved.get(name)!;
      this.#files!.saved.delete(name);
      return blob;
    },
    closeTrainer: async (_, trainer) => this.#trainer(trainer).close(),
    close: async () => this.#model?.close(),
  };

  async #open({ signal }: Context, request: OpenRequest): Promise<Facts> {
    const { package: folder, weights, tokenizer, cache = true, ...options } = request;
    const listen = this.#listen;
    const { source, files } = await fetchPackage(folder, { tokenizer, cache, listen, signal });
    const path = await files.addWeights(weights ?? `${folder}weights/`, signal, weights === undefined);
    const model = new OpenedModel(source, {
      ...options,
      ...(path === undefined ? {} : { weights: path }),
      onWeights: listen,
    });
    // Weights that do not fit are told now.
    if (model.hasWeights) await model.serving();
    this.#model = model;
    this.#files = files;
    return {
      name: model.name,
      device: model.device,
      vocabulary: model.vocabulary,
      context: model.context,
      trainings: source.trainings.map(({ plan }) => plan.name),
      chats: source.talks && model.tokenizer?.chat !== undefined,
    };
  }

  #answer({ signal }: Context, prompt: Prompt): ReturnType<OpenedModel["generate"]> {
    if ("messages" in prompt) return this.#opened.chat(prompt.messages, { ...prompt.options, signal });
    return this.#opened.generate(prompt.prompt, { ...prompt.options, signal });
  }

  get #opened(): OpenedModel {
    if (this.#model !== undefined) return this.#model;
    throw new ModelError("the model is not open");
  }

  get #tokenizer(): NonNullable<OpenedModel["tokenizer"]> {
    const { tokenizer, name } = this.#opened;
    if (tokenizer !== undefined) return tokenizer;
    throw new ModelError(`${name} has no tokenizer`);
  }

  #trainer(number: number): ModelTrainer {
    return this.#trainers[number]!;
  }
}
