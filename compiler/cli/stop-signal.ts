/** SIGINT and SIGTERM as a signal for what runs: it ends in order, and a second one ends it at once. */
import { constants } from "node:os";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

export class StopSignal {
  readonly #controller = new AbortController();
  readonly #first: () => void;
  #received: NodeJS.Signals | undefined;

  /** @param first called when the first signal comes */
  constructor(first: () => void) {
    this.#first = first;
    for (const name of SIGNALS) process.on(name, this.#receive);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** As shells have it: 128 and the number of the signal, 130 for SIGINT, 143 for SIGTERM. */
  get exitCode(): number {
    return this.#received === undefined ? 0 : exitCodeOf(this.#received);
  }

  close(): void {
    for (const name of SIGNALS) process.off(name, this.#receive);
  }

  readonly #receive = (name: NodeJS.Signals): void => {
    if (this.#received !== undefined) process.exit(exitCodeOf(name));
    this.#received = name;
    this.#first();
    this.#controller.abort(new Error(`stopped by ${name}`));
  };
}

function exitCodeOf(name: NodeJS.Signals): number {
  return 128 + constants.signals[name];
}
