import type { TrainingPlan } from "./plan.ts";
import { type Clock, evaluateSchedule, type Moment, type Schedule } from "./schedule.ts";

/** What is done so far. */
export interface Done {
  readonly steps: number;
  readonly tokens: number;
  readonly sequences: number;
  /** Passes over the data, with a fraction. */
  readonly epochs: number;
}

/** What a checkpoint keeps of a clock. */
export interface ClockState {
  readonly done: Done;
  /** What was done when schedules that count steps changed, by the number of steps. */
  readonly marks: Readonly<Record<string, Done>>;
}

const NOTHING: Done = { steps: 0, tokens: 0, sequences: 0, epochs: 0 };

/**
 * Where a training stands: the value of each schedule for the next step, and when the training ends. A schedule that begins
 * a piece after some steps and measures it in tokens needs the tokens of that moment: they are kept when it comes.
 */
export class TrainingClock {
  readonly #plan: TrainingPlan;
  readonly #boundaries: ReadonlySet<number>;
  readonly #end: Moment["end"];
  readonly #marks = new Map<number, Done>([[0, NOTHING]]);
  #done: Done = NOTHING;

  /** @param epochTokens tokens of one pass over the data: how long trainings by epochs are */
  constructor(plan: TrainingPlan, epochTokens: number) {
    this.#plan = plan;
    const schedules = [...Object.values(plan.scalars), plan.batch.size];
    const untils = schedules.flatMap(({ pieces }) => pieces.map(({ until }) => until));
    this.#boundaries = new Set(untils.flatMap((until) => (until?.clock === "steps" ? [until.value] : [])));
    this.#end = schedules.some(isOpen)
      ? expectedEnd(plan, epochTokens)
      : { progress: 1, [plan.stop.clock]: plan.stop.value };
  }

  get done(): Done {
    return this.#done;
  }

  /** From 0 to 1. */
  get progress(): number {
    const { clock, value } = this.#plan.stop;
    return Math.min(1, this.#done[clock] / value);
  }

  get ended(): boolean {
    return this.progress >= 1;
  }

  /** Sequences that the next step reads: one at least. */
  get batch(): number {
    return sequencesOf(this.#plan, this.value(this.#plan.batch.size));
  }

  /** The value of a schedule for the next step. */
  value(schedule: Schedule): number {
    return evaluateSchedule(schedule, {
      at: { ...this.#done, progress: this.progress },
      afterSteps: (steps, clock) => this.#after(steps, clock),
      ...(this.#end === undefined ? {} : { end: this.#end }),
    });
  }

  /** A step was made. */
  advance({ sequences, tokens, epochs }: { sequences: number; tokens: number; epochs: number }): void {
    const { steps } = this.#done;
    this.#done = {
      steps: steps + 1,
      tokens: this.#done.tokens + tokens,
      sequences: this.#done.sequences + sequences,
      epochs,
    };
    if (this.#boundaries.has(steps + 1)) this.#marks.set(steps + 1, this.#done);
  }

  state(): ClockState {
    return { done: this.#done, marks: Object.fromEntries(this.#marks) };
  }

  restore({ done, marks }: ClockState): void {
    this.#done = done;
    this.#marks.clear();
    for (const [steps, at] of Object.entries(marks)) this.#marks.set(Number(steps), at);
  }

  #after(steps: number, clock: Clock): number {
    const mark = this.#marks.get(steps);
    if (mark === undefined) throw new Error(`nothing is known of the moment after ${steps} steps`);
    return clock === "progress" ? mark[this.#plan.stop.clock] / this.#plan.stop.value : mark[clock];
  }
}

function sequencesOf({ batch, length }: TrainingPlan, size: number): number {
  return Math.max(1, Math.floor(batch.unit === "tokens" ? size / length : size));
}

/** Whether the last piece runs to the end of the training, whenever that is. */
function isOpen({ pieces }: Schedule): boolean {
  return pieces.at(-1)!.shape.kind !== "constant";
}

/** What the clocks will show at the end, were all sequences full. */
function expectedEnd(plan: TrainingPlan, epochTokens: number): NonNullable<Moment["end"]> {
  const { clock, value } = plan.stop;
  let done = NOTHING;
  const marks = new Map<number, Done>([[0, done]]);
  while (done[clock] < value) {
    const size = evaluateSchedule(plan.batch.size, {
      at: { ...done, progress: done[clock] / value },
      afterSteps: (steps, by) => (by === "progress" ? marks.get(steps)![clock] / value : marks.get(steps)![by]),
      end: { progress: 1, [clock]: value },
    });
    const sequences = done.sequences + sequencesOf(plan, size);
    const tokens = sequences * plan.length;
    done = { steps: done.steps + 1, sequences, tokens, epochs: tokens / epochTokens };
    marks.set(done.steps, done);
  }
  return { ...done, progress: 1, [clock]: value };
}
