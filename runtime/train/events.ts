import type { LoadViolation } from "./violation.ts";

/** The training begins, or goes on. */
export interface StartEvent {
  readonly event: "start";
  /** The run's folder. */
  readonly run: string;
  readonly name: string;
  readonly model: string;
  readonly device: string;
  /** Numbers in all params. */
  readonly params: number;
  /** Steps that a checkpoint has already made. */
  readonly step: number;
  readonly stop: { readonly clock: "tokens" | "steps" | "epochs"; readonly value: number };
  readonly time: string;
}

/** One step was made. A line of `metrics.jsonl`. */
export interface StepEvent {
  readonly event: "step";
  readonly step: number;
  /** Tokens, sequences and passes over the data, this step included. */
  readonly tokens: number;
  readonly sequences: number;
  readonly epochs: number;
  /** Of the whole training, from 0 to 1. */
  readonly progress: number;
  readonly loss: number;
  readonly losses: Readonly<Record<string, number>>;
  readonly grad_norm: number;
  readonly lr: number;
  /** The other values of schedules: `train.balance_rate`. */
  readonly scalars: Readonly<Record<string, number>>;
  readonly load_violation?: LoadViolation;
  /** Of this step. */
  readonly seconds: number;
  readonly tokens_per_second: number;
}

/** Held-out data was scored. A line of `metrics.jsonl`. */
export interface ValidationEvent {
  readonly event: "validation";
  /** Steps that were made before. */
  readonly step: number;
  readonly tokens: number;
  /** Mean cross-entropy of the next token, in nats. */
  readonly loss: number;
  /** Tokens that were scored. */
  readonly scored: number;
  readonly seconds: number;
}

export interface CheckpointEvent {
  readonly event: "checkpoint";
  readonly step: number;
  readonly path: string;
  readonly bytes: number;
  readonly seconds: number;
}

/** Something that the user should know and that does not end the training. */
export interface WarningEvent {
  readonly event: "warning";
  readonly message: string;
}

export interface StopEvent {
  readonly event: "stop";
  /** `done`: the stop rule holds; `interrupted`: somebody asked for it; `failed`: see `message`. */
  readonly reason: "done" | "interrupted" | "failed";
  readonly step: number;
  readonly message?: string;
  readonly time: string;
}

export type TrainEvent = StartEvent | StepEvent | ValidationEvent | CheckpointEvent | WarningEvent | StopEvent;

/** What `metrics.jsonl` holds. */
export type MetricEvent = StepEvent | ValidationEvent;

export type Listener = (event: TrainEvent) => void;
