import type { AddedToken } from "./format.ts";

/** A piece of a text: a mark, or what lies between two of them. */
export type Section = { readonly text: string } | { readonly mark: AddedToken };

/** Finds marks such as `<|eos|>` in text; where several begin at one place, the longest. */
export class Marks {
  readonly #byText: ReadonlyMap<string, AddedToken>;
  readonly #pattern: RegExp | undefined;

  constructor(tokens: readonly AddedToken[]) {
    this.#byText = new Map(tokens.map((token) => [token.content, token]));
    const longestFirst = [...this.#byText.keys()].toSorted((a, b) => b.length - a.length);
    const escaped = longestFirst.map((text) => text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`));
    if (escaped.length > 0) this.#pattern = new RegExp(escaped.join("|"), "gu");
  }

  split(text: string): Section[] {
    if (this.#pattern === undefined) return [{ text }];
    const sections: Section[] = [];
    let at = 0;
    for (const { 0: found, index } of text.matchAll(this.#pattern)) {
      if (at < index) sections.push({ text: text.slice(at, index) });
      sections.push({ mark: this.#byText.get(found)! });
      at = index + found.length;
    }
    if (at < text.length) sections.push({ text: text.slice(at) });
    return sections;
  }
}
