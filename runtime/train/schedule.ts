/** Values that change over a training, as plain data, and their value at a moment. */

/** What a schedule counts. `progress` runs from 0 to 1 over the whole training. */
export type Clock = "tokens" | "steps" | "sequences" | "epochs" | "progress";

/** A value over the training; `dskc` writes the schedules of a train section in this form. */
export interface Schedule {
  readonly by: Clock;
  /** In order; only the last one has no end. */
  readonly pieces: readonly Piece[];
}

export interface Piece {
  readonly until?: { readonly value: number; readonly clock: Clock } | undefined;
  readonly shape: Shape;
}

/** How the value runs over a piece. */
export interface Shape {
  readonly kind: "constant" | "ramp" | "cosine" | "exponential";
  readonly from: number;
  readonly to: number;
}

/** A moment of the training. */
export interface Moment {
  /** Steps, tokens, sequences and passes over the data that are done, and the share of the whole training (0 to 1). */
  readonly at: Readonly<Record<Clock, number>>;
  /**
   * What a clock shows after this many steps: where a piece that starts at a number of steps is measured in tokens. Needed
   * for schedules with such pieces only.
   */
  readonly afterSteps?: (steps: number, clock: Clock) => number;
  /** What a clock shows at the end of the training: for a last piece that is not constant. */
  readonly end?: Readonly<Partial<Record<Clock, number>>>;
}

/** A schedule that never changes. */
export function constantSchedule(value: number): Schedule {
  return { by: "steps", pieces: [{ shape: { kind: "constant", from: value, to: value } }] };
}

function along({ kind, from, to }: Shape, share: number): number {
  const t = Math.min(1, Math.max(0, share));
  switch (kind) {
    case "constant":
      return to;
    case "ramp":
      return from + (to - from) * t;
    case "cosine":
      return to + ((from - to) * (1 + Math.cos(Math.PI * t))) / 2;
    case "exponential":
      return from * (to / from) ** t;
  }
}

/** Where a piece begins, on the clock that measures it. */
function startOf(before: Piece | undefined, clock: Clock, moment: Moment): number {
  const until = before?.until;
  if (until === undefined) return 0;
  if (until.clock === clock) return until.value;
  if (until.clock !== "steps" || moment.afterSteps === undefined) {
    throw new Error(`a piece that starts at ${until.value} ${until.clock} cannot be measured in ${clock}`);
  }
  return moment.afterSteps(until.value, clock);
}

/**
 * The value of a schedule. A piece holds up to and excluding its boundary, so the value at a boundary is the next piece's.
 * `cosine(a, b)` is b + (a - b) (1 + cos(pi t)) / 2 for t from 0 to 1 over the piece, `ramp` is linear and `exponential`
 * is a (b / a)^t.
 */
export function evaluateSchedule(schedule: Schedule, moment: Moment): number {
  const index = schedule.pieces.findIndex(({ until }) => until === undefined || moment.at[until.clock] < until.value);
  const piece = schedule.pieces[index];
  if (piece === undefined) throw new Error("a schedule without an end");
  if (piece.shape.kind === "constant") return piece.shape.to;
  const clock = piece.until?.clock ?? schedule.by;
  const end = piece.until?.value ?? (clock === "progress" ? 1 : moment.end?.[clock]);
  if (end === undefined) throw new Error(`the end of the training is not known in ${clock}`);
  const start = startOf(schedule.pieces[index - 1], clock, moment);
  return along(piece.shape, (moment.at[clock] - start) / (end - start));
}
