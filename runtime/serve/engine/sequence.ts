import type { Sampled } from "../../device/choice.ts";
import { Sampler } from "../sampling/sampler.ts";
import { NO_PREFIX, type PagePool } from "./pages.ts";
import type { EngineRequest, Finished } from "./request.ts";

/** One answer in the making: its tokens, and where their rows lie in the caches. */
export class Sequence {
  readonly request: EngineRequest;
  /** Order of arrival. */
  readonly order: number;
  /** The prompt, then what was generated. */
  readonly tokens: number[];
  readonly promptLength: number;
  readonly sampler: Sampler;
  readonly result: Promise<Finished>;
  /** Guesses for the tokens that follow, to be verified by the next call. */
  drafts: number[] = [];
  /** Positions whose rows are in the caches. */
  computed = 0;
  /** Positions of the prompt that were found in the cache when it was first admitted. */
  cachedTokens: number | undefined;
  /** The physical row of each position that has a page. */
  rows = new Int32Array(0);
  readonly #pages: number[] = [];
  /** Pages that can be found by others. */
  #published = 0;
  #prefix = NO_PREFIX;
  #settle!: { readonly resolve: (finished: Finished) => void; readonly reject: (error: unknown) => void };
  #done = false;

  constructor(request: EngineRequest, order: number) {
    this.request = request;
    this.order = order;
    this.tokens = [...request.prompt];
    this.promptLength = request.prompt.length;
    this.sampler = new Sampler(request.sampling, request.prompt);
    this.result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
  }

  /** It was finished, or failed. */
  get done(): boolean {
    return this.#done;
  }

  /** It was admitted at some time: something of it was computed. */
  get begun(): boolean {
    return this.cachedTokens !== undefined;
  }

  get generated(): number {
    return this.tokens.length - this.promptLength;
  }

  /** Tokens that a call has to read before the next one can be sampled; 1 while it generates. */
  get pending(): number {
    return this.tokens.length - this.computed;
  }

  /** Positions that have a page. */
  get capacity(): number {
    return this.rows.length;
  }

  /** Pages that a length of the sequence needs beyond those it has. */
  pagesFor(length: number, pool: PagePool): number {
    return Math.max(0, Math.ceil(length / pool.size) - this.#pages.length);
  }

  /** Gets pages for so many positions, or as many of them as there are. Gives the positions that it has. */
  grow(length: number, pool: PagePool): number {
    while (this.capacity < length) {
      const page = pool.take();
      if (page === undefined) break;
      this.#addPage(page, pool.size);
    }
    return this.capacity;
  }

  /** Takes over what the cache has of its beginning: full pages, and at least one token is left to compute. */
  reuse(pool: PagePool, kindOf: (from: number) => string): void {
    for (let from = 0; from + pool.size < this.tokens.length; from += pool.size) {
      const tokens = this.tokens.slice(from, from + pool.size);
      const found = pool.find(this.#prefix, tokens, kindOf(from));
      if (found === undefined) break;
      this.#addPage(found.index, pool.size);
      this.#prefix = found.prefix;
      this.#published++;
      this.computed += pool.size;
    }
  }

  /** Lets others find the pages that are full by now. */
  publish(pool: PagePool, kindOf: (from: number) => string): void {
    for (; (this.#published + 1) * pool.size <= this.computed; this.#published++) {
      const from = this.#published * pool.size;
      const tokens = this.tokens.slice(from, from + pool.size);
      this.#prefix = pool.publish(this.#pages[this.#published]!, this.#prefix, tokens, kindOf(from));
    }
  }

  /** Gives all pages back, the last ones first: a beginning is worth more than what follows it. */
  release(pool: PagePool): void {
    for (const page of this.#pages.toReversed()) pool.release(page);
    this.#pages.length = 0;
    this.rows = new Int32Array(0);
    this.#published = 0;
    this.#prefix = NO_PREFIX;
    this.computed = 0;
    this.drafts = [];
  }

  /** Appends a generated token. Gives the reason when it is the last one. */
  accept(sampled: Sampled, context: number): Finished["reason"] | undefined {
    const { stopTokens, maxTokens, onToken } = this.request;
    this.tokens.push(sampled.token);
    this.sampler.accept(sampled.token);
    if (onToken(sampled) || stopTokens.has(sampled.token)) return "stop";
    return this.generated >= maxTokens || this.tokens.length >= context ? "length" : undefined;
  }

  finish(reason: Finished["reason"]): void {
    this.#done = true;
    this.#settle.resolve({ reason, cachedTokens: this.cachedTokens ?? 0 });
  }

  fail(error: unknown): void {
    this.#done = true;
    this.#settle.reject(error);
  }

  #addPage(page: number, size: number): void {
    const rows = new Int32Array(this.rows.length + size);
    rows.set(this.rows);
    for (let i = 0; i < size; i++) rows[this.rows.length + i] = page * size + i;
    this.rows = rows;
    this.#pages.push(page);
  }
}
