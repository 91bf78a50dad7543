import type { Checker } from "../checker.ts";
import { ERROR, type Meaning } from "../values.ts";
import { bindCall, type Builtin, type Call } from "./context.ts";
import { LAYOUT } from "./layout.ts";
import { MATH } from "./math.ts";
import { REDUCE } from "./reduce.ts";
import { ROUTING } from "./routing.ts";
import { SELECT } from "./select.ts";
import { SEQUENCE } from "./sequence.ts";

/** The functions of the language, by subject. Everything else is written in `.dsk`. */
export const BUILTINS: Readonly<Record<string, Builtin>> = {
  ...MATH,
  ...REDUCE,
  ...SELECT,
  ...LAYOUT,
  ...ROUTING,
  ...SEQUENCE,
};

export function callBuiltin(c: Checker, name: string, call: Call): Meaning {
  const builtin = BUILTINS[name]!;
  const bound = bindCall(c, name, builtin, call);
  return bound === undefined ? ERROR : builtin.make(c, bound);
}
