import fc from "fast-check";
import { expect, test } from "vitest";
import { program } from "../support/random-dsk.ts";
import { examine } from "./examine.ts";
import { corpus, mutant } from "./mutations.ts";

/*
 * Any text whatever: an error or none, never a fault, every place inside its file. `FUZZ_RUNS=20 npx vitest run tests/fuzz`
 * runs twenty times as many, `FUZZ_SEED=7` other ones.
 */
const factor = Number(process.env["FUZZ_RUNS"] ?? 1);
const seed = Number(process.env["FUZZ_SEED"] ?? 1);
const timeout = 60_000 * factor;

const fails = (text: string, path?: string): boolean =>
  examine(text, path).some(({ severity }) => severity === "error");

test(
  "real files with pieces deleted, doubled, swapped and replaced",
  () => {
    fc.assert(
      fc.property(mutant, ({ path, text }) => void examine(text, path)),
      { numRuns: 400 * factor, seed },
    );
  },
  timeout,
);

test(
  "bytes",
  () => {
    const bytes = fc.uint8Array({ maxLength: 400 }).map((b) => new TextDecoder().decode(b));
    fc.assert(
      fc.property(fc.oneof(bytes, fc.string({ unit: "binary", maxLength: 200 })), (text) => void examine(text)),
      { numRuns: 500 * factor, seed },
    );
  },
  timeout,
);

test(
  "sound syntax without meaning",
  () => {
    fc.assert(
      fc.property(program, (text) => void examine(text)),
      { numRuns: 200 * factor, seed },
    );
  },
  timeout,
);

test("a file that is cut off inside a body is an error wherever it is cut", () => {
  const { text } = corpus.find(({ path }) => path.endsWith("specs/quickstart.dsk"))!;
  let depth = 0;
  const quiet: string[] = [];
  for (const { 0: token, index } of text.matchAll(/\/\/[^\n]*|"[^"]*"|\w+|\S/g)) {
    if (depth > 0 && !fails(text.slice(0, index))) quiet.push(text.slice(0, index));
    depth += token === "{" ? 1 : token === "}" ? -1 : 0;
  }
  expect(quiet).toEqual([]);
});
