import { join } from "node:path";
import type { Sequence } from "../data/batch.ts";
import type { Data } from "../data/data.ts";
import type { SequenceStream, StreamState } from "../data/stream.ts";
import type { Session, StoreSpec } from "../device/session.ts";
import { latestCheckpoint } from "../io/checkpoints/find.ts";
import { clearAside, pruneCheckpoints, type SavedFiles, saveCheckpoint } from "../io/checkpoints/save.ts";
import type { Json } from "../io/checkpoints/state.ts";
import { Checkpoint } from "../io/safetensors/read.ts";
import type { ModelFile } from "../program/model.ts";
import { type ClockState, TrainingClock } from "./clock.ts";
import { evaluate } from "./evaluate.ts";
import type { Listener, MetricEvent, StartEvent, StopEvent, TrainEvent } from "./events.ts";
import { NonFiniteError, nonFiniteStore } from "./finite.ts";
import { initialize } from "./init.ts";
import { lock } from "./lock.ts";
import { MetricsLog, readMetrics } from "./metrics-log.ts";
import type { TrainingPlan } from "./plan.ts";
import { planHash, RunError, RunFolder } from "./run-folder.ts";
import { restoreStores, storedTensor } from "./stores.ts";
import { DivergedError, Trainer } from "./trainer.ts";

export interface RunOptions {
  /** The run's folder. */
  readonly folder: string;
  readonly session: Session;
  readonly model: ModelFile;
  readonly plan: TrainingPlan;
  readonly data: Data;
  /** Goes on from the newest sound checkpoint, or from the start when there is none. */
  readonly resume?: boolean;
  /** Gives the params and states their values in place of the model's initial ones. */
  readonly weights?: (session: Session) => void;
  /** The most tokens of one call; a step with more is split. */
  readonly tokensPerCall?: number;
  /** Steps between two checkpoints, and the most seconds: 200 and 600 when not given. */
  readonly saveEvery?: number;
  readonly saveSeconds?: number;
  /** Checkpoints that are kept: 3 when not given. */
  readonly keep?: number;
  /** Steps between two evaluations, 100 when not given, and the tokens of each: 16,384. */
  readonly evaluateEvery?: number;
  readonly evaluateTokens?: number;
  /** When it is aborted the step is finished and saved. */
  readonly signal?: AbortSignal;
  readonly listen?: Listener;
}

/** What a checkpoint keeps beside params and states. */
interface TrainingState {
  /** `planHash`. */
  readonly plan: string;
  readonly clock: ClockState;
  readonly stream: StreamState;
}

/**
 * Trains until the plan's stop rule holds. A run that was cut at any moment, by kill -9 as well, gives the same weights to
 * the last bit when it is resumed.
 * @throws RunError, LockedError when the folder holds something else; CheckpointError when a checkpoint does not fit
 */
export async function runTraining(options: RunOptions): Promise<StopEvent> {
  const folder = new RunFolder(options.folder);
  folder.open(options.plan, options.model, options.resume ?? false);
  const unlock = lock(folder.lock);
  try {
    clearAside(folder.checkpoints);
    return await new Run(options, folder).run();
  } finally {
    unlock();
  }
}

/** The states that only the optimizer reads. */
function isOptimizers({ name }: StoreSpec): boolean {
  return name.startsWith("optimizer.");
}

class Run {
  readonly #options: RunOptions;
  readonly #folder: RunFolder;
  readonly #clock: TrainingClock;
  readonly #trainer: Trainer;
  readonly #validation: readonly Sequence[];
  /** Stores that hold something between two steps. */
  readonly #stores: readonly StoreSpec[];
  readonly #planHash: string;
  #stream!: SequenceStream;
  #log!: MetricsLog;
  #logFailed = false;
  /** The last checkpoint; `tried` is when one was last attempted. */
  #saved = { step: -1, tried: performance.now() };

