const WORD = /[^\s,:=%"()[\]{}]+/y;

/** Whether the text form can hold this as a label or a name. */
export function isWord(text: string): boolean {
  WORD.lastIndex = 0;
  return WORD.exec(text)?.[0] === text;
}

/** What is wrong with a line. */
export class TextError extends Error {
  /** Of the token that is wrong, counted from 1. */
  readonly column: number;

  constructor(message: string, column: number) {
    super(message);
    this.column = column;
  }
}

/** Reads a line from left to right. Blanks before a token are skipped. Throws `TextError` where something else stands. */
export class TextCursor {
  readonly #text: string;
  #at = 0;
  #last = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Whether this comes next. */
  at(token: string): boolean {
    while (this.#text[this.#at] === " ") this.#at++;
    return this.#text.startsWith(token, this.#at);
  }

  take(token: string): boolean {
    const found = this.at(token);
    if (found) this.#pass(token.length);
    return found;
  }

  expect(token: string): void {
    if (!this.take(token)) this.#expected(`\`${token.trim()}\``);
  }

  /** Characters that mean nothing else: a label, a name, a number. */
  word(what: string): string {
    return this.#match(WORD, what);
  }

  /** A word of a list, which `what` names in errors: `f31 is no dtype`. */
  oneOf<const W extends string>(words: readonly W[], what: string): W {
    const word = this.word(what);
    return words.find((known) => known === word) ?? this.fail(`${word} is no ${what.replace(/^an? /, "")}`);
  }

  string(): string {
    return JSON.parse(this.#match(/"(?:[^"\\]|\\.)*"/y, "a string")) as string;
  }

  /** A number as `numberText` writes it. */
  number(what: string): number {
    const word = this.word(what);
    const named = NUMBERS[word];
    if (named !== undefined) return named;
    return /^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(word)
      ? Number(word)
      : this.fail(`${word} is no ${what.replace("a ", "")}`);
  }

  /** Items with commas between them, up to the closing token, which is taken. */
  list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    if (this.take(close)) return items;
    do items.push(item());
    while (this.take(","));
    this.expect(close);
    return items;
  }

  end(): void {
    if (!this.at("") || this.#at < this.#text.length) this.#expected("the end of the line");
  }

  /** The rest of the line. */
  rest(): string {
    this.at("");
    return this.#text.slice(this.#pass(this.#text.length - this.#at));
  }

  /** Where the token begins that was read last. */
  get last(): number {
    return this.#last;
  }

  /** The token that begins there is wrong, or the last one. */
  fail(message: string, at = this.#last): never {
    throw new TextError(message, at + 1);
  }

  #match(pattern: RegExp, what: string): string {
    this.at("");
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    if (found === undefined) return this.#expected(what);
    this.#pass(found.length);
    return found;
  }

  /** @returns where the token begins */
  #pass(length: number): number {
    this.#last = this.#at;
    this.#at += length;
    return this.#last;
  }

  #expected(what: string): never {
    throw new TextError(`expected ${what} at \`${this.#text.slice(this.#at, this.#at + 20)}\``, this.#at + 1);
  }
}

const NUMBERS: Readonly<Record<string, number>> = { inf: Infinity, "-inf": -Infinity, nan: NaN };

/** The shortest decimal that reads back as the same number; `-0`, `inf`, `-inf`, `nan` for the others. */
export function numberText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (Number.isFinite(value)) return Object.is(value, -0) ? "-0" : `${value}`;
  return value > 0 ? "inf" : "-inf";
}
