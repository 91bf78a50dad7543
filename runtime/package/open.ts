/** A package in memory, wherever it runs. */
import type { Message } from "../data/tokenizer/chat-template.ts";
import type { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import type { Session } from "../device/session.ts";
import { placeTensors } from "../device/place-tensors.ts";
import type { WeightsListener } from "../io/names/read-params.ts";
import { CheckpointError } from "../io/safetensors/format.ts";
import type { EngineCounts } from "../serve/engine/counts.ts";
import { Engine } from "../serve/engine/engine.ts";
import type { EngineOptions } from "../serve/engine/options.ts";
import { DEFAULT_SERVE_PLAN, type ServePlan, usualCacheRows, wholePages } from "../serve/plan.ts";
import { nonFiniteStore } from "../train/finite.ts";
import { initialize } from "../train/init.ts";
import { type PackagedTraining, trainedModel } from "../train/plan.ts";
import type { GenerateOptions, Generation } from "./answer.ts";
import { checkTokens, generation, type Generator } from "./generate.ts";
import type { ChatOptions, Model, ModelMemory, ModelServer, ModelTensor } from "./model.ts";
import { ModelError } from "./model-error.ts";
import { scoreRows, type Scores } from "./score.ts";
import { Serving } from "./serving.ts";
import { ANSWERING, type ModelSource, openForTraining } from "./source.ts";
import { readStore, readStores, type Stores, writeStores } from "./stores.ts";
import { type ModelTrainer, modelTrainer, type TrainerOptions } from "./trainer.ts";

export interface ModelOptions {
  /** A run, a checkpoint of Hugging Face or one of dskc; `weights` in the package when not given, if there is one. */
  readonly weights?: string;
  /** A folder with tokenizer.json; that beside the weights, or that of the package, when not given. */
  readonly tokenizer?: string;
  /** The serve section that says what the other options do not; the first one when not given. */
  readonly serve?: string;
  /** The longest prompt and answer together, in tokens. */
  readonly context?: number;
  /** Positions that the cache holds, of all answers together. */
  readonly cacheRows?: number;
  /** Tokens that the look-ahead modules guess. */
  readonly draftTokens?: number;
  /** How many answers run and wait, how much a step reads. */
  readonly engine?: Partial<Pick<EngineOptions, "maxRunning" | "maxWaiting" | "tokensPerStep">>;
  /** Threads of a call: as many as there are processors when not given. */
  readonly threads?: number;
  /** Told how far weights are that are read, and checked, before anything can be answered. */
  readonly onWeights?: WeightsListener;
}

/** A model over a device, an engine and the trainer. */
export class OpenedModel implements Omit<Model, "train" | "serve"> {
  readonly name: string;
  readonly vocabulary: number;
  protected readonly source: ModelSource;
  protected readonly options: ModelOptions;
  protected readonly plan: ServePlan;
  /** Where the weights came from: a path, or a trainer, with what of them the session that answers has no place for. */
  #weights: { readonly path: string } | { readonly learned: Stores } | undefined;
  #tokenizer: Tokenizer | undefined;
  #serving: Promise<Serving> | undefined;
  #opened: Serving | undefined;
  readonly #trainers = new Set<Session>();
  protected readonly servers = new Set<ModelServer>();
  #closed = false;

  constructor(source: ModelSource, options: ModelOptions) {
    this.source = source;
    this.options = options;
    this.plan = servePlanOf(source, options);
    this.name = source.model.name;
    this.vocabulary = source.model.vocabulary;
    const path = options.weights ?? source.weights;
    this.#weights = path === undefined ? undefined : { path };
    this.#tokenizer = this.#tokenizerWith(path);
  }

  get hasWeights(): boolean {
    return this.#weights !== undefined;
  }

  /** Never more than the caches hold. */
  get context(): number {
    return this.#opened?.engine.options.context ?? this.plan.context;
  }

  get device(): string {
    return this.source.device;
  }

  get tokenizer(): Tokenizer | undefined {
    return this.#tokenizer;
  }

  generate(prompt: string | readonly number[], options: GenerateOptions = {}): Generation {
    return generation(
      () => this.#generator(),
      () => this.#promptOf(prompt),
      options,
    );
  }

  chat(messages: readonly Message[], { variables, ...options }: ChatOptions = {}): Generation {
    const promptOf = (): number[] => {
      const tokenizer = this.needTokenizer();
      if (tokenizer.chat === undefined) throw new ModelError("the tokenizer has no chat template");
      const text = tokenizer.chat.render(messages, {
        addGenerationPrompt: true,
        ...(variables === undefined ? {} : { variables }),
      });
      return tokenizer.encodeWithSpecials(text);
    };
    return generation(() => this.#generator(), promptOf, options);
  }

  async score(rows: readonly (string | readonly number[])[]): Promise<Scores> {
    const tokens = rows.map((row) => this.#promptOf(row));
    if (rows.length === 0) throw new ModelError("there are no rows");
    tokens.forEach((row, i) => checkTokens(`row ${i + 1}`, row, this.vocabulary));
    const serving = await this.withWeights();
    return serving.run((session) => scoreRows(session, tokens));
  }

  async param(name: string): Promise<ModelTensor> {
    const serving = await this.withWeights();
    const spec = serving.session.stores.find((store) => store.name === name);
    if (spec === undefined) throw new ModelError(this.#whyNoParam(name));
    return { shape: spec.shape, ...(await serving.read((session) => readStore(session, spec))) };
  }

  #whyNoParam(name: string): string {
    const isOther = this.source.model.stores.some((store) => store.name === name);
    return isOther
      ? `\`${name}\` belongs to look-ahead modules, which are not loaded: \`draftTokens\` is 0`
      : `${this.name} has no param or state \`${name}\``;
  }

  async trainer(name: string, options: TrainerOptions = {}): Promise<ModelTrainer> {
    this.#checkOpen();
    const training = this.training(name);
    const model = trainedModel(this.source.model, training);
    const write = await this.weightsFor(training);
    const session = await openForTraining(this.source, training, this.options.threads);
    try {
      initialize(session, model, training.plan.seed);
      write?.(session);
      const trainer = modelTrainer(
        {
          session,
          model,
          plan: training.plan,
          tokenizer: () => this.needTokenizer(),
          publish: (from) => this.#take(from),
          save: this.source.files.save,
          onClose: () => this.#trainers.delete(session),
        },
        options,
      );
      this.#trainers.add(session);
      return trainer;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  async load(path: string): Promise<void> {
    this.#checkOpen();
    const tokenizer = this.#tokenizerWith(path);
    const opened = await this.#serving?.catch(() => undefined);
    if (opened !== undefined && tokenizer?.fingerprint === this.#tokenizer?.fingerprint)
      await opened.update((session) => this.#overwrite(session, path));
    else if (opened !== undefined) await this.#closeServing(opened);
    this.#weights = { path };
    this.#tokenizer = tokenizer;
    if (this.#opened === undefined) {
      this.#serving = undefined;
      await this.serving();
    }
  }

  /** Weights that are found not to be numbers when they were written leave none. */
  async #overwrite(session: Session, path: string): Promise<void> {
    const { model } = this.source;
    const placed = placeTensors(session.stores, model, this.source.files.checkpoint(path));
    this.#weights = undefined;
    placed.write(session, "all", this.options.onWeights);
    await checkFinite(session, path, this.options.onWeights);
  }

  get counts(): Readonly<EngineCounts> | undefined {
    return this.#opened?.engine.counts;
  }

  memory(): ModelMemory {
    const session = this.#opened?.session;
    return {
      serving: session && { ...session.memory(), cacheRows: session.cacheRows },
      trainers: [...this.#trainers].map((session) => session.memory()),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const server of this.servers) await server.drain(0);
    for (const session of this.#trainers) session.close();
    this.#trainers.clear();
    const serving = await this.#serving?.catch(() => undefined);
    serving?.session.close();
  }

  /** Another tokenizer takes another engine: which tokens there are is part of it. */
  async #closeServing({ engine, session }: Serving): Promise<void> {
    if (this.servers.size > 0) throw new ModelError("the weights have another tokenizer: end the server first");
    await engine.drain();
    session.close();
    this.#opened = undefined;
  }

  /** Opened when it is needed: who only trains needs no caches. */
  serving(): Promise<Serving> {
    return (this.#serving ??= this.#openServing());
  }

  async #openServing(): Promise<Serving> {
    this.#checkOpen();
    const { model, programs } = this.source;
    const { context, pageSize, draftTokens } = this.plan;
    // Caches of look-ahead modules are for guessing alone.
    const isGuess = (name: string): boolean => name.startsWith("draft.");
    const own = programs.filter((name) => ANSWERING.test(name) && (draftTokens > 0 || !isGuess(name)));
    const drafts = own.filter(isGuess).length;
    if (draftTokens > drafts)
      throw new ModelError(`${draftTokens} tokens are to be guessed, and ${model.name} looks ${drafts} ahead`);
    const session = await this.#openSession(own);
    const tokens = this.#tokenizer === undefined ? {} : { tokens: this.#tokenizer.size };
    try {
      const options = { context, pageSize, draftTokens, ...tokens, ...this.options.engine };
      const engine = new Engine(session, options, undefined, () => {
        if (this.path === undefined) throw new ModelError("what was learned is gone with the device: load weights");
        return this.#openSession(own);
      });
      return (this.#opened = new Serving(engine));
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** A session for answers, with the weights of the model. */
  async #openSession(programs: readonly string[]): Promise<Session> {
    const { context, pageSize, draftTokens } = this.plan;
    const { cacheRows, threads, onWeights: listen } = this.options;
    const session = await this.source.open({
      programs: Object.fromEntries(programs.map((name) => [name, name])),
      model: this.source.model,
      weights: this.path,
      cacheRows: cacheRows === undefined ? usualCacheRows(context, pageSize) : wholePages(cacheRows, pageSize),
      threads,
      listen,
    });
    try {
      await checkFinite(session, this.path, listen);
      this.#checkCache(session, draftTokens > 0);
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** What the spec says about the cache: of latent attention the latent alone. */
  #checkCache({ cacheRowBytes }: Session, drafts: boolean): void {
    const known = this.source.cacheRowBytes;
    const wanted = drafts ? known?.withDrafts : known?.own;
    if (wanted !== undefined && cacheRowBytes !== wanted)
      throw new Error(`a position takes ${cacheRowBytes} bytes in the caches, not ${wanted}`);
  }

  protected async withWeights(): Promise<Serving> {
    this.#checkOpen();
    if (this.#weights !== undefined) return this.serving();
    throw new ModelError(`${this.name} has no weights yet: give \`weights\`, or train it`);
  }

  async #generator(): Promise<Generator> {
    const { engine } = await this.withWeights();
    return { engine, plan: this.plan, tokenizer: this.#tokenizer, vocabulary: this.vocabulary };
  }

  /** Writes the weights of the model into the session of a training; undefined where it has none. */
  protected async weightsFor(training: PackagedTraining): Promise<((session: Session) => void) | undefined> {
    if (this.#weights === undefined) return undefined;
    if ("path" in this.#weights) {
      const { path } = this.#weights;
      const model = trainedModel(this.source.model, training);
      const checkpoint = this.source.files.checkpoint(path);
      return (session) => placeTensors(session.stores, model, checkpoint).write(session, "all", this.options.onWeights);
    }
    const { learned } = this.#weights;
    const serving = await this.serving();
    const kept = await serving.read(readStores);
    return (session) => writeStores(session, new Map([...kept, ...learned]));
  }

  /** Takes the params and states of a training. */
  async #take(from: Session): Promise<void> {
    const serving = await this.serving();
    const stores = await readStores(from);
    await serving.update((session) => writeStores(session, stores));
    // What answers are given with as codes is learned on from what it was.
    const answers = new Set(serving.session.stores.flatMap(({ name, quantized }) => (quantized ? [] : name)));
    const own = this.source.model.stores.filter(({ name }) => stores.has(name) && !answers.has(name));
    this.#weights = { learned: new Map(own.map(({ name }) => [name, stores.get(name)!])) };
  }

  protected training(name: string): PackagedTraining {
    const { trainings } = this.source;
    const found = trainings.find(({ plan }) => plan.name === name);
    if (found !== undefined) return found;
    const names = trainings.map(({ plan }) => plan.name);
    throw new ModelError(
      `${this.name} has no training \`${name}\`; ${names.length === 0 ? "it has none" : `trainings are ${names.join(", ")}`}`,
    );
  }

  protected get path(): string | undefined {
    return this.#weights !== undefined && "path" in this.#weights ? this.#weights.path : undefined;
  }

  /** What a prompt, or a row to score, is in tokens: texts begin as documents do. */
  #promptOf(prompt: string | readonly number[]): readonly number[] {
    if (typeof prompt !== "string") return prompt;
    const tokenizer = this.needTokenizer();
    return [...(tokenizer.bos === undefined ? [] : [tokenizer.bos]), ...tokenizer.encode(prompt)];
  }

  protected needTokenizer(): Tokenizer {
    if (this.#tokenizer !== undefined) return this.#tokenizer;
    throw new ModelError(`${this.name} has no tokenizer: give \`tokenizer\`, a folder with tokenizer.json`);
  }

  /** The tokenizer that goes with some weights. */
  #tokenizerWith(weights: string | undefined): Tokenizer | undefined {
    const folder = this.options.tokenizer ?? this.source.files.tokenizerBeside(weights) ?? this.source.tokenizer;
    if (folder === undefined) return undefined;
    const tokenizer = this.#tokenizerIn(folder);
    if (tokenizer.size <= this.vocabulary) return tokenizer;
    throw new ModelError(`the tokenizer of \`${folder}\` has ${tokenizer.size} tokens, the model ${this.vocabulary}`);
  }

  #tokenizerIn(folder: string): Tokenizer {
    try {
      return this.source.files.tokenizer(folder);
    } catch (error) {
      throw new ModelError((error as Error).message, { cause: error });
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new ModelError(`${this.name} is closed`);
  }
}

/** @throws ModelError when there is no such section */
function servePlanOf({ model, serving }: ModelSource, options: ModelOptions): ServePlan {
  const plan = options.serve === undefined ? serving[0] : serving.find(({ name }) => name === options.serve);
  if (plan === undefined && options.serve !== undefined) {
    const names = serving.map(({ name }) => name).join(", ");
    throw new ModelError(`${model.name} has no serve section \`${options.serve}\`; ${names || "it has none"}`);
  }
  const { context, draftTokens } = options;
  return {
    ...DEFAULT_SERVE_PLAN,
    ...plan,
    ...(context === undefined ? {} : { context }),
    ...(draftTokens === undefined ? {} : { draftTokens }),
  };
}

/** @throws CheckpointError that names the first value that is not */
async function checkFinite(session: Session, path: string | undefined, listen?: WeightsListener): Promise<void> {
  const bad = path === undefined ? undefined : await nonFiniteStore(session, listen);
  if (bad !== undefined) throw new CheckpointError(`\`${path}\`: ${bad.message}`);
}
