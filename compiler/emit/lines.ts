/** Lines of generated code with their indentation. */
export class Lines {
  readonly #lines: string[] = [];
  #depth = 0;

  add(...lines: readonly string[]): void {
    for (const line of lines) this.#lines.push(line === "" ? "" : "  ".repeat(this.#depth) + line);
  }

  /** `head {`, what the body adds, `}`. */
  block(head: string, body: () => void, end = "}"): void {
    this.add(head === "" ? "{" : `${head} {`);
    this.#depth++;
    body();
    this.#depth--;
    this.add(end);
  }

  /** Lines that were made elsewhere, one level as they are here. */
  text(): string {
    return this.#lines.map((line) => `${line}\n`).join("");
  }
}
