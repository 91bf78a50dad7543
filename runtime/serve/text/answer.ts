import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import type { Sampled } from "../../device/choice.ts";
import { StopStrings } from "./stop-strings.ts";

/** Some text of an answer, and the tokens that it was read from. */
export interface Piece {
  readonly text: string;
  readonly tokens: readonly PieceToken[];
}

export interface PieceToken extends Sampled {
  /** Where its text begins in the answer, in UTF-16 units. */
  readonly offset: number;
}

/**
 * Turns the tokens of one answer into text: characters are given when they are whole, text that may be the beginning of a stop
 * string when it is known that it is none.
 */
export class AnswerText {
  readonly #stream: ReturnType<Tokenizer["stream"]>;
  readonly #stops: StopStrings;
  readonly #give: (piece: Piece) => void;
  /** Tokens whose text was not given yet. */
  #tokens: PieceToken[] = [];
  #decoded = 0;
  #given = 0;

  constructor(tokenizer: Tokenizer, stops: readonly string[], give: (piece: Piece) => void) {
    this.#stream = tokenizer.stream();
    this.#stops = new StopStrings(stops);
    this.#give = give;
  }

  /** Takes a token; true when a stop string is complete. Nothing of it is given. */
  push(sampled: Sampled): boolean {
    this.#tokens.push({ ...sampled, offset: this.#decoded });
    const decoded = this.#stream.push(sampled.token);
    this.#decoded += decoded.length;
    const { text, stopped } = this.#stops.push(decoded);
    this.#flush(text, false);
    return stopped;
  }

  /** Gives what was held back; to be called when no stop string was found. */
  end(): void {
    const { text } = this.#stops.push(this.#stream.end());
    this.#flush(text + this.#stops.end(), true);
  }

  /** Tokens go out with the text that they begin; at the end those without text too, but none that begins in a stop string. */
  #flush(text: string, last: boolean): void {
    this.#given += text.length;
    const ready = this.#tokens.findIndex(({ offset }) => offset >= this.#given && !last);
    const tokens = this.#tokens.splice(0, ready < 0 ? this.#tokens.length : ready);
    if (text !== "" || tokens.length > 0) this.#give({ text, tokens });
  }
}
