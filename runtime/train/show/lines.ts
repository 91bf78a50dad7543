import type { Listener, StartEvent, StepEvent, TrainEvent, ValidationEvent } from "../events.ts";
import { bytesText, countText, durationText, valueText } from "./format.ts";

/** Where text goes. */
export interface Output {
  write(text: string): unknown;
}

/** One plain line for what happens, and one every few seconds for the steps: for logs and pipes. */
export function plainLines(output: Output, everySeconds = 5): Listener {
  let last = -Infinity;
  const eta = new Eta();
  return (event) => {
    eta.add(event);
    if (event.event === "step") {
      const now = performance.now() / 1000;
      if (event.step > 1 && event.progress < 1 && now - last < everySeconds) return;
      last = now;
      output.write(`${stepLine(event, eta)}\n`);
    } else output.write(`${eventLine(event)}\n`);
  };
}

/** How long the training still takes, from the progress since it was started or resumed. */
export class Eta {
  #start: { readonly progress: number; readonly time: number } | undefined;
  #seconds = NaN;

  add(event: TrainEvent): void {
    if (event.event !== "step") return;
    const time = performance.now() / 1000;
    // The first step also warms the machine up.
    this.#start ??= { progress: event.progress, time };
    const made = event.progress - this.#start.progress;
    this.#seconds = made > 0 ? ((time - this.#start.time) / made) * (1 - event.progress) : NaN;
  }

  get text(): string {
    return durationText(this.#seconds);
  }
}

function stepLine(event: StepEvent, eta: Eta): string {
  const { step, progress, loss, losses, lr, tokens_per_second: speed, grad_norm: norm, load_violation: load } = event;
  const parts = [
    `step ${step.toLocaleString("en-US")} (${(100 * progress).toFixed(1)} %)`,
    `loss ${loss.toFixed(4)}`,
    ...Object.entries(losses).map(([name, value]) => `${name} ${value.toFixed(4)}`),
    `grad ${valueText(norm)}`,
    `lr ${valueText(lr)}`,
    `${countText(speed)} tokens/s`,
    ...(load === undefined ? [] : [`load violation ${load.mean.toFixed(2)}`]),
    `eta ${eta.text}`,
  ];
  return parts.join("  ");
}

/** The line for everything but a step. */
export function eventLine(event: Exclude<TrainEvent, StepEvent>): string {
  switch (event.event) {
    case "start":
      return `${titleOf(event)}  ${event.run}${event.step === 0 ? "" : `  goes on after step ${event.step}`}`;
    case "validation":
      return validationLine(event);
    case "checkpoint":
      return `saved ${event.path} (${bytesText(event.bytes)}, ${durationText(event.seconds)})`;
    case "warning":
      return `warning: ${event.message}`;
    case "stop":
      return stopLine(event);
  }
}

export function titleOf({ name, model, params, device }: StartEvent): string {
  return `${name}  ${model}, ${countText(params)} parameters, ${device}`;
}

export function validationLine({ step, loss }: ValidationEvent): string {
  return `validation after step ${step.toLocaleString("en-US")}: loss ${loss.toFixed(4)}, perplexity ${valueText(Math.exp(loss))}`;
}

function stopLine({ reason, step, message }: Extract<TrainEvent, { event: "stop" }>): string {
  const at = `after step ${step.toLocaleString("en-US")}`;
  if (reason === "failed") return `failed ${at}: ${message ?? ""}`;
  return reason === "done" ? `done ${at}` : `interrupted ${at}; --resume goes on`;
}
