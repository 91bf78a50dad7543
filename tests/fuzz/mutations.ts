import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";

/** Real files: the standard library, the specs, and the seeded errors. */
export const corpus: readonly { readonly path: string; readonly text: string }[] = [
  ...filesOf("dsl/std"),
  ...filesOf("specs"),
  ...filesOf("tests/ui"),
];

function filesOf(folder: string): { path: string; text: string }[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".dsk"))
    .toSorted()
    .map((name) => ({ path: join(folder, name), text: readFileSync(join(folder, name), "utf8") }));
}

/** Words, numbers with their units, strings, comments, spaces, signs: good enough to cut a text where it matters. */
const PIECE = /\d[\w.%]*|\w+|"[^"\n]*"|\/\/[^\n]*|\s+|[=-]>|\.\.|[=<>!]=|./gsu;

const WORDS =
  "block model import let return fn param use expect dim state cache on step over stack of schedule by end extends for from " +
  "within as train layout serve target data schema signature metric loss edition T S B D f32 i32 bool Number Block Bool String " +
  "true false constructor __proto__ toString forward rest predict_ahead top gather softmax causal split when";
const SIGNS = "{ } [ ] ( ) = : , . .. => -> @ ^ + - * / | & < <= > >= == != \" // /// /* */ _ % ; ' ` # $ ! ? ~ \\";
const NUMBERS =
  "0 1 2 3 -1 0.5 1e999 1e308 1e-400 007 1_0 1__0 9007199254740993 4Ki 1T 0x10 30% 1.5.2 2 tokens,10 steps,80 GiB,3 gpus";
const ODD = [
  "\0",
  "\r",
  "\r\n",
  "\n",
  "\t",
  "\u000b",
  "\u2028",
  "\ufeff",
  "\u00a0",
  "\ud800",
  "\udc00",
  "\u{1f600}",
  "é",
  "ß",
  "e\u0301",
  "\u202e",
  "\u200d",
  "漢",
  "\u0007",
  "\u001b[31m",
];

const piece = fc.constantFrom(
  ...WORDS.split(" "),
  ...SIGNS.split(" "),
  ...NUMBERS.split(/[ ,](?!tokens|steps|GiB|gpus)/),
  ...ODD,
);

type Edit = (pieces: string[]) => void;

const place = fc.nat(1_000_000);

/** An edit at a place that is taken modulo the length, so that every edit fits every text. */
const edit: fc.Arbitrary<Edit> = fc.oneof(
  place.map(
    (at): Edit =>
      (all) =>
        void all.splice(at % all.length, 1),
  ),
  fc.tuple(place, fc.integer({ min: 2, max: 40 })).map(
    ([at, count]): Edit =>
      (all) =>
        void all.splice(at % all.length, count),
  ),
  place.map(
    (at): Edit =>
      (all) =>
        void all.splice(at % all.length, 0, all[at % all.length]!),
  ),
  fc.tuple(place, place, fc.integer({ min: 1, max: 30 })).map(
    ([at, to, count]): Edit =>
      (all) =>
        void all.splice(to % all.length, 0, ...all.slice(at % all.length, (at % all.length) + count)),
  ),
  fc.tuple(place, place).map(([at, to]): Edit => (all) => {
    const [a, b] = [at % all.length, to % all.length];
    [all[a], all[b]] = [all[b]!, all[a]!];
  }),
  fc.tuple(place, piece).map(
    ([at, text]): Edit =>
      (all) =>
        void all.splice(at % all.length, 1, text),
  ),
  fc.tuple(place, piece).map(
    ([at, text]): Edit =>
      (all) =>
        void all.splice(at % all.length, 0, text),
  ),
  // One word for another of the same text: the syntax stays sound, the meaning does not.
  fc.tuple(place, place).map(([at, from]): Edit => (all) => {
    const words = all.flatMap((text, i) => (/^[A-Za-z_]\w*$/.test(text) ? [i] : []));
    if (words.length > 0) all[words[at % words.length]!] = all[words[from % words.length]!]!;
  }),
  // One number for another one.
  fc
    .tuple(place, fc.constantFrom("0", "1", "2", "3", "0.5", "1e9", "1e999", "4Ki", "9007199254740993"))
    .map(([at, number]): Edit => (all) => {
      const numbers = all.flatMap((text, i) => (/^\d/.test(text) ? [i] : []));
      if (numbers.length > 0) all[numbers[at % numbers.length]!] = number;
    }),
  place.map(
    (at): Edit =>
      (all) =>
        void all.splice(at % all.length),
  ),
);

/** A file of the corpus with a few things wrong. */
export const mutant: fc.Arbitrary<{ readonly path: string; readonly text: string }> = fc
  .tuple(
    fc.constantFrom(...corpus),
    fc.array(edit, { minLength: 1, maxLength: 5 }),
    fc.constantFrom("", "", "", "", "crlf", "bom"),
  )
  .map(([{ path, text }, edits, style]) => {
    const pieces = text.match(PIECE) ?? [""];
    for (const change of edits) {
      if (pieces.length === 0) break;
      change(pieces);
    }
    const result = pieces.join("");
    return {
      path,
      text: style === "crlf" ? result.replaceAll("\n", "\r\n") : style === "bom" ? `\ufeff${result}` : result,
    };
  });
