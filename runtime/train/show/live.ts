import { stripVTControlCharacters } from "node:util";
import type { Listener, StartEvent, StepEvent, TrainEvent, ValidationEvent } from "../events.ts";
import { countText, heightText, progressBar, sparkline, valueText } from "./format.ts";
import { History } from "./history.ts";
import { Eta, eventLine, type Output } from "./lines.ts";

/** A terminal. */
export interface Terminal extends Output {
  readonly columns?: number;
}

/** Colors by name, as picocolors makes them: without color each gives its text back. */
export type Colors = Readonly<
  Record<"bold" | "dim" | "green" | "yellow" | "red" | "cyan" | "blue", (text: string) => string>
>;

const REDRAW_MS = 100;

const STOPPED = { done: "green", interrupted: "yellow", failed: "red" } as const;

/**
 * A few lines that are drawn again in place: progress, loss with its curve, speed, what the experts get. Validations, and
 * what else a user may want to read later, scroll away above them.
 */
export function liveDisplay(terminal: Terminal, colors: Colors): Listener {
  return new Live(terminal, colors).listen;
}

class Live {
  readonly #terminal: Terminal;
  readonly #colors: Colors;
  #history = new History();
  readonly #eta = new Eta();
  #start: StartEvent | undefined;
  #step: StepEvent | undefined;
  #validation: ValidationEvent | undefined;
  #saved: number | undefined;
  /** Lines of the last drawing. */
  #drawn = 0;
  #last = -Infinity;

  constructor(terminal: Terminal, colors: Colors) {
    this.#terminal = terminal;
    this.#colors = colors;
  }

  readonly listen = (event: TrainEvent): void => {
    this.#eta.add(event);
    switch (event.event) {
      case "start":
        this.#start = event;
        this.#history = History.of(event.run);
        this.#validation = this.#history.validations.at(-1);
        if (event.step > 0) this.#above(this.#colors.dim(`goes on after step ${event.step}`));
        return;
      case "step":
        this.#step = event;
        this.#history.add(event);
        return this.#draw(performance.now() - this.#last >= REDRAW_MS);
      case "validation":
        this.#validation = event;
        this.#history.add(event);
        return this.#draw(true);
      case "checkpoint":
        this.#saved = event.step;
        return this.#draw(true);
      case "warning":
        return this.#above(this.#colors.yellow(eventLine(event)));
      case "stop":
        this.#draw(true);
        this.#terminal.write(`${this.#colors[STOPPED[event.reason]](eventLine(event))}\n`);
        return;
    }
  };

  /** A line that stays, above what is drawn in place. */
  #above(line: string): void {
    this.#terminal.write(`${this.#clear()}${line}\n`);
    this.#drawn = 0;
    this.#draw(true);
  }

  #draw(now: boolean): void {
    if (!now || this.#start === undefined || this.#step === undefined) return;
    this.#last = performance.now();
    const width = Math.max(20, (this.#terminal.columns ?? 80) - 1);
    const lines = this.#lines(this.#start, this.#step, width).map((line) => cut(line, width));
    this.#terminal.write(`${this.#clear()}${lines.join("\n")}\n`);
    this.#drawn = lines.length;
  }

  /** Moves to the first line of the last drawing and clears from there; a key that was pressed may have moved the cursor. */
  #clear(): string {
    return this.#drawn === 0 ? "" : `\r${ESCAPE}[${this.#drawn}A${ESCAPE}[J`;
  }

  #lines(start: StartEvent, event: StepEvent, width: number): string[] {
    const c = this.#colors;
    const label = (text: string): string => c.dim(text.padEnd(8));
    const field = (name: string, value: string): string => `${c.dim(name)} ${value}`;
    const { losses, load_violation: load } = event;
    const title = [c.bold(start.name), start.model, `${countText(start.params)} parameters`, start.device];
    const curve = Math.max(10, Math.min(40, width - 30));
    const terms = Object.entries(losses).map(([name, value]) => field(name, value.toFixed(3)));
    const checked =
      this.#validation === undefined
        ? []
        : [field("validation", `${this.#validation.loss.toFixed(3)} ${c.dim(`(step ${this.#validation.step})`)}`)];
    const saved = this.#saved === undefined ? [] : [field("saved", `step ${this.#saved.toLocaleString("en-US")}`)];
    return [
      `${title.join(c.dim(" · "))}  ${c.dim(start.run)}`,
      this.#progress(event, start, width),
      `${label("loss")}${c.bold(event.loss.toFixed(4))}  ${c.cyan(
        sparkline(
          this.#history.steps.map(({ loss }) => loss),
          curve,
        ),
      )}`,
      ...(terms.length > 1 || checked.length > 0 ? [`${label("")}${[...terms, ...checked].join("  ")}`] : []),
      `${label("speed")}${countText(this.#speed())} tokens/s  ${field("lr", valueText(event.lr))}  ${field("grad", valueText(event.grad_norm))}  ${saved.join("")}`,
      ...(load === undefined ? [] : [`${label("experts")}${this.#load(load, field)}`]),
    ];
  }

  #progress({ step, progress, tokens }: StepEvent, { stop }: StartEvent, width: number): string {
    const c = this.#colors;
    const end = stop.clock === "steps" ? ` of ${stop.value.toLocaleString("en-US")}` : "";
    const left = `step ${step.toLocaleString("en-US")}${end}  `;
    const right = `  ${(100 * progress).toFixed(1)} %  eta ${this.#eta.text}  ${countText(tokens)} tokens`;
    const bar = progressBar(progress, Math.max(10, Math.min(50, width - left.length - right.length)));
    return `${left}${c.green(bar.done)}${c.dim(bar.left)}${right}`;
  }

  /** Of the last steps together: single ones vary with what else the machine does. */
  #speed(): number {
    const last = this.#history.steps.slice(-10);
    return last.reduce((sum, event) => sum + event.tokens_per_second, 0) / last.length;
  }

  /** The mean violation, and a bar for every layer: full at 1, where an expert has twice the mean. */
  #load({ mean, layers }: NonNullable<StepEvent["load_violation"]>, field: (a: string, b: string) => string): string {
    const values = Object.values(layers);
    const bars = values.map((value) => this.#heat(value)(heightText(value))).join("");
    const most = Math.max(...values);
    return `${field("load violation", this.#heat(mean)(mean.toFixed(2)))}  ${bars}  ${field("worst layer", most.toFixed(2))}`;
  }

  #heat(value: number): (text: string) => string {
    return this.#colors[value < 0.3 ? "green" : value < 1 ? "yellow" : "red"];
  }
}

const ESCAPE = String.fromCharCode(27);
const STYLES = new RegExp(`(${ESCAPE}\\[[\\d;]*m)`);

/** A line with at most `width` visible characters. Styles are closed behind a cut. */
function cut(line: string, width: number): string {
  if (stripVTControlCharacters(line).length <= width) return line;
  let [result, room] = ["", width - 1];
  for (const part of line.split(STYLES)) {
    const isStyle = part.startsWith(ESCAPE);
    result += isStyle ? part : part.slice(0, room);
    if (!isStyle) room = Math.max(0, room - part.length);
  }
  return `${result}…`;
}
