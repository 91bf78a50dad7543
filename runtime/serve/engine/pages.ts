/** Of a full page: the pages before it, its tokens, and how they were computed. */
type PrefixKey = string;

interface Page {
  /** Sequences that hold it. */
  holders: number;
  /** Under which it can be found again; undefined until it is full. */
  key?: PrefixKey;
  /** Stands for the tokens of this page and of all pages before it. Never used twice. */
  prefix: number;
}

/** What stands for "no page before it". */
export const NO_PREFIX = 0;

/**
 * The pages of a paged cache: each holds the rows of `size` neighboring positions. Full pages can be found again by their
 * tokens and those before them, so sequences that begin alike share them. A page that nobody holds keeps its rows until it is
 * needed; the one that was let go first goes first.
 */
export class PagePool {
  /** Positions of a page. */
  readonly size: number;
  readonly count: number;
  readonly #pages: Page[];
  /** Pages without anything worth finding. */
  readonly #empty: number[];
  /** Pages that nobody holds and that can be found, the least recently used first. */
  readonly #idle = new Set<number>();
  readonly #known = new Map<PrefixKey, number>();
  #nextPrefix = NO_PREFIX + 1;

  constructor(rows: number, size: number) {
    this.size = size;
    this.count = Math.floor(rows / size);
    this.#pages = Array.from({ length: this.count }, () => ({ holders: 0, prefix: NO_PREFIX }));
    this.#empty = Array.from({ length: this.count }, (_, i) => this.count - 1 - i);
  }

  /** Pages that can be had now. */
  get free(): number {
    return this.#empty.length + this.#idle.size;
  }

  /** Pages that sequences hold. */
  get held(): number {
    return this.count - this.free;
  }

  /** A page for new rows, or undefined when all are held. */
  take(): number | undefined {
    const index = this.#empty.pop() ?? this.#evict();
    if (index !== undefined) this.#pages[index]!.holders = 1;
    return index;
  }

  release(index: number): void {
    const page = this.#pages[index]!;
    if (page.holders === 0) throw new Error(`page ${index} is released, but nobody holds it`);
    page.holders--;
    if (page.holders > 0) return;
    if (page.key === undefined) this.#empty.push(index);
    else this.#idle.add(index);
  }

  /**
   * Takes the page that holds these tokens after `prefix`, when there is one. `kind` tells apart rows that were computed in
   * different ways.
   */
  find(prefix: number, tokens: readonly number[], kind: string): { index: number; prefix: number } | undefined {
    const index = this.#known.get(keyOf(prefix, tokens, kind));
    if (index === undefined) return undefined;
    const page = this.#pages[index]!;
    page.holders++;
    this.#idle.delete(index);
    return { index, prefix: page.prefix };
  }

  /** Says that a page is full. Gives what stands for it and the pages before it. */
  publish(index: number, prefix: number, tokens: readonly number[], kind: string): number {
    const page = this.#pages[index]!;
    const key = keyOf(prefix, tokens, kind);
    const twin = this.#known.get(key);
    // Two sequences may have computed the same at the same time: the pages behind follow the one that is known.
    if (twin !== undefined) return this.#pages[twin]!.prefix;
    page.key = key;
    page.prefix = this.#nextPrefix++;
    this.#known.set(key, index);
    return page.prefix;
  }

  /** Nothing can be found any more. Pages that are held stay as they are. */
  forget(): void {
    for (let index = this.#evict(); index !== undefined; index = this.#evict()) this.#empty.push(index);
  }

  #evict(): number | undefined {
    const [index] = this.#idle;
    if (index === undefined) return undefined;
    const page = this.#pages[index]!;
    this.#idle.delete(index);
    this.#known.delete(page.key!);
    delete page.key;
    page.prefix = NO_PREFIX;
    return index;
  }
}

/** Exact, so that no collision can mix up two prompts. */
function keyOf(prefix: number, tokens: readonly number[], kind: string): PrefixKey {
  return `${prefix}/${kind}/${tokens.join(",")}`;
}
