import type { Choice, Sampled } from "../../device/choice.ts";
import { DeviceLostError, type Outcome, type Session } from "../../device/session.ts";
import { runAndChoose } from "../sampling/run-and-choose.ts";
import { LogitsError } from "../sampling/sampler.ts";
import { type Part, inputsOf } from "./call.ts";
import type { EngineCounts } from "./counts.ts";
import { Drafter } from "./draft.ts";
import { checkedOptions, type EngineOptions } from "./options.ts";
import { MeasuredPace, type Pace } from "./pace.ts";
import { PagePool } from "./pages.ts";
import {
  ContextError,
  DeadlineError,
  DrainingError,
  type EngineRequest,
  type Finished,
  QueueFullError,
} from "./request.ts";
import { commonLength, shares } from "./schedule.ts";
import { Sequence } from "./sequence.ts";

type ProgramName = "prefill" | "decode";

/**
 * Generates many answers at the same time on one session. Every step reads the next token of all answers and as much of the
 * waiting prompts as the budget allows (Yu et al., "Orca", 2022; Agrawal et al., "Sarathi-Serve", 2024), over a cache in
 * pages (Kwon et al., "PagedAttention", 2023). What an answer says depends on its own request alone.
 */
export class Engine {
  readonly options: EngineOptions;
  readonly counts: EngineCounts = {
    promptTokens: 0,
    generatedTokens: 0,
    cachedTokens: 0,
    draftedTokens: 0,
    acceptedTokens: 0,
    preemptions: 0,
    steps: 0,
  };
  #session: Session;
  /** Opens the session anew when its device was lost. */
  readonly #reopen: (() => Promise<Session>) | undefined;
  /** Until there is another session. */
  #lost: DeviceLostError | undefined;
  readonly #pool: PagePool;
  #drafter: Drafter | undefined;
  readonly #pace: Pace;
  /** Both in order of arrival. */
  readonly #waiting: Sequence[] = [];
  #running: Sequence[] = [];
  /** What waits for a moment in which nothing runs. */
  readonly #idleWork: (() => Promise<void>)[] = [];
  #arrivals = 0;
  #draining = false;
  #loop: Promise<void> | undefined;
  /** Of the last steps, for the guess when there is room in the queue. */
  #secondsPerAnswer = 1;

  /**
   * @param reopen what opens the session anew, with its weights, when its device was lost
   * @throws RangeError when the session cannot do what the options say
   */
  constructor(
    session: Session,
    options: Partial<EngineOptions> = {},
    pace: Pace = new MeasuredPace(),
    reopen?: () => Promise<Session>,
  ) {
    this.options = checkedOptions(session, options);
    this.#session = session;
    this.#reopen = reopen;
    this.#pool = new PagePool(session.cacheRows, this.options.pageSize);
    this.#pace = pace;
    this.#drafter = this.#newDrafter();
  }

  #newDrafter(): Drafter | undefined {
    const { draftTokens } = this.options;
    return draftTokens === 0 ? undefined : new Drafter(this.#session, this.options, this.counts);
  }

  /** Another one after its device was lost. */
  get session(): Session {
    return this.#session;
  }

  /** Why nothing can be generated before the weights are on a device again. */
  get lost(): DeviceLostError | undefined {
    return this.#lost;
  }

