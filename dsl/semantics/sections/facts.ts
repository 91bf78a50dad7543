/** `expect` in sections: what may be expected of a training, a layout, a server. */
import { didYouMean } from "../../../compiler/diagnostics/did-you-mean.ts";
import type * as ast from "../../syntax/ast.ts";
import { pathOf } from "./check-value.ts";
import type { Context } from "./context.ts";
import { amountText, constant } from "./numbers.ts";
import type { UnitKind } from "../../syntax/units.ts";
import { measureText } from "./units.ts";

type Facts = Readonly<Record<string, UnitKind | undefined>>;

/** The facts of each kind of section, and what they measure. */
const FACTS: Readonly<Record<ast.SectionKind, Facts>> = {
  data: { "corpus.tokens": "tokens" },
  train: { tokens: "tokens", steps: "steps", "batch.tokens": "tokens" },
  layout: { "memory.per_device": "bytes", bubble: "ratio", "step.time": "time" },
  serve: { "memory.per_device": "bytes", "cache.tokens": "tokens" },
  target: {},
};

/** Checks the names and the units of a section's expectations; layout and planning tell whether they hold. */
export function checkFacts(c: Context, decl: ast.SectionDecl): void {
  const facts = FACTS[decl.section];
  for (const entry of decl.body.entries) {
    if (entry.kind !== "expect") continue;
    const name = pathOf(entry.left)
      ?.map((part) => part.text)
      .join(".");
    if (name === undefined || !Object.hasOwn(facts, name)) {
      const known = Object.keys(facts);
      const help = (name === undefined ? undefined : didYouMean(name, known)) ?? `its facts are ${known.join(", ")}`;
      const { file, start, end } = entry.left.span;
      const found = name ?? file.text.slice(start, end);
      c.diagnostics.report(
        "DSK6018",
        entry.left.span,
        { section: `a ${decl.section} section`, name: found },
        known.length > 0 ? { help } : {},
      );
      continue;
    }
    const measure = facts[name];
    const amount = constant(entry.right);
    if (amount !== undefined && amount.measure !== measure && measure !== undefined) {
      c.diagnostics.report("DSK6011", entry.right.span, { expected: measureText(measure), found: amountText(amount) });
    }
  }
}
