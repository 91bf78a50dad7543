import { error, note, warning } from "./entry.ts";

/** `a`, `b` and `c`, each as code. */
function listed(names: readonly string[]): string {
  const quoted = names.map((name) => `\`${name}\``);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} and ${quoted.at(-1)!}`;
}

/** Area 6: training and data, and what all sections share. Area 7: serving. */
export const SECTIONS = {
  DSK6001: error("unknown-entry", (p: { section: string; name: string }) => `${p.section} has no entry \`${p.name}\``),
  DSK6002: error(
    "missing-entry",
    (p: { section: string; names: readonly string[] }) => `${p.section} needs ${listed(p.names)}`,
  ),
  DSK6003: error("duplicate-entry", (p: { name: string }) => `\`${p.name}\` is set twice`),
  DSK6004: error(
    "duplicate-section",
    (p: { section: string; name: string }) => `${p.section} \`${p.name}\` is declared twice`,
  ),
  DSK6005: error(
    "missing-for",
    (p: { section: string; name: string; of: string }) => `${p.section} \`${p.name}\` does not say for which ${p.of}`,
  ),
  DSK6006: error("unknown-section", (p: { section: string; name: string }) => `there is no ${p.section} \`${p.name}\``),
  DSK6007: error("wrong-base", (p: { name: string; why: string }) => `\`${p.name}\` cannot be the base: ${p.why}`),
  DSK6008: error("base-cycle", (p: { chain: string }) => `sections are based on each other: ${p.chain}`),
  DSK6009: error("wrong-shape", (p: { name: string; is: string }) => `\`${p.name}\` is ${p.is}`),
  DSK6010: error("wrong-value", (p: { expected: string; found: string }) => `expected ${p.expected}, found ${p.found}`),
  DSK6011: error("wrong-unit", (p: { expected: string; found: string }) => `expected ${p.expected}, found ${p.found}`),
  DSK6012: error(
    "out-of-range",
    (p: { value: string; expected: string }) => `${p.value} is out of range: expected ${p.expected}`,
  ),
  DSK6013: error(
    "unknown-function",
    (p: { name: string; result: string }) => `no function \`${p.name}\` gives ${p.result}`,
  ),
  DSK6014: error("wrong-call", (p: { callee: string; why: string }) => `\`${p.callee}\` ${p.why}`),
  DSK6015: error(
    "unknown-choice",
    (p: { name: string; expected: string }) => `expected ${p.expected}, found \`${p.name}\``,
  ),
  DSK6017: error("misplaced-for", (p: { section: string }) => `a ${p.section} section is for nothing else`),
  DSK6018: error(
    "unknown-section-fact",
    (p: { section: string; name: string }) => `${p.section} has no fact \`${p.name}\``,
  ),

  DSK6101: error(
    "schedule-order",
    (p: { before: string; after: string }) => `${p.after} does not lie behind ${p.before}`,
  ),
  DSK6102: error("schedule-end", (p: { what: string }) => `a schedule ends with \`..end\`, ${p.what}`),
  DSK6103: error(
    "schedule-clock",
    (p: { by: string; found: string }) => `a schedule by ${p.by} cannot change at ${p.found}`,
  ),
  DSK6104: error("unknown-clock", (p: { name: string }) => `a schedule cannot run by \`${p.name}\``),
  DSK6105: error(
    "shape-outside-schedule",
    (p: { name: string }) => `\`${p.name}\` only has a meaning inside a schedule`,
  ),
  DSK6106: warning(
    "change-after-stop",
    (p: { boundary: string; stop: string }) => `the training stops at ${p.stop}, before ${p.boundary}`,
  ),

  DSK6201: error(
    "unknown-loss",
    (p: { model: string; name: string }) => `no block of \`${p.model}\` has a loss \`${p.name}\``,
  ),
  DSK6202: error(
    "no-look-ahead",
    (p: { model: string; what: string }) => `\`${p.model}\` predicts no token ahead: ${p.what}`,
  ),
  DSK6203: error(
    "missing-train-value",
    (p: { model: string; section: string; names: readonly string[] }) =>
      `\`${p.model}\` reads ${listed(p.names.map((name) => `train.${name}`))}, and train \`${p.section}\` does not set it`,
  ),
  DSK6204: error("unknown-part", (p: { model: string; name: string }) => `\`${p.model}\` has no part \`${p.name}\``),
  DSK6205: error(
    "objective-mismatch",
    (p: { what: string; expected: string; found: string }) => `${p.what} is ${p.found}; it must be ${p.expected}`,
  ),
  DSK6206: warning("unused-entry", (p: { name: string; why: string }) => `\`${p.name}\` has no effect ${p.why}`),
  DSK6207: error("wrong-shares", (p: { sum: string }) => `the shares of a mixture add up to ${p.sum}, not to 1`),

  DSK6901: note("not-executed", (p: { name: string }) => `\`${p.name}\` is checked, but not executed yet`),

  DSK6902: error(
    "not-executable",
    (p: { name: string; why: string }) => `\`${p.name}\` cannot be executed yet: ${p.why}`,
  ),

  DSK7001: error("serving-mesh", (p: { what: string; product?: number; gpus: number }) =>
    p.product === undefined
      ? `a mesh of ${p.gpus} GPUs does not divide over ${p.what}`
      : `${p.what} takes ${p.product} GPUs of a mesh of ${p.gpus}`,
  ),
  DSK7002: error(
    "serving-experts",
    (p: { experts: number; spare: number; ep: number }) =>
      `${p.experts} experts and ${p.spare} spare copies do not divide over ep = ${p.ep}`,
  ),
};