  constructor(options: RunOptions, folder: RunFolder) {
    const { session, model, plan, data } = options;
    this.#options = options;
    this.#folder = folder;
    this.#clock = new TrainingClock(plan, data.train.tokens);
    this.#trainer = new Trainer(session, plan, options.tokensPerCall);
    this.#validation = data.validation({ lookAhead: 0, tokens: options.evaluateTokens ?? 16_384 });
    const transient = new Set(model.stores.filter((store) => store.transient).map(({ name }) => name));
    this.#stores = session.stores.filter(({ name }) => !transient.has(name));
    this.#planHash = planHash(plan, model);
  }

  async run(): Promise<StopEvent> {
    this.#begin();
    try {
      return await this.#loop();
    } catch (error) {
      if (!(error instanceof DivergedError)) throw error;
      const kept =
        this.#saved.step < 0 ? "there is no checkpoint yet" : `the checkpoint of step ${this.#saved.step} is kept`;
      return this.#stop("failed", `${error.message}; ${kept}`);
    } finally {
      this.#log.close();
    }
  }

  get #step(): number {
    return this.#clock.done.steps;
  }

  get #interrupted(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  async #loop(): Promise<StopEvent> {
    const { saveEvery = 200, saveSeconds = 600, evaluateEvery = 100 } = this.#options;
    const evaluated = new Set(
      readMetrics(this.#folder.metrics).flatMap((e) => (e.event === "validation" ? e.step : [])),
    );
    for (;;) {
      // What is drawn for the next step is drawn again by whoever resumes here.
      const place = this.#stream.state();
      const sequences = this.#clock.ended || this.#interrupted ? [] : this.#stream.next(this.#clock.batch);
      const isLast = sequences.length === 0;
      const evaluates = !this.#interrupted && (isLast || this.#step % evaluateEvery === 0);
      if (evaluates && !evaluated.has(this.#step)) await this.#evaluate();
      const waited = (performance.now() - this.#saved.tried) / 1000 >= saveSeconds;
      if (isLast || (this.#step > 0 && (waited || this.#step % saveEvery === 0))) this.#save(place);
      if (isLast) break;
      await this.#train(sequences);
    }
    if (this.#saved.step !== this.#step) return this.#stop("failed", "the last checkpoint could not be saved");
    return this.#stop(this.#interrupted ? "interrupted" : "done");
  }

  async #train(sequences: readonly Sequence[]): Promise<void> {
    const started = performance.now();
    const { loss, losses, gradNorm, scalars, load, ...amount } = await this.#trainer.step(sequences, this.#clock);
    const seconds = (performance.now() - started) / 1000;
    this.#clock.advance({ ...amount, epochs: this.#stream.epochs });
    const { lr = 0, ...others } = scalars;
    const { steps, ...done } = this.#clock.done;
    this.#emit({
      event: "step",
      step: steps,
      ...done,
      progress: this.#clock.progress,
      loss,
      losses,
      grad_norm: gradNorm,
      lr,
      scalars: others,
      ...(load === undefined ? {} : { load_violation: load }),
      seconds,
      tokens_per_second: amount.tokens / seconds,
    });
  }

  async #evaluate(): Promise<void> {
    if (this.#validation.length === 0) return;
    const { session, plan, tokensPerCall } = this.#options;
    const started = performance.now();
    const { loss, tokens } = await evaluate(session, this.#validation, tokensPerCall ?? 16 * plan.length);
    const seconds = (performance.now() - started) / 1000;
    this.#emit({
      event: "validation",
      step: this.#step,
      tokens: this.#clock.done.tokens,
      loss,
      scored: tokens,
      seconds,
    });
  }

  /** Gives params, states, data and clocks what they had at the newest sound checkpoint, or what they start with. */
  #begin(): void {
    const { session, model, plan, data, resume } = this.#options;
    const found = resume ? latestCheckpoint(this.#folder.checkpoints, (why) => this.#damaged(why)) : undefined;
    const stream = { lookAhead: plan.lookAhead, ...(plan.stop.clock === "epochs" ? { epochs: plan.stop.value } : {}) };
    if (found === undefined) {
      initialize(session, model, plan.seed);
      this.#options.weights?.(session);
      const bad = nonFiniteStore(session);
      if (bad !== undefined) throw new RunError(`the weights to start from: ${bad.message}`);
      this.#stream = data.stream(stream);
    } else {
      const state = found.state.training as unknown as TrainingState;
      if (state.plan !== this.#planHash) throw new RunError(`\`${found.path}\` is of another plan or model`);
      const transient = session.stores.filter((spec) => !this.#stores.includes(spec));
      initialize(session, model, plan.seed, transient);
      for (const [file, specs] of this.#files()) restoreStores(session, specs, new Checkpoint(join(found.path, file)));
      this.#clock.restore(state.clock);
      this.#stream = data.stream({ ...stream, state: state.stream });
      this.#saved.step = this.#step;
    }
    this.#log = new MetricsLog(this.#folder.metrics, found === undefined ? -1 : this.#step);
    this.#emit(this.#startEvent());
  }

  #startEvent(): StartEvent {
    const { session, plan, model } = this.#options;
    const params = session.stores.filter(({ kind }) => kind === "param");
    return {
      event: "start",
      run: this.#folder.path,
      name: plan.name,
      model: model.name,
      device: session.device,
      params: params.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
      step: this.#step,
      stop: plan.stop,
      time: new Date().toISOString(),
    };
  }

  /** What serving needs, and what only training needs. */
  #files(): [string, StoreSpec[]][] {
    return [
      ["model.safetensors", this.#stores.filter((spec) => !isOptimizers(spec))],
      ["optimizer.safetensors", this.#stores.filter(isOptimizers)],
    ];
  }

  /** Saves a checkpoint; when the file system refuses, the ones before stay and the training goes on. */
  #save(stream: StreamState): void {
    if (this.#saved.step === this.#step) return;
    const started = performance.now();
    const { session, keep = 3 } = this.#options;
    const state: TrainingState = { plan: this.#planHash, clock: this.#clock.state(), stream };
    const files = this.#files().map(([name, specs]) => [name, specs.map((spec) => storedTensor(session, spec))]);
    try {
      if (!this.#logFailed) this.#log.sync();
      const { path, bytes } = saveCheckpoint(
        this.#folder.checkpoints,
        this.#step,
        Object.fromEntries(files) as SavedFiles,
        state as unknown as Json,
      );
      this.#saved.step = this.#step;
      pruneCheckpoints(this.#folder.checkpoints, keep, this.#step);
      const seconds = (performance.now() - started) / 1000;
      this.#emit({ event: "checkpoint", step: this.#step, path, bytes, seconds });
    } catch (error) {
      if (error instanceof NonFiniteError) throw new DivergedError(`step ${this.#step}: ${error.message}`);
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      const before = this.#saved.step < 0 ? "there is none yet" : `the last one is of step ${this.#saved.step}`;
      this.#warn(`the checkpoint of step ${this.#step} could not be saved: ${(error as Error).message}; ${before}`);
    } finally {
      this.#saved.tried = performance.now();
    }
  }

  #damaged(why: string): void {
    this.#warn(`a damaged checkpoint is passed over: ${why}`);
  }

  #warn(message: string): void {
    this.#options.listen?.({ event: "warning", message });
  }

  #stop(reason: StopEvent["reason"], message?: string): StopEvent {
    const stop = { event: "stop", reason, step: this.#step, time: new Date().toISOString() } as const;
    const event: StopEvent = message === undefined ? stop : { ...stop, message };
    this.#emit(event);
    return event;
  }

  #emit(event: TrainEvent): void {
    if (event.event === "step" || event.event === "validation") this.#logMetrics(event);
    this.#options.listen?.(event);
  }

  #logMetrics(event: MetricEvent): void {
    try {
      this.#log.append(event);
      this.#logFailed = false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      if (!this.#logFailed)
        this.#warn(`metrics of step ${event.step} could not be written: ${(error as Error).message}`);
      this.#logFailed = true;
    }
  }
}
