import type { IToken } from "chevrotain";
import { positionAt, type SourceFile, type Span } from "../../compiler/diagnostics/source.ts";

/** Finds the `///` text of declarations: the lines just before one, or behind it on its last line. */
export class Docs {
  readonly #source: SourceFile;
  /** Doc comments that stand alone on their line. */
  readonly #alone = new Map<number, string>();
  readonly #behind = new Map<number, { readonly start: number; readonly text: string }>();

  constructor(source: SourceFile, tokens: readonly IToken[]) {
    this.#source = source;
    for (const { image, startLine, startOffset: start } of tokens) {
      const text = image.slice(3).trim();
      if (this.#firstOnLine(start)) this.#alone.set(startLine!, text);
      else this.#behind.set(startLine!, { start, text });
    }
  }

  of(span: Span): string | undefined {
    if (this.#firstOnLine(span.start)) {
      const lines: string[] = [];
      for (let line = positionAt(this.#source, span.start).line - 1; this.#alone.has(line); line--) {
        lines.unshift(this.#alone.get(line)!);
      }
      if (lines.length > 0) return lines.join("\n");
    }
    const behind = this.#behind.get(positionAt(this.#source, span.end).line);
    if (behind === undefined || !/^[ \t,]*$/.test(this.#source.text.slice(span.end, behind.start))) return undefined;
    return behind.text;
  }

  #firstOnLine(offset: number): boolean {
    const { text } = this.#source;
    let at = offset;
    while (at > 0 && text[at - 1] !== "\n" && text[at - 1]!.trim() === "") at--;
    return at === 0 || text[at - 1] === "\n";
  }
}
