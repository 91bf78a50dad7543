import { join } from "node:path";
import type { MetricEvent, StepEvent, ValidationEvent } from "../events.ts";
import { METRICS, readMetrics } from "../metrics-log.ts";

/** Steps that are remembered at most; beyond, neighbors are put together. */
const MOST = 2000;

/** The metrics of a training in bounded memory: each point is the mean of `stride` steps. */
export class History {
  readonly validations: ValidationEvent[] = [];
  #points: StepEvent[] = [];
  #stride = 1;
  #pending: StepEvent[] = [];

  /** What a run that goes on has made so far. */
  static of(run: string): History {
    const history = new History();
    for (const event of readMetrics(join(run, METRICS))) history.add(event);
    return history;
  }

  add(event: MetricEvent): void {
    if (event.event === "validation") {
      this.validations.push(event);
      return;
    }
    this.#pending.push(event);
    if (this.#pending.length < this.#stride) return;
    this.#points.push(mean(this.#pending));
    this.#pending = [];
    if (this.#points.length < MOST) return;
    this.#points = pairs(this.#points);
    this.#stride *= 2;
  }

  /** In order; the last ones may be of fewer steps. */
  get steps(): readonly StepEvent[] {
    return this.#pending.length === 0 ? this.#points : [...this.#points, mean(this.#pending)];
  }
}

function pairs(points: readonly StepEvent[]): StepEvent[] {
  return Array.from({ length: Math.ceil(points.length / 2) }, (_, i) => mean(points.slice(2 * i, 2 * i + 2)));
}

/** The last of some steps with the means of what is measured in each. */
function mean(events: readonly StepEvent[]): StepEvent {
  const last = events.at(-1)!;
  if (events.length === 1) return last;
  const of = (value: (event: StepEvent) => number | undefined): number =>
    events.reduce((sum, event) => sum + (value(event) ?? 0), 0) / events.length;
  const each = (keys: object, value: (event: StepEvent, key: string) => number | undefined): Record<string, number> =>
    Object.fromEntries(Object.keys(keys).map((key) => [key, of((event) => value(event, key))]));
  const load = last.load_violation;
  return {
    ...last,
    loss: of(({ loss }) => loss),
    losses: each(last.losses, ({ losses }, key) => losses[key]),
    grad_norm: of(({ grad_norm }) => grad_norm),
    seconds: of(({ seconds }) => seconds),
    tokens_per_second: of(({ tokens_per_second }) => tokens_per_second),
    ...(load === undefined
      ? {}
      : {
          load_violation: {
            mean: of(({ load_violation }) => load_violation?.mean),
            layers: each(load.layers, ({ load_violation }, key) => load_violation?.layers[key]),
          },
        }),
  };
}
