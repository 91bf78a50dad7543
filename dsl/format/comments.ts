import type { SourceFile } from "../../compiler/diagnostics/source.ts";
import { lexer } from "../syntax/tokens.ts";

export interface Comment {
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** Nothing but space stands before it on its line. */
  readonly alone: boolean;
  /** An empty line stands before it. */
  readonly spaced: boolean;
}

/** The comments of a file, each given out once, so that none is lost and none is doubled. */
export class Comments {
  readonly #text: string;
  readonly #comments: Comment[];
  #next = 0;

  constructor(source: SourceFile) {
    this.#text = source.text;
    const { groups } = lexer.tokenize(source.text);
    const tokens = [...(groups["docs"] ?? []), ...(groups["comments"] ?? [])].toSorted(
      (a, b) => a.startOffset - b.startOffset,
    );
    this.#comments = tokens.map((token) => {
      const line = source.text.slice(source.text.lastIndexOf("\n", token.startOffset - 1) + 1, token.startOffset);
      return {
        text: token.image.trimEnd(),
        start: token.startOffset,
        end: token.endOffset! + 1,
        alone: line.trim() === "",
        spaced: this.spacedBefore(token.startOffset),
      };
    });
  }

  /** Comments that begin before a place. */
  before(offset: number): Comment[] {
    const found: Comment[] = [];
    while (this.#next < this.#comments.length && this.#comments[this.#next]!.start < offset)
      found.push(this.#comments[this.#next++]!);
    return found;
  }

  /** The comment behind a place on its line, with nothing but space and a comma between. */
  behind(offset: number): Comment | undefined {
    const comment = this.#comments[this.#next];
    if (comment === undefined || comment.start < offset || !/^[ \t,]*$/.test(this.#text.slice(offset, comment.start)))
      return undefined;
    this.#next++;
    return comment;
  }

  /** Where comments that are not given out yet begin between two places. */
  placesIn(start: number, end: number): number[] {
    const places: number[] = [];
    for (let i = this.#next; i < this.#comments.length && this.#comments[i]!.start < end; i++)
      if (this.#comments[i]!.start >= start) places.push(this.#comments[i]!.start);
    return places;
  }

  anyIn(start: number, end: number): boolean {
    return this.placesIn(start, end).length > 0;
  }

  /** What comments before a place turn to, in order. Doc comments that document what stands there stay as they are. */
  settled(comments: readonly Comment[], place: number): string[] {
    // From the last one on: it reaches the place if only space lies between, the others if they reach the next one too.
    let [reaches, next] = [true, place];
    const texts = comments.toReversed().map((comment) => {
      reaches &&= this.#text.slice(comment.end, next).trim() === "";
      next = comment.start;
      return reaches && comment.alone ? comment.text : moved(comment);
    });
    return texts.toReversed();
  }

  /** Whether an empty line stands before a place. */
  spacedBefore(offset: number): boolean {
    return /\n[ \t\r]*\n[ \t\r]*$/.test(this.#text.slice(Math.max(0, offset - 400), offset));
  }
}

/** A doc comment that is moved documents nothing any more: it would become the text of what follows it. */
export function moved({ text }: Comment): string {
  return text.startsWith("///") ? `//${text.slice(3)}` : text;
}
