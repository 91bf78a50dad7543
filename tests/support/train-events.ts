import type { StartEvent, StepEvent, TrainEvent } from "../../runtime/train/events.ts";

export const START: StartEvent = {
  event: "start",
  run: "runs/none",
  name: "Pretrain",
  model: "Tiny",
  device: "cpu",
  params: 6_015_936,
  step: 0,
  stop: { clock: "steps", value: 2000 },
  time: "2026-01-01T00:00:00.000Z",
};

export function stepEvent(step: number, changes: Partial<StepEvent> = {}): StepEvent {
  const loss = 2 + 6 / step;
  return {
    event: "step",
    step,
    tokens: 4096 * step,
    sequences: 16 * step,
    epochs: step / 700,
    progress: step / 2000,
    loss: 1.3 * loss,
    losses: { next_token: loss, mtp: loss },
    grad_norm: 0.8,
    lr: 1e-3,
    scalars: {},
    load_violation: { mean: 0.2, layers: { "trunk.1.ffn": 0.1, "trunk.2.ffn": 0.3 } },
    seconds: 0.25,
    tokens_per_second: 16_384,
    ...changes,
  };
}

export const EVENTS: readonly TrainEvent[] = [
  START,
  { event: "validation", step: 0, tokens: 0, loss: 8, scored: 16_384, seconds: 1 },
  ...Array.from({ length: 100 }, (_, i) => stepEvent(i + 1)),
  { event: "validation", step: 100, tokens: 409_600, loss: 2.5, scored: 16_384, seconds: 1 },
  {
    event: "checkpoint",
    step: 100,
    path: "runs/none/checkpoints/00000100",
    bytes: 61_800_000,
    seconds: 0.2,
  },
  { event: "warning", message: "the disk is full" },
  stepEvent(101),
];
