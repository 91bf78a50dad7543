import { error } from "./entry.ts";

/** Area 0: syntax. */
export const SYNTAX = {
  DSK0001: error("unexpected-character", (p: { text: string }) => `${p.text} is not part of the language`),
  DSK0002: error("unterminated-string", () => "a string ends on the line where it begins"),
  DSK0003: error("block-comment", () => "`/* */` comments are not part of the language"),
  DSK0004: error("bad-number", (p: { text: string }) => `\`${p.text}\` is not a number`),
  DSK0005: error("number-too-large", (p: { text: string }) => `\`${p.text}\` is too large`),
  DSK0006: error("bad-escape", (p: { text: string }) => `a string has no escape \`${p.text}\``),
  DSK0010: error("expected", (p: { expected: string; found: string }) => `expected ${p.expected}, found ${p.found}`),
  DSK0011: error("unexpected", (p: { found: string; where: string }) => `${p.found} cannot stand ${p.where}`),
  DSK0012: error(
    "reserved-word",
    (p: { word: string }) => `\`${p.word}\` is a word of the language and cannot be a name`,
  ),
  DSK0013: error("nested-too-deep", (p: { limit: number }) => `brackets lie more than ${p.limit} deep`),
  DSK0014: error("chained-comparison", () => "comparisons cannot be chained"),
  DSK0015: error("never-closed", (p: { bracket: string }) => `\`${p.bracket}\` is never closed`),
  DSK0016: error("unknown-edition", (p: { year: string }) => `there is no edition ${p.year}`),
  DSK0017: error("expression-too-long", (p: { limit: number }) => `an expression has more than ${p.limit} operators`),
  DSK0018: error("unusable-input", (p: { what: string }) => p.what),
};
