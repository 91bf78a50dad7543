import type { Batch, Sequence } from "../data/batch.ts";
import type { Elements, Session } from "../device/session.ts";
import type { TrainingClock } from "./clock.ts";
import { nonFiniteStore } from "./finite.ts";
import { microBatches } from "./micro-batches.ts";
import type { TrainingPlan } from "./plan.ts";
import { isLoad, type LoadViolation, loadViolation } from "./violation.ts";
import { DivergedError } from "./diverged-error.ts";

export { DivergedError };

/** What one step gave. */
export interface StepResult {
  /** The weighted sum of the losses. */
  readonly loss: number;
  /** Each loss without its weight. */
  readonly losses: Readonly<Record<string, number>>;
  /** Of all gradients together, before clipping. */
  readonly gradNorm: number;
  /** What schedules gave this step: `lr`, `train.balance_rate`. */
  readonly scalars: Readonly<Record<string, number>>;
  readonly load?: LoadViolation;
  /** Those that were asked for, by their paths. */
  readonly metrics: Readonly<Record<string, Elements>>;
  readonly sequences: number;
  readonly tokens: number;
}

/**
 * Makes the steps of a training on a session.
 *
 * A step whose tokens fit into one call is `train_step`. Otherwise its sequences are split into calls, and the session must
 * have three programs, with inputs as `train_step` has them:
 *
 * - `denominators` gives `denominator.<loss term>` of its sequences alone;
 * - `gradients` takes the sums of these over all calls as inputs under the same names, adds its share of the gradients and
 *   of the metrics to states of the session, and gives `loss`, `loss.<name>` (shares too: they add up) and `metric.<path>`;
 * - `apply` clips the gradients, runs the optimizer and `on step`, empties those states and gives `grad_norm`.
 */
export class Trainer {
  readonly #session: Session;
  readonly #plan: TrainingPlan;
  readonly #tokensPerCall: number;
  readonly #metrics: readonly string[];
  readonly #isWanted: (output: string) => boolean;
  /** Outputs of a step that are looked at; which of them there are is known after the first one. */
  #wanted: readonly string[] | undefined;

  /** @param metrics what blocks emit and every step shall give: `trunk.3.ffn.load` */
  constructor(session: Session, plan: TrainingPlan, tokensPerCall = Infinity, metrics: readonly string[] = []) {
    this.#session = session;
    this.#metrics = metrics;
    this.#plan = plan;
    this.#tokensPerCall = tokensPerCall;
    const losses = plan.losses.map(({ name }) => `loss.${name}`);
    const wanted = new Set(["loss", "grad_norm", ...losses, ...metrics.map((path) => `metric.${path}`)]);
    this.#isWanted = (output) => wanted.has(output) || isLoad(output);
  }

