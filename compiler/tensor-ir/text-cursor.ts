const WORD = /[^\s,:=%"()[\]{}]+/y;

/** Whether the text form can hold this as a label or a name. */
export function isWord(text: string): boolean {
  WORD.lastIndex = 0;
  return WORD.exec(text)?.[0] === text;
}

/** Reads a line from left to right. Blanks before a token are skipped. */
export class TextCursor {
  readonly #text: string;
  #at = 0;

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
    if (found) this.#at += token.length;
    return found;
  }

  expect(token: string): void {
    if (!this.take(token)) throw new Error(`expected \`${token}\` at \`${this.#rest()}\``);
  }

  /** Characters that mean nothing else: a label, a name, a number. */
  word(what: string): string {
    this.at("");
    return this.#match(WORD, what);
  }

  string(): string {
    return JSON.parse(this.#match(/"(?:[^"\\]|\\.)*"/y, "a string")) as string;
  }

  /** Items with commas between them, up to the closing token, which is taken. */
  list(close: string, item: () => void): void {
    if (this.take(close)) return;
    do item();
    while (this.take(","));
    this.expect(close);
  }

  end(): void {
    if (!this.at("") || this.#at < this.#text.length)
      throw new Error(`expected the end of the line at \`${this.#rest()}\``);
  }

  #match(pattern: RegExp, what: string): string {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    if (found === undefined) throw new Error(`expected ${what} at \`${this.#rest()}\``);
    this.#at += found.length;
    return found;
  }

  #rest(): string {
    return this.#text.slice(this.#at, this.#at + 20);
  }
}
