/** The common kind of tokenizer, byte-level BPE, encoded here: tens of times as fast as the general library. */

import { unspell } from "./byte-alphabet.ts";
import type { BpeModel, Part, TokenizerJson } from "./format.ts";
import { SplitPreTokenizer } from "./library.ts";
import { type MergeTable, mergeWord, pairKey } from "./merge.ts";

/** `isolated`: what lies between matches is a word as well. */
interface Split {
  readonly pattern: RegExp;
  readonly isolated: boolean;
}

/** The words of GPT-2: a `ByteLevel` pre-tokenizer on its own. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Words are few: most of a text is found here. */
const CACHED_WORDS = 200_000;

export class ByteLevelBpe {
  readonly #splits: readonly Split[];
  readonly #nfc: boolean;
  readonly #byteTokens: readonly number[];
  readonly #merges: MergeTable;
  /** Tokens that words are looked up in before anything is merged, by bytes in Latin-1. */
  readonly #whole: ReadonlyMap<string, number> | undefined;
  readonly #encoder = new TextEncoder();
  readonly #cache = new Map<string, readonly number[]>();

  private constructor(splits: readonly Split[], nfc: boolean, model: BpeModel, byteTokens: readonly number[]) {
    this.#splits = splits;
    this.#nfc = nfc;
    this.#byteTokens = byteTokens;
    this.#merges = mergesOf(model);
    if (model.ignore_merges === true) this.#whole = new Map(Object.entries(model.vocab).flatMap(inLatin1));
  }

  /** Undefined for tokenizers of any other kind. */
  static of({ model, normalizer, pre_tokenizer, decoder }: TokenizerJson): ByteLevelBpe | undefined {
    if (!isPlainBpe(model) || decoder?.type !== "ByteLevel") return undefined;
    const nfc = normalizer?.type === "NFC";
    if (normalizer !== null && !nfc) return undefined;
    const splits = splitsOf(pre_tokenizer);
    const bytes = Array.from({ length: 256 }, () => -1);
    for (const [text, id] of Object.entries(model.vocab)) {
      const spelled = text.length === 1 ? unspell(text) : undefined;
      if (spelled !== undefined) bytes[spelled[0]!] = id;
    }
    if (splits === undefined || bytes.includes(-1)) return undefined;
    return new ByteLevelBpe(splits, nfc, model, bytes);
  }

  /** Appends the tokens of a text to `out`. */
  encode(text: string, out: number[]): void {
    let words: readonly string[] = [this.#nfc ? text.normalize("NFC") : text];
    for (const split of this.#splits) {
      words = words.length === 1 ? wordsOf(words[0]!, split) : words.flatMap((word) => wordsOf(word, split));
    }
    for (const word of words) for (const token of this.#word(word)) out.push(token);
  }

  #word(word: string): readonly number[] {
    const known = this.#cache.get(word);
    if (known !== undefined) return known;
    const bytes = this.#encoder.encode(word);
    const whole = this.#whole?.get(latin1(bytes));
    const tokens =
      whole === undefined
        ? mergeWord(
            Array.from(bytes, (byte) => this.#byteTokens[byte]!),
            this.#merges,
          )
        : [whole];
    if (this.#cache.size >= CACHED_WORDS) this.#cache.clear();
    this.#cache.set(word, tokens);
    return tokens;
  }
}

function wordsOf(text: string, { pattern, isolated }: Split): readonly string[] {
  const matches = text.match(pattern) ?? [];
  if (!isolated || matches.reduce((sum, match) => sum + match.length, 0) === text.length) return matches;
  const words: string[] = [];
  let at = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    if (at < index) words.push(text.slice(at, index));
    if (match !== "") words.push(match);
    at = index + match.length;
  }
  if (at < text.length) words.push(text.slice(at));
  return words;
}

function isPlainBpe(model: TokenizerJson["model"]): model is BpeModel {
  const { type, dropout, continuing_subword_prefix, end_of_word_suffix, byte_fallback, merges } = model as BpeModel;
  if (type !== undefined && type !== "BPE") return false;
  return Array.isArray(merges) && !dropout && !continuing_subword_prefix && !end_of_word_suffix && !byte_fallback;
}

/** What a pre-tokenizer splits by, one after the other; undefined when it does anything else. */
function splitsOf(part: Part | null): readonly Split[] | undefined {
  if (part === null) return undefined;
  const parts = part.type === "Sequence" ? (part["pretokenizers"] as readonly Part[]) : [part];
  const last = parts.at(-1);
  if (last?.type !== "ByteLevel" || last["add_prefix_space"] === true) return undefined;
  const splits = parts.slice(0, -1).map(splitOf);
  if (last["use_regex"] !== false) splits.push({ pattern: new RegExp(GPT2, "gu"), isolated: false });
  return splits.every((split) => split !== undefined) ? splits : undefined;
}

function splitOf(part: Part): Split | undefined {
  if (part.type !== "Split") return undefined;
  const [behavior, invert] = [String(part["behavior"]).toLowerCase(), part["invert"] === true];
  const isolated = behavior === "isolated" && !invert;
  if (!isolated && !(behavior === "removed" && invert)) return undefined;
  // The library knows how expressions of Oniguruma are written in JavaScript.
  const { pattern } = new SplitPreTokenizer(part);
  return pattern === null ? undefined : { pattern, isolated };
}

function mergesOf({ vocab, merges }: BpeModel): MergeTable {
  const table = new Map<number, { rank: number; token: number }>();
  merges.forEach((merge, rank) => {
    const [left, right] = typeof merge === "string" ? (merge.split(" ", 2) as [string, string]) : merge;
    const [a, b, token] = [vocab[left], vocab[right], vocab[left + right]];
    if (a === undefined || b === undefined || token === undefined) {
      throw new Error(
        `tokenizer.json: merge ${rank + 1}, \`${left} ${right}\`, names a token that is not in the vocabulary`,
      );
    }
    table.set(pairKey(a, b), { rank, token });
  });
  return table;
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function inLatin1([text, id]: readonly [string, number]): (readonly [string, number])[] {
  const bytes = unspell(text);
  return bytes === undefined ? [] : [[latin1(bytes), id]];
}
