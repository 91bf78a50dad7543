import { error, warning } from "./entry.ts";

/** Area 2: facts about models. */
export const MODEL = {
  DSK2001: error("no-model", (p: { file: string }) => `\`${p.file}\` declares no model`),
  DSK2002: error("unknown-model", (p: { name: string }) => `there is no model \`${p.name}\``),
  DSK2003: error("no-forward", (p: { name: string }) => `\`${p.name}\` has no function \`forward\``),
  DSK2004: error("wrong-forward", (p: { name: string; why: string }) => `\`forward\` of model \`${p.name}\` ${p.why}`),
  DSK2101: error(
    "top-k-too-large",
    (p: { k: number; of: string; size: number }) => `cannot pick ${p.k} of ${p.of} = ${p.size}`,
  ),
  DSK2102: error(
    "groups-do-not-divide",
    (p: { groups: number; dim: string; size: number }) => `${p.groups} groups do not divide ${p.dim} = ${p.size}`,
  ),
  DSK2103: error(
    "keep-out-of-range",
    (p: { keep: number; groups: number }) => `cannot keep ${p.keep} of ${p.groups} groups`,
  ),
  DSK2104: error(
    "bad-count",
    (p: { what: string; value: string }) => `${p.what} is ${p.value}; it must be a positive whole number`,
  ),
  DSK2106: error("too-large", (p: { what: string; most: number }) => `${p.what}; at most ${p.most} are possible`),
  DSK2107: error("too-deep", (p: { name: string }) => `\`${p.name}\` needs too many definitions one behind the other`),
  DSK2105: warning("sees-the-future", (p: { what: string }) => `${p.what} over S looks at positions after the token`),
  DSK2201: error(
    "expectation-failed",
    (p: { what: string; expected: string; actual: string }) => `expected ${p.what} == ${p.expected}, it is ${p.actual}`,
  ),
  DSK2202: error("unknown-fact", (p: { name: string }) => `\`${p.name}\` is not a fact that can be expected`),
  DSK2301: error("unknown-setting", (p: { name: string }) => `a model has no setting \`${p.name}\``),
};
