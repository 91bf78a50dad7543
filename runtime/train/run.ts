import type { Sequence } from "../data/batch.ts";
import type { Data } from "../data/data.ts";
import type { SequenceStream, StreamState } from "../data/stream.ts";
import type { Session } from "../device/session.ts";
import type { ModelFile } from "../program/model.ts";
import { TrainingClock } from "./clock.ts";
import { evaluate } from "./evaluate.ts";
import type { Listener, MetricEvent, StartEvent, StopEvent, TrainEvent } from "./events.ts";
import { NonFiniteError, nonFiniteStore } from "./finite.ts";
import { initialize } from "./init.ts";
import { lock } from "./lock.ts";
import { MetricsLog, readMetrics } from "./metrics-log.ts";
import type { TrainingPlan } from "./plan.ts";
import { reportWriter } from "./report/report.ts";
import { RunCheckpoints } from "./run-checkpoints.ts";
import { RunError, RunFolder } from "./run-folder.ts";
import { DivergedError, Trainer } from "./trainer.ts";

export interface RunOptions {
  /** The run's folder. */
  readonly folder: string;
  /** Or what opens it, once the data are there. */
  readonly session: Session | (() => Promise<Session>);
  readonly model: ModelFile;
  readonly plan: TrainingPlan;
  /** Or what opens it, in the folder of the run once that is locked. */
  readonly data: Data | ((folder: string) => Promise<Data>);
  /** Goes on from the newest sound checkpoint, or from the start when there is none. */
  readonly resume?: boolean;
  /** Gives params and states other values to start with than the model's initial ones. */
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

/**
 * Trains until the plan's stop rule holds. A run that was cut at any moment, by kill -9 as well, gives the same weights to
 * the last bit when it is resumed.
 * @throws RunError, LockedError when the folder holds something else; CheckpointError when a checkpoint does not fit
 */
export async function runTraining(options: RunOptions): Promise<StopEvent> {
  const folder = new RunFolder(options.folder);
  folder.create();
  const unlock = lock(folder.lock);
  try {
    folder.open(options.plan, options.model, options.resume ?? false);
    return await withOpened(options.data, options.folder, (data) =>
      withOpened(options.session, options.folder, (session) => new Run(options, data, session, folder).run()),
    );
  } finally {
    unlock();
  }
}

/** Hands on what is given, or what is opened for the purpose and closed behind it. */
async function withOpened<T extends { close(): void }, R>(
  given: T | ((folder: string) => Promise<T>),
  folder: string,
  use: (opened: T) => Promise<R>,
): Promise<R> {
  if (typeof given !== "function") return use(given);
  const opened = await given(folder);
  try {
    return await use(opened);
  } finally {
    opened.close();
  }
}

/** Sequences that are drawn at once without a look at what a step of them takes. */
const PORTION = 1024;

class Run {
  readonly #options: RunOptions;
  readonly #data: Data;
  readonly #session: Session;
  readonly #folder: RunFolder;
  readonly #checkpoints: RunCheckpoints;
  readonly #clock: TrainingClock;
  readonly #trainer: Trainer;
  readonly #validation: readonly Sequence[];
  readonly #listeners: readonly Listener[];
  #stream!: SequenceStream;
  #log!: MetricsLog;
  #logFailed = false;
  /** Steps that were made before the last checkpoint and the last evaluation. */
  #saved = -1;
  #evaluated = -1;
  /** When a checkpoint was last tried. */
  #triedToSave = performance.now();

  constructor(options: RunOptions, data: Data, session: Session, folder: RunFolder) {
    const { model, plan, listen } = options;
    this.#options = options;
    this.#data = data;
    this.#session = session;
    this.#folder = folder;
    this.#checkpoints = new RunCheckpoints(folder.checkpoints, session, plan, model);
    this.#clock = new TrainingClock(plan, data.train.tokens);
    this.#trainer = new Trainer(session, plan, options.tokensPerCall);
    this.#validation = data.validation({ lookAhead: 0, tokens: options.evaluateTokens ?? 16_384 });
    const report = reportWriter({ page: folder.report, status: folder.status, plots: folder.plots });
    this.#listeners = listen === undefined ? [report] : [report, listen];
  }