  /**
   * Trains on the sequences of one step.
   * @throws DivergedError when a result is not finite. The weights have changed by then: only a checkpoint helps.
   */
  async step(sequences: readonly Sequence[], clock: TrainingClock): Promise<StepResult> {
    const { scalars: schedules, lookAhead } = this.#plan;
    const scalars = Object.fromEntries(Object.entries(schedules).map(([name, s]) => [name, clock.value(s)]));
    const number = clock.done.steps + 1;
    const inputs = scalarInputs({ ...scalars, step: number }, this.#plan.seed);
    const batches = microBatches(sequences, this.#tokensPerCall, lookAhead);
    const outputs = await this.#run(batches, inputs);
    const result: StepResult = {
      loss: scalarOf(outputs, "loss"),
      losses: Object.fromEntries(this.#plan.losses.map(({ name }) => [name, scalarOf(outputs, `loss.${name}`)])),
      gradNorm: scalarOf(outputs, "grad_norm"),
      scalars,
      metrics: Object.fromEntries(this.#metrics.map((path) => [path, outputOf(outputs, `metric.${path}`)])),
      sequences: sequences.length,
      tokens: batches.reduce((sum, { sizes }) => sum + sizes.T, 0),
    };
    await this.#checkFinite(result, number);
    const load = loadViolation(outputs);
    return load === undefined ? result : { ...result, load };
  }

  /**
   * Makes sure that there is memory for a step of so much, or more, before all of it is drawn.
   * @throws MemoryError
   */
  reserve(sequences: number, tokens: number): void {
    const isOne = tokens <= this.#tokensPerCall;
    const T = isOne ? tokens : this.#tokensPerCall;
    const program = isOne || !this.#session.programs.includes("gradients") ? "train_step" : "gradients";
    this.#session.reserve?.(program, { T, S: T, B: Math.min(sequences, T) });
  }

  async #run(batches: readonly Batch[], scalars: Inputs): Promise<Record<string, Elements>> {
    const [first] = batches;
    if (batches.length > 1) return this.#accumulate(batches, scalars);
    const { sizes, inputs } = first!;
    const outputs = await this.#session.run({
      program: "train_step",
      sizes,
      inputs: { ...inputs, ...scalars },
      ...(this.#wanted === undefined ? {} : { outputs: this.#wanted }),
    });
    this.#wanted ??= Object.keys(outputs).filter(this.#isWanted);
    return { ...outputs };
  }

  async #accumulate(batches: readonly Batch[], scalars: Inputs): Promise<Record<string, Elements>> {
    const lacks = ["denominators", "gradients", "apply"].filter((name) => !this.#session.programs.includes(name));
    if (lacks.length > 0)
      throw new Error(
        `a step has ${batches.length} calls of at most ${this.#tokensPerCall} tokens, and there is no program ${lacks.join(", ")}`,
      );
    const each = async (program: string, more: Inputs, isSummed: (name: string) => boolean) => {
      const sum: Record<string, Elements> = {};
      for (const { sizes, inputs } of batches) {
        const outputs = await this.#session.run({ program, sizes, inputs: { ...inputs, ...scalars, ...more } });
        for (const [name, values] of Object.entries(outputs)) if (isSummed(name)) addTo(sum, name, values);
      }
      return sum;
    };
    const denominators = await each("denominators", {}, () => true);
    const shares = await each("gradients", denominators, this.#isWanted);
    const applied = await this.#session.run({ program: "apply", sizes: {}, inputs: scalars });
    return { ...shares, ...applied };
  }

  async #checkFinite({ loss, losses, gradNorm }: StepResult, step: number): Promise<void> {
    const results: [string, number][] = [
      ...Object.entries(losses).map(([name, value]): [string, number] => [`loss \`${name}\``, value]),
      ["loss", loss],
      ["norm of the gradient", gradNorm],
    ];
    const bad = results.find(([, value]) => !Number.isFinite(value));
    if (bad === undefined) return;
    const store = await nonFiniteStore(this.#session);
    const where = store === undefined ? "all weights are finite" : `the first bad tensor is ${describe(store)}`;
    throw new DivergedError(`step ${step}: the ${bad[0]} is ${bad[1]}; ${where}`);
  }
}

type Inputs = Readonly<Record<string, Elements>>;

function describe({ store, index }: { readonly store: string; readonly index: number }): string {
  return `\`${store}\`, from element ${index} on`;
}

function scalarInputs(values: Readonly<Record<string, number>>, seed: number): Inputs {
  const floats = Object.entries(values).map(([name, value]) => [name, Float32Array.of(value)]);
  return { ...Object.fromEntries(floats), seed: Int32Array.of(seed | 0) };
}

function scalarOf(outputs: Readonly<Record<string, Elements>>, name: string): number {
  return outputOf(outputs, name)[0]!;
}

function outputOf(outputs: Readonly<Record<string, Elements>>, name: string): Elements {
  const value = outputs[name];
  if (value === undefined) throw new Error(`the training step has no output ${name}`);
  return value;
}

function addTo(sum: Record<string, Elements>, name: string, values: Elements): void {
  const total = (sum[name] ??= values.map(() => 0));
  for (let i = 0; i < values.length; i++) total[i]! += values[i]!;
}
