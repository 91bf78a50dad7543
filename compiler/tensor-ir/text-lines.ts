import { TextCursor, TextError } from "./text-cursor.ts";

/** The lines of a text form, one after the other. Blank lines and indentation do not matter. */
export class TextLines {
  readonly #lines: readonly { readonly text: string; readonly number: number; readonly indent: number }[];
  readonly #length: number;
  #next = 0;

  constructor(text: string) {
    const lines = text.split("\n");
    this.#length = lines.length;
    this.#lines = lines.flatMap((line, i) => {
      const trimmed = line.trim();
      return trimmed === "" ? [] : [{ text: trimmed, number: i + 1, indent: line.indexOf(trimmed) }];
    });
  }

  get done(): boolean {
    return this.#next === this.#lines.length;
  }

  /** @param what stands there, for an error where the text ends */
  line(what: string): string {
    const line = this.#lines[this.#next];
    if (line === undefined) throw new Error(`the text ends before ${what}`);
    this.#next++;
    return line.text;
  }

  cursor(what: string): TextCursor {
    return new TextCursor(this.line(what));
  }

  /** Takes the next line when it is this one. */
  take(text: string): boolean {
    const found = this.#lines[this.#next]?.text === text;
    if (found) this.#next++;
    return found;
  }

  /** What `read` makes of the lines. @throws Error with line and, where one is known, column of what is wrong with them */
  read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      const { number, indent } = this.#lines[this.#next - 1] ?? { number: this.#length, indent: 0 };
      const column = error instanceof TextError ? `, column ${indent + error.column}` : "";
      throw new Error(`line ${number}${column}: ${(error as Error).message}`, { cause: error });
    }
  }
}
