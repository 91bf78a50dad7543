import type { SourceFile, Span } from "./source.ts";
import { CODES, type Code } from "./codes.ts";

export type Severity = "error" | "warning" | "note";

export interface Label {
  readonly span: Span;
  readonly text: string;
}

/** An edit that mends the problem when it is applied. */
export interface Fix {
  readonly title: string;
  readonly span: Span;
  readonly text: string;
}

export interface Diagnostic {
  readonly code: Code;
  readonly name: string;
  readonly severity: Severity;
  readonly message: string;
  readonly primary: Label;
  readonly secondary: readonly Label[];
  /** Facts that were compared, one line each. */
  readonly notes: readonly string[];
  readonly help?: string;
  readonly fix?: Fix;
}

export interface Details {
  /** Text under the primary span; empty for a bare underline. */
  readonly label?: string;
  readonly secondary?: readonly Label[];
  readonly notes?: readonly string[];
  readonly help?: string;
  readonly fix?: Fix;
  /** Where the mistake shows, if that is not the place that is told: mistakes that show at two places are two. */
  readonly shows?: Span;
  /**
   * What the mistake is about, such as a name that nothing has: reports about the same are one mistake, and the later ones
   * only add their places.
   */
  readonly about?: string;
}

/** The parameters that the message of a code takes. */
export type ParamsOf<C extends Code> = Parameters<(typeof CODES)[C]["message"]>[0];

/** Places of one mistake beyond this many are as good as told. */
const PLACES = 4;

/** A name that is looked for among all others, for each of 100,000 errors, would take hours. */
const CROWD = 100;

/**
 * Collects the diagnostics of one run. A problem that is reported twice at one place (a block that is checked for
 * two instances) is kept once.
 */
export class Diagnostics {
  readonly #items: Diagnostic[] = [];
  readonly #seen = new Set<string>();
  /** Index of the diagnostic about something. */
  readonly #about = new Map<string, number>();
  #errors = 0;

  report<C extends Code>(code: C, at: Span, params: ParamsOf<C>, details: Details = {}): void {
    const entry = CODES[code];
    const { file, start, end } = details.shows ?? at;
    const key = `${code} ${file.path} ${start} ${end}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (details.about !== undefined && this.#joins(`${details.about} ${file.path}`, at)) return;
    if (entry.severity === "error") this.#errors++;
    this.#items.push({
      code,
      name: entry.name,
      severity: entry.severity,
      message: (entry.message as (p: ParamsOf<C>) => string)(params),
      primary: { span: at, text: details.label ?? "" },
      secondary: details.secondary ?? [],
      notes: details.notes ?? [],
      ...(details.help === undefined ? {} : { help: details.help }),
      ...(details.fix === undefined ? {} : { fix: details.fix }),
    });
  }

  /** True for a mistake that is told already: the place is added to it. */
  #joins(about: string, at: Span): boolean {
    const index = this.#about.get(about);
    if (index === undefined) {
      this.#about.set(about, this.#items.length);
      return false;
    }
    const first = this.#items[index]!;
    if (first.secondary.length + 1 < PLACES)
      this.#items[index] = { ...first, secondary: [...first.secondary, { span: at, text: "" }] };
    return true;
  }

  /** True where a report in the file about this would only add a place. */
  isTold(about: string, { path }: SourceFile): boolean {
    return this.#about.has(`${about} ${path}`);
  }

  /** In the order of the files' first report, then by place. */
  get all(): readonly Diagnostic[] {
    const files = [...new Set(this.#items.map((d) => d.primary.span.file))];
    const rank = new Map(files.map((file, index) => [file, index]));
    return this.#items.toSorted(
      (a, b) =>
        rank.get(a.primary.span.file)! - rank.get(b.primary.span.file)! || a.primary.span.start - b.primary.span.start,
    );
  }

  get hasErrors(): boolean {
    return this.errorCount > 0;
  }

  get errorCount(): number {
    return this.#errors;
  }

  /** So many errors that nobody reads them one by one: what takes long to find out about each is left out. */
  get isCrowded(): boolean {
    return this.#items.length > CROWD;
  }
}
