/** The keys of a config.json, with account of which were read: what nobody reads is a problem, not a guess. */
import { plain, shown } from "../../runtime/io/json.ts";

export type Json = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Reads keys by type. A value that is missing or of the wrong kind becomes a problem and reads as a harmless stand-in, so
 * that one run finds all problems.
 */
export class Config {
  readonly problems: string[];
  readonly #values: Json;
  /** Of a nested object: `rope_scaling.`. */
  readonly #prefix: string;
  readonly #used = new Set<string>();
  readonly #wrong = new Set<string>();

  constructor(values: Json, prefix = "", problems: string[] = []) {
    this.#values = values;
    this.#prefix = prefix;
    this.problems = problems;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  /** The value as it stands; undefined where there is none. */
  take(key: string): unknown {
    this.#used.add(key);
    return this.has(key) ? this.#values[key] : undefined;
  }

  /** Whether there is a value that is not null, for keys that may be null. */
  given(key: string): boolean {
    return (this.take(key) ?? undefined) !== undefined;
  }

  /** Reports a problem with the value of a key. */
  wrong(key: string, why: string): void {
    this.#wrong.add(key);
    const place = plain(`${this.#prefix}${key}`);
    this.problems.push(
      this.has(key) && this.#values[key] !== undefined
        ? `${place}: ${shown(this.#values[key])} ${why}`
        : `${place}: ${why}`,
    );
  }

  /** Reports that a value does not go with those of other keys, unless one of them is wrong by itself. */
  must(holds: boolean, key: string, why: string, ...others: readonly string[]): void {
    if (!holds && ![key, ...others].some((one) => this.#wrong.has(one))) this.wrong(key, why);
  }

  /** A whole number of 1 and more. Without a fallback the key must be there. */
  size(key: string, fallback?: number): number {
    return this.#read(key, fallback, 1, isSize, "is no positive whole number");
  }

  /** A whole number of 0 and more. */
  count(key: string, fallback?: number): number {
    return this.#read(key, fallback, 0, (v) => v === 0 || isSize(v), "is no whole number of 0 and more");
  }

  /** A finite number above 0. */
  positive(key: string, fallback?: number): number {
    return this.#read(key, fallback, 1, (v): v is number => isNumber(v) && v > 0, "is no positive number");
  }

  /** A finite number. */
  number(key: string, fallback?: number): number {
    return this.#read(key, fallback, 1, isNumber, "is no number");
  }

  flag(key: string, fallback: boolean): boolean {
    return this.#read(
      key,
      fallback,
      fallback,
      (v): v is boolean => typeof v === "boolean",
      "is neither true nor false",
    );
  }

  /** One of some words. */
  choice<const T extends string>(key: string, words: readonly T[], fallback: T): T {
    const known = (value: unknown): value is T => words.some((word) => word === value);
    return this.#read(key, fallback, fallback, known, `is not supported; supported: ${words.join(", ")}`);
  }

  /** A list of the right length (any without one) whose items all fit; undefined for none or null. */
  list<T>(key: string, fits: (item: unknown) => item is T, what: string, length?: number): readonly T[] | undefined {
    const value = this.take(key);
    if (value === undefined || value === null) return undefined;
    if (Array.isArray(value) && value.every(fits) && (length === undefined || value.length === length)) return value;
    this.wrong(key, `is no list of ${what}`);
    return undefined;
  }

  /** A nested object; undefined for none or null. Call `finish` of it when all is read. */
  object(key: string): Config | undefined {
    const value = this.take(key);
    if (value === undefined || value === null) return undefined;
    if (isObject(value)) return new Config(value, `${this.#prefix}${key}.`, this.problems);
    this.wrong(key, "is no object");
    return undefined;
  }

  /** The keys that nobody has read, in the order of the file. */
  unread(): string[] {
    return Object.keys(this.#values).filter((key) => !this.#used.has(key));
  }

  /** Reports what nobody has read. */
  finish(): void {
    for (const key of this.unread()) this.wrong(key, "is a key that dskc does not know");
  }

  #read<T>(key: string, fallback: T | undefined, stand: T, fits: (value: unknown) => value is T, why: string): T {
    const value = this.take(key);
    if (value === undefined) {
      if (fallback !== undefined) return fallback;
      this.wrong(key, "is missing");
      return stand;
    }
    if (fits(value)) return value;
    this.wrong(key, why);
    return stand;
  }
}

export function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

export function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}