  /** To be told by whoever sees it. What runs fails with it, what waits begins once the session is open again. */
  deviceLost(error: DeviceLostError): void {
    this.#lost ??= error;
    this.#loop ??= this.#run();
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get running(): number {
    return this.#running.length;
  }

  /** Pages of the cache that running sequences hold, and how many there are. */
  get pages(): { readonly held: number; readonly count: number } {
    return { held: this.#pool.held, count: this.#pool.count };
  }

  /**
   * Queues requests, all of them or none; each gives a promise of its end.
   * @throws ContextError, QueueFullError, DrainingError, DeviceLostError at once. The promises are rejected with DeadlineError, LogitsError, the
   *   reason of the signal, or what the device says
   */
  submit(requests: readonly EngineRequest[]): Promise<Finished>[] {
    const { context, maxRunning, maxWaiting } = this.options;
    if (this.#draining) throw new DrainingError();
    if (this.#lost !== undefined) {
      this.deviceLost(this.#lost);
      throw this.#lost;
    }
    for (const { prompt } of requests) if (prompt.length >= context) throw new ContextError(prompt.length, context);
    const there = this.#waiting.length + this.#running.length;
    if (there + requests.length > maxRunning + maxWaiting)
      throw new QueueFullError(this.#waiting.length, this.#retryAfter());
    return requests.map((request) => this.#enqueue(request));
  }

  async #enqueue(request: EngineRequest): Promise<Finished> {
    const { signal } = request;
    signal?.throwIfAborted();
    const sequence = new Sequence(request, this.#arrivals++);
    this.#waiting.push(sequence);
    const leave = (): void => this.#leaveQueue(sequence, signal!.reason);
    signal?.addEventListener("abort", leave, { once: true });
    this.#loop ??= this.#run();
    const started = performance.now();
    try {
      return await sequence.result;
    } finally {
      signal?.removeEventListener("abort", leave);
      this.#secondsPerAnswer += 0.1 * ((performance.now() - started) / 1000 - this.#secondsPerAnswer);
    }
  }

  /**
   * Does something when the answers that have begun are done and before others begin: reads or changes weights. Who changes
   * them calls `forget`.
   */
  whenIdle<T>(work: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#idleWork.push(async () => {
        try {
          resolve(await work());
        } catch (error) {
          reject(error);
        }
      });
      this.#loop ??= this.#run();
    });
  }

  /** Rows of the cache that nobody holds are not found again: they were computed with other weights. */
  forget(): void {
    this.#pool.forget();
  }

  /** Takes no more requests; resolves when those that it has are done. */
  async drain(): Promise<void> {
    this.#draining = true;
    await this.#loop;
  }

  get draining(): boolean {
    return this.#draining;
  }

  #retryAfter(): number {
    const rounds = (this.#waiting.length + this.#running.length) / this.options.maxRunning;
    return Math.max(1, Math.ceil(rounds * this.#secondsPerAnswer));
  }

  /** A sequence that waits can go at once; one that runs goes between two steps. */
  #leaveQueue(sequence: Sequence, reason: unknown): void {
    const index = this.#waiting.indexOf(sequence);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    sequence.fail(reason);
  }

  async #run(): Promise<void> {
    // Requests that came together start together.
    await Promise.resolve();
    for (;;) {
      this.#sweep();
      if (this.#lost !== undefined) await this.#recover(this.#lost);
      await this.#workWhenIdle();
      if (this.#waiting.length + this.#running.length + this.#idleWork.length === 0) break;
      this.#admit();
      await this.#step();
    }
    this.#loop = undefined;
  }

  /** What was computed is gone with the device. Where it cannot be opened again nobody waits for it; the next request tries. */
  async #recover(lost: DeviceLostError): Promise<void> {
    for (const sequence of this.#running) sequence.fail(lost);
    this.#removeDone();
    this.forget();
    try {
      if (this.#reopen === undefined) throw lost;
      const session = await this.#reopen();
      this.#session.close();
      this.#session = session;
      this.#drafter = this.#newDrafter();
      this.#lost = undefined;
    } catch (error) {
      if (error !== lost) {
        const cause = lost.cause instanceof DeviceLostError ? lost.cause : lost;
        const message = `${cause.message}; it cannot be opened again: ${(error as Error).message}`;
        this.#lost = new DeviceLostError(message, { cause });
      }
      for (const sequence of this.#waiting) sequence.fail(error);
      this.#removeDone();
    }
  }

  /** An answer that was sent back to the queue has begun, too. */
  async #workWhenIdle(): Promise<void> {
    if (this.#idleWork.length === 0 || [...this.#running, ...this.#waiting].some(({ begun }) => begun)) return;
    for (let work = this.#idleWork.shift(); work !== undefined; work = this.#idleWork.shift()) await work();
  }

  /** Ends what was canceled or took too long. */
  #sweep(): void {
    const now = performance.now();
    for (const sequence of [...this.#waiting, ...this.#running]) {
      const { signal, deadline } = sequence.request;
      if (signal?.aborted) sequence.fail(signal.reason);
      else if (deadline !== undefined && deadline < now) sequence.fail(new DeadlineError());
    }
    this.#removeDone();
  }

  #removeDone(): void {
    for (const sequence of this.#running) if (sequence.done) sequence.release(this.#pool);
    this.#running = this.#running.filter(({ done }) => !done);
    for (let i = this.#waiting.length - 1; i >= 0; i--) if (this.#waiting[i]!.done) this.#waiting.splice(i, 1);
  }

  /** Lets sequences start, in order, while there is room for their whole prompts. */
  #admit(): void {
    for (let i = 0; i < this.#waiting.length && this.#running.length < this.options.maxRunning;) {
      const sequence = this.#waiting[i]!;
      if (this.#readsSameNow(sequence) || (this.#idleWork.length > 0 && !sequence.begun)) {
        i++;
        continue;
      }
      sequence.reuse(this.#pool, this.#kindOf(sequence));
      // One page for each running sequence stays free, so that the newcomer does not drive them out right away.
      const reserve = this.#running.length;
      const needed = sequence.pagesFor(sequence.tokens.length, this.#pool);
      if (this.#running.length > 0 && needed + reserve > this.#pool.free) {
        sequence.release(this.#pool);
        break;
      }
      sequence.cachedTokens ??= Math.min(sequence.computed, sequence.promptLength);
      this.counts.cachedTokens += sequence.computed;
      this.#waiting.splice(i, 1);
      this.#insert(this.#running, sequence);
    }
  }

  /** Whether a running sequence is about to compute full pages that this one begins with as well. */
  #readsSameNow(sequence: Sequence): boolean {
    const { pageSize } = this.options;
    return this.#running.some((other) => {
      if (other.computed >= other.promptLength) return false;
      const common = commonLength(sequence.request.prompt, other.request.prompt);
      const pages = Math.floor(Math.min(common, sequence.promptLength - 1) / pageSize);
      return other.computed < pages * pageSize;
    });
  }

  #insert(into: Sequence[], sequence: Sequence): void {
    const index = into.findIndex(({ order }) => order > sequence.order);
    into.splice(index < 0 ? into.length : index, 0, sequence);
  }

  /** One call for each program that has something to read, then the guesses for the next step. */
  async #step(): Promise<void> {
    this.counts.steps++;
    const started = performance.now();
    const { generatedTokens } = this.counts;
    const generating = this.#running.filter(({ pending }) => pending === 1).length;
    const guesses = this.#drafter !== undefined && (generating === 0 || this.#pace.choose(generating));
    if (!guesses) for (const sequence of this.#running) sequence.drafts = [];
    const parts = this.#plan();
    const programs = new Map<ProgramName, Part[]>();
    for (const part of parts) {
      const name = this.#programOf(part.sequence, part.from);
      programs.set(name, [...(programs.get(name) ?? []), part]);
    }
    for (const [program, group] of programs) await this.#call(program, group);
    if (guesses) await this.#guess(parts);
    else this.#drafter?.forget(parts);
    this.#removeDone();
    if (this.#drafter === undefined) return;
    this.#recordPace(parts, guesses, performance.now() - started, this.counts.generatedTokens - generatedTokens);
  }

  /** Steps that read prompts, or that have nothing to verify yet, say nothing about the others. */
  #recordPace(parts: readonly Part[], guesses: boolean, milliseconds: number, tokens: number): void {
    const verify = parts.filter(({ wanted }) => wanted > 1).length;
    const generate = parts.every(({ tokens: read, wanted }) => read.length === wanted);
    if (generate && tokens > 0 && (guesses ? 2 * verify > parts.length : verify === 0))
      this.#pace.record(parts.length, guesses, milliseconds, tokens);
  }

  #sawLoss(error: unknown): void {
    if (error instanceof DeviceLostError) this.deviceLost(error);
  }

  async #guess(parts: readonly Part[]): Promise<void> {
    try {
      await this.#drafter!.guess(parts);
    } catch (error) {
      this.#sawLoss(error);
      for (const { sequence } of parts) sequence.fail(error);
    }
  }

  #programOf({ promptLength }: Sequence, position: number): ProgramName {
    return this.options.only ?? (position < promptLength ? "prefill" : "decode");
  }

  /** How the rows of a page are computed, as part of what it is found by. */
  #kindOf({ promptLength }: Sequence): (from: number) => string {
    const { only, pageSize } = this.options;
    return (from) => (only === undefined ? `${Math.min(Math.max(promptLength - from, 0), pageSize)}` : "");
  }

  /** What each running sequence reads in this step. Makes room by sending the latest ones back to the queue. */
  #plan(): Part[] {
    for (;;) {
      const planned = this.#tryPlan();
      if (planned !== undefined) return planned;
      this.#preempt(this.#running.at(-1)!);
    }
  }

  #tryPlan(): Part[] | undefined {
    const parts: Part[] = [];
    let budget = this.options.tokensPerStep;
    for (const sequence of this.#running) {
      if (sequence.pending > 1) continue;
      const { tokens, computed } = sequence;
      if (sequence.grow(computed + 1, this.#pool) <= computed) return undefined;
      // Guesses take what room there is.
      const room = sequence.grow(computed + 1 + sequence.drafts.length, this.#pool) - computed - 1;
      const drafts = sequence.drafts.slice(0, room);
      const read = [tokens[computed]!, ...drafts];
      parts.push({ sequence, from: computed, tokens: read, wanted: read.length, samples: true });
      budget -= 1 + drafts.length;
    }
    const readers = this.#running.filter(({ pending }) => pending > 1);
    const given = shares(
      readers.map((sequence) => this.#readable(sequence)),
      budget,
    );
    for (const [i, sequence] of readers.entries()) {
      const { tokens, computed } = sequence;
      const end = Math.min(computed + given[i]!, sequence.grow(computed + given[i]!, this.#pool));
      if (end === computed) continue;
      const samples = end === tokens.length;
      parts.push({ sequence, from: computed, tokens: tokens.slice(computed, end), wanted: 1, samples });
    }
    return parts.length > 0 ? parts : undefined;
  }

  /** How much of a sequence one call may read: the prompt and what was generated before a preemption go apart. */
  #readable({ computed, promptLength, tokens }: Sequence): number {
    const end = this.options.only === undefined && computed < promptLength ? promptLength : tokens.length;
    return end - computed;
  }

  #preempt(sequence: Sequence): void {
    this.counts.preemptions++;
    sequence.release(this.#pool);
    this.#running = this.#running.filter((other) => other !== sequence);
    this.#insert(this.#waiting, sequence);
  }

  async #call(program: ProgramName, parts: readonly Part[]): Promise<void> {
    const outputs = this.#drafter === undefined ? [] : ["hidden"];
    const { sizes, inputs } = inputsOf(parts);
    let outcome: Outcome;
    try {
      const call = { program, sizes, inputs, outputs };
      outcome = await runAndChoose(this.#session, call, choicesOf(parts), this.options.tokens);
    } catch (error) {
      this.#sawLoss(error);
      for (const { sequence } of parts) sequence.fail(error);
      return;
    }
    this.#drafter?.keepHidden(parts, outcome.outputs["hidden"] as Float32Array);
    let next = 0;
    for (const part of parts) {
      const chosen = part.samples ? outcome.chosen.slice(next, (next += part.wanted)) : [];
      try {
        this.#advance(part, chosen);
      } catch (error) {
        part.sequence.fail(error);
      }
    }
  }

  /** Takes over what a call computed, and what was chosen behind its last tokens. */
  #advance({ sequence, from, tokens, wanted }: Part, chosen: readonly (Sampled | undefined)[]): void {
    const guesses = tokens.slice(tokens.length - wanted + 1);
    sequence.computed = from + tokens.length - guesses.length;
    sequence.drafts = [];
    if (from < sequence.promptLength) this.counts.promptTokens += sequence.computed - from;
    let finished: Finished["reason"] | undefined;
    for (const [i, sampled] of chosen.entries()) {
      if (sampled === undefined) throw new LogitsError();
      this.counts.generatedTokens++;
      finished = sequence.accept(sampled, this.options.context);
      // What was chosen behind a wrong guess is void.
      if (i === guesses.length || sampled.token !== guesses[i]) break;
      sequence.computed++;
      this.counts.acceptedTokens++;
      if (finished !== undefined) break;
    }
    sequence.publish(this.#pool, this.#kindOf(sequence));
    if (finished !== undefined) sequence.finish(finished);
  }
}

/** A token behind each row that someone looks at: behind guesses as if they were right. */
function choicesOf(parts: readonly Part[]): Choice[] {
  let row = 0;
  return parts.flatMap(({ sequence, tokens, wanted, samples }) => {
    const first = row;
    row += wanted;
    const guesses = tokens.slice(tokens.length - wanted + 1);
    return samples
      ? Array.from({ length: wanted }, (_, i) => sequence.sampler.choice(first + i, guesses.slice(0, i)))
      : [];
  });
}
