import type { Pass } from "./pass.ts";
import { ARITHMETIC_RULES } from "./rules/arithmetic.ts";
import { CONSTANT_RULES } from "./rules/constants.ts";
import { SHAPE_RULES } from "./rules/shapes.ts";
import { applyRules, type RuleTable } from "./scope.ts";

/** Every rule of an op, constants first. */
function merged(...tables: readonly RuleTable[]): RuleTable {
  const names = new Set(tables.flatMap((table) => Object.keys(table)));
  return Object.fromEntries([...names].map((name) => [name, tables.flatMap((table) => table[name] ?? [])]));
}

const RULES = merged(CONSTANT_RULES, ARITHMETIC_RULES, SHAPE_RULES);

/** Removes arithmetic and moves that change nothing, and folds constants. Ops that lost their last use stay behind. */
export const simplify: Pass = {
  name: "simplify",
  run: (program) => applyRules(program, RULES),
};
