/** Data that cannot be used: what is wrong, each with its file and where in it. */
export class DataError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const shown = problems.slice(0, SHOWN);
    const rest = problems.length - shown.length;
    super([...shown, ...(rest > 0 ? [`and ${rest} more`] : [])].join("\n"));
    this.name = "DataError";
    this.problems = problems;
  }
}

const SHOWN = 10;

/** Collects problems, so that one run tells all of them. */
export class Problems {
  readonly #all: string[] = [];

  add(problem: string): void {
    this.#all.push(problem);
  }

  get any(): boolean {
    return this.#all.length > 0;
  }

  /** True when there are so many that going on makes no sense. */
  get many(): boolean {
    return this.#all.length > 100;
  }

  /** @throws DataError when there are any */
  report(): void {
    if (this.any) throw new DataError(this.#all);
  }
}
