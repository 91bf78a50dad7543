import type { IToken } from "chevrotain";
import { positionAt, type SourceFile, type Span } from "../../compiler/diagnostics/source.ts";

/** Finds the `///` text of declarations: the lines just before one, or behind it on its last line. */
export class Docs {
  readonly #source: SourceFile;
  /** Doc comments that stand alone on their line. */
  readonly #alone = new Map<number, string>();
  readonly #behind = new Map<number, string>();

  constructor(source: SourceFile, tokens: readonly IToken[]) {
    this.#source = source;
    for (const token of tokens) {
      const line = token.startLine!;
      const before = source.text.slice(token.startOffset - (token.startColumn! - 1), token.startOffset);
      const text = token.image.slice(3).trim();
      (before.trim() === "" ? this.#alone : this.#behind).set(line, text);
    }
  }

  of(span: Span): string | undefined {
    const lines: string[] = [];
    for (let line = positionAt(this.#source, span.start).line - 1; this.#alone.has(line); line--)
      lines.unshift(this.#alone.get(line)!);
    if (lines.length > 0) return lines.join("\n");
    return this.#behind.get(positionAt(this.#source, span.end).line);
  }
}
