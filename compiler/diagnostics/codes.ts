import { INTERNAL } from "./codes/internal.ts";
import { LAYOUT } from "./codes/layout.ts";
import { MODEL } from "./codes/model.ts";
import { NAMES } from "./codes/names.ts";
import { SECTIONS } from "./codes/sections.ts";
import { SYNTAX } from "./codes/syntax.ts";
import { TARGETS } from "./codes/targets.ts";

/**
 * Every diagnostic of dskc, numbered by area: 0 syntax, 1 names, dims and types, 2 model facts, 3 layout and memory,
 * 4 numerics, 5 code generation and targets, 6 training and data, 7 serving and checkpoints, 9 internal.
 * The long story of each code is `docs/errors/CODE.md`.
 */
export const CODES = { ...SYNTAX, ...NAMES, ...MODEL, ...LAYOUT, ...TARGETS, ...SECTIONS, ...INTERNAL };

export type Code = keyof typeof CODES;

export function isCode(text: string): text is Code {
  return Object.hasOwn(CODES, text);
}