  async run(): Promise<StopEvent> {
    await this.#begin();
    try {
      return await this.#loop();
    } catch (error) {
      if (error instanceof DivergedError) {
        const kept = this.#saved < 0 ? "there is no checkpoint yet" : `the checkpoint of step ${this.#saved} is kept`;
        return this.#stop("failed", `${error.message}; ${kept}`);
      }
      // Whoever looks at the run shall see that it does not go on.
      this.#stop("failed", error instanceof Error ? error.message : String(error));
      throw error;
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
    for (;;) {
      // What is drawn for the next step is drawn again by whoever resumes here.
      const place = this.#stream.state();
      const sequences = this.#clock.ended || this.#interrupted ? [] : this.#draw(this.#clock.batch);
      const isLast = sequences.length === 0;
      const evaluates = !this.#interrupted && (isLast || this.#step % evaluateEvery === 0);
      if (evaluates && this.#evaluated !== this.#step) await this.#evaluate();
      const waited = (performance.now() - this.#triedToSave) / 1000 >= saveSeconds;
      if (isLast || (this.#step > 0 && (waited || this.#step % saveEvery === 0))) await this.#save(place);
      if (isLast) break;
      await this.#train(sequences);
    }
    if (this.#saved !== this.#step) return this.#stop("failed", "the last checkpoint could not be saved");
    return this.#stop(this.#interrupted ? "interrupted" : "done");
  }

  /** The sequences of a step. There is memory for those that are drawn when twice as many are. */
  #draw(count: number): readonly Sequence[] {
    const drawn: Sequence[] = [];
    for (let tokens = 0; drawn.length < count;) {
      const more = this.#stream.next(Math.min(count - drawn.length, Math.max(PORTION, drawn.length)));
      if (more.length === 0) break;
      for (const sequence of more) {
        drawn.push(sequence);
        tokens += sequence.reduce((sum, { length }) => sum + length, 0);
      }
      if (drawn.length < count) this.#trainer.reserve(drawn.length, tokens);
    }
    return drawn;
  }

  async #train(sequences: readonly Sequence[]): Promise<void> {
    const started = performance.now();
    const {
      loss,
      losses,
      gradNorm,
      scalars,
      load,
      sequences: count,
      tokens,
    } = await this.#trainer.step(sequences, this.#clock);
    const seconds = (performance.now() - started) / 1000;
    this.#clock.advance({ sequences: count, tokens, epochs: this.#stream.epochs });
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
      tokens_per_second: tokens / seconds,
    });
  }

  async #evaluate(): Promise<void> {
    this.#evaluated = this.#step;
    if (this.#validation.length === 0) return;
    const { plan, tokensPerCall } = this.#options;
    const started = performance.now();
    const { loss, tokens } = await evaluate(this.#session, this.#validation, tokensPerCall ?? 16 * plan.length);
    this.#emit({
      event: "validation",
      step: this.#step,
      tokens: this.#clock.done.tokens,
      loss,
      scored: tokens,
      seconds: (performance.now() - started) / 1000,
    });
  }

  /** Gives params, states, data and clocks what they had at the newest sound checkpoint, or what they start with. */
  async #begin(): Promise<void> {
    const { model, plan, resume } = this.#options;
    this.#checkpoints.clear();
    const found = resume ? this.#checkpoints.restore((why) => this.#damaged(why)) : undefined;
    if (found === undefined) {
      initialize(this.#session, model, plan.seed);
      this.#options.weights?.(this.#session);
      const bad = await nonFiniteStore(this.#session);
      if (bad !== undefined) throw new RunError(`the weights to start from: ${bad.message}`);
    } else {
      this.#clock.restore(found.clock);
      this.#saved = this.#step;
    }
    this.#stream = this.#data.stream({
      lookAhead: plan.lookAhead,
      ...(plan.stop.clock === "epochs" ? { epochs: plan.stop.value } : {}),
      ...(found === undefined ? {} : { state: found.stream }),
    });
    this.#log = new MetricsLog(this.#folder.metrics, found === undefined ? -1 : this.#step);
    for (const { event, step } of readMetrics(this.#folder.metrics)) if (event === "validation") this.#evaluated = step;
    this.#emit(this.#startEvent());
  }

  #startEvent(): StartEvent {
    const { plan, model } = this.#options;
    const params = this.#session.stores.filter(({ kind }) => kind === "param");
    return {
      event: "start",
      run: this.#folder.path,
      name: plan.name,
      model: model.name,
      device: this.#session.device,
      params: params.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
      step: this.#step,
      stop: plan.stop,
      time: new Date().toISOString(),
    };
  }

  /** Saves a checkpoint; when the file system refuses, the ones before stay and the training goes on. */
  async #save(stream: StreamState): Promise<void> {
    const step = this.#step;
    if (this.#saved === step) return;
    const started = performance.now();
    try {
      if (!this.#logFailed) this.#log.sync();
      const state = { clock: this.#clock.state(), stream };
      const { path, bytes } = await this.#checkpoints.save(step, state, this.#options.keep ?? 3);
      this.#saved = step;
      this.#emit({ event: "checkpoint", step, path, bytes, seconds: (performance.now() - started) / 1000 });
    } catch (error) {
      if (error instanceof NonFiniteError) throw new DivergedError(`step ${step}: ${error.message}`);
      if (!isRefused(error)) throw error;
      const before = this.#saved < 0 ? "there is none yet" : `the last one is of step ${this.#saved}`;
      this.#warn(`the checkpoint of step ${step} could not be saved: ${error.message}; ${before}`);
    } finally {
      this.#triedToSave = performance.now();
    }
  }

  #damaged(why: string): void {
    this.#warn(`a damaged checkpoint is passed over: ${why}`);
  }

  #warn(message: string): void {
    this.#emit({ event: "warning", message });
  }

  #stop(reason: StopEvent["reason"], message?: string): StopEvent {
    const stop = { event: "stop", reason, step: this.#step, time: new Date().toISOString() } as const;
    const event: StopEvent = message === undefined ? stop : { ...stop, message };
    this.#emit(event);
    return event;
  }

  #emit(event: TrainEvent): void {
    if (event.event === "step" || event.event === "validation") this.#logMetrics(event);
    for (const listen of this.#listeners) listen(event);
  }

  #logMetrics(event: MetricEvent): void {
    try {
      this.#log.append(event);
      this.#logFailed = false;
    } catch (error) {
      if (!isRefused(error)) throw error;
      if (!this.#logFailed) this.#warn(`metrics of step ${event.step} could not be written: ${error.message}`);
      this.#logFailed = true;
    }
  }
}

/** Whether the file system said no: the disk is full, for example. */
function isRefused(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && (error as NodeJS.ErrnoException).syscall !== undefined;
}
