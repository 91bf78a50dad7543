/**
 * Finds the first stop string in text that comes in pieces. Text that may be the beginning of one is held back until it is
 * known.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** Whether the end of the text so far may be the beginning of a stop string. */
  get waiting(): boolean {
    return this.#held !== "";
  }

  /** Gives the text that is certain by now, and whether a stop string follows it. */
  push(text: string): { readonly text: string; readonly stopped: boolean } {
    const all = this.#held + text;
    const found = this.#stops.map((stop) => all.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.#held = "";
      return { text: all.slice(0, Math.min(...found)), stopped: true };
    }
    const certain = all.length - Math.max(0, ...this.#stops.map((stop) => overlap(all, stop)));
    this.#held = all.slice(certain);
    return { text: all.slice(0, certain), stopped: false };
  }

  /** What was held back, when nothing follows. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}

/** The length of the longest end of the text that a stop string begins with. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
