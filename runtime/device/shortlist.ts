/** Shortlists of logits: what is asked for as words in the arena, and answers as they are read back. */
import { ASKED_WORDS, HEAD_WORDS } from "../program/shortlist.ts";
import type { Asked, Shortlist } from "./choice.ts";

/** The logits f32[B, V] of a call, and the tokens that count. */
export interface Logits {
  /** The first word. */
  readonly at: number;
  readonly vocabulary: number;
  readonly known: number;
}

export interface ShortlistPlan {
  /** What the launch gives: items, and extents of the kernel. */
  readonly launch: readonly number[];
  /** What is written to the arena before, from `at` on. */
  readonly written: Int32Array<ArrayBuffer>;
  readonly at: number;
  /** What is read back. */
  readonly answers: { readonly at: number; readonly words: number };
  /** Where it ends. */
  readonly words: number;
}

/** @param from where there is room in the arena */
export function planShortlists(asked: readonly Asked[], logits: Logits, from: number): ShortlistPlan {
  const { at, vocabulary, known } = logits;
  const wanted = asked.map((one) => inRange(one, known));
  const written = new Int32Array(wanted.reduce((sum, { named }) => sum + ASKED_WORDS + named.length, 0));
  const inverse = new Float32Array(written.buffer);
  const answers = from + written.length;
  let names = ASKED_WORDS * wanted.length;
  let answer = answers;
  for (const [i, one] of wanted.entries()) {
    const { row, noise, named, likeliest, lifted } = one;
    const words = [row, 0, ...noise, likeliest, lifted, from + names, named.length, answer];
    written.set(words, ASKED_WORDS * i);
    inverse[ASKED_WORDS * i + 1] = 1 / one.temperature;
    written.set(named, names);
    names += named.length;
    answer += answerWords(one);
  }
  const scratch = wanted.length * vocabulary;
  const groups = wanted.length;
  return {
    launch: [groups, 0, groups, vocabulary, known, at, from, answer, answer + scratch],
    written,
    at: from,
    answers: { at: answers, words: answer - answers },
    words: answer + scratch * (wanted.some(({ lifted }) => lifted > 0) ? 2 : 1),
  };
}

/** @param known tokens that count */
export function shortlistsOf(asked: readonly Asked[], words: Uint32Array, known: number): Shortlist[] {
  let at = 0;
  return asked.map((one) => {
    const wanted = inRange(one, known);
    return shortlistOf(wanted, words.subarray(at, (at += answerWords(wanted))));
  });
}

function inRange(asked: Asked, known: number): Asked {
  const named = asked.named.filter((token) => token < known);
  return { ...asked, named, likeliest: Math.min(asked.likeliest, known) };
}

function answerWords({ likeliest, lifted, named }: Asked): number {
  return HEAD_WORDS + 2 * likeliest + 3 * lifted + named.length;
}

function shortlistOf({ named, likeliest, lifted }: Asked, words: Uint32Array): Shortlist {
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const [best, largest, listed, floor, raised, lift] = words as unknown as readonly number[];
  const found = new Map<number, number>();
  const ahead = new Map<number, number>();
  if (largest! > 0) found.set(best!, valueOf(largest!));
  const lists = HEAD_WORDS + 2 * likeliest;
  if (likeliest > 0)
    for (let i = 0; i < listed!; i++) found.set(words[HEAD_WORDS + 2 * i]!, floats[HEAD_WORDS + 2 * i + 1]!);
  if (lifted > 0)
    for (let i = 0; i < raised!; i++) {
      const token = words[lists + 3 * i]!;
      found.set(token, floats[lists + 3 * i + 1]!);
      if (likeliest > 0) ahead.set(token, floats[lists + 3 * i + 2]!);
    }
  return {
    named: new Map(named.map((token, i) => [token, floats[lists + 3 * lifted + i]!])),
    others: found,
    // Without a list nothing is known but the largest.
    floor: likeliest > 0 ? boundOf(floor!) : valueOf(largest!),
    lift: lifted > 0 ? boundOf(lift!) : Infinity,
    largest: largest! > 0 ? valueOf(largest!) : -Infinity,
    ahead,
    weight: floats[6]!,
    rawWeight: floats[7]!,
  };
}

/** All others with a larger key were found; undefined when all were. */
function boundOf(key: number): number | undefined {
  return key === 0 ? undefined : valueOf(key);
}

/** The float of a key of the kernel; NaN of the largest. */
function valueOf(key: number): number {
  const bits = key >= 2 ** 31 ? key - 2 ** 31 : ~key;
  return new Float32Array(Int32Array.of(bits).buffer)[0]!;
}
