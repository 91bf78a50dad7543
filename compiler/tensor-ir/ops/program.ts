import { stringAttr } from "../attrs.ts";
import type { Op } from "../types.ts";
import { define, type OpDefinition } from "./definition.ts";
import { replaceDim } from "./dims.ts";
import { dtypeIn } from "./dtypes.ts";

const named = { name: "string" } as const;

/** What crosses the border of a program: inputs, outputs, parameters, states, metrics, losses and caches. */
export const PROGRAM_OPS = {
  "program.input": define({ operands: 0, attrs: named }),
  "program.output": define({ operands: 1, results: 0, attrs: named, effect: true }),

  "model.param": define({ operands: 0, attrs: named, rules: (op) => [dtypeIn(op.results[0]!, "result", "float")] }),
  "model.state": define({ operands: 0, attrs: named }),
  "model.update": define({ operands: 1, results: 0, attrs: named, effect: true }),

  "metric.emit": define({ operands: 1, results: 0, attrs: named, effect: true }),

  "loss.term": define({
    operands: 2,
    results: 0,
    attrs: named,
    effect: true,
    rules: (op) => [...floatScalar(op, 0, "numerator"), ...floatScalar(op, 1, "denominator")],
  }),
  "loss.global": define({
    operands: 1,
    infer: ([x]) => x!.type,
    rules: (op) => floatScalar(op, 0, "denominator"),
  }),

  "cache.append": define({
    operands: 1,
    attrs: { cache: "string", at: "label", from: "label" },
    effect: true,
    infer: ([x], attrs) => ({
      dtype: x!.type.dtype,
      dims: replaceDim(x!.type.dims, stringAttr(attrs, "from"), [stringAttr(attrs, "at")]),
    }),
    rules: (op) => exchanged(op, "from", "at"),
  }),
  "cache.latest": define({
    operands: 1,
    attrs: { from: "label", to: "label" },
    infer: ([x], attrs) => ({
      dtype: x!.type.dtype,
      dims: replaceDim(x!.type.dims, stringAttr(attrs, "from"), [stringAttr(attrs, "to")]),
    }),
    rules: (op) => exchanged(op, "from", "to"),
  }),
} satisfies Record<string, OpDefinition>;

function floatScalar(op: Op, index: number, what: string): (string | false)[] {
  const value = op.operands[index]!;
  return [dtypeIn(value, what, "float"), value.type.dims.length > 0 && `${what} must be a scalar`];
}

/** The operand has the dim that goes and lacks the one that comes. */
function exchanged(op: Op, gone: string, come: string): (string | false)[] {
  const { dims } = op.operands[0]!.type;
  const [from, to] = [stringAttr(op.attrs, gone), stringAttr(op.attrs, come)];
  return [!dims.includes(from) && `operand has no dim ${from}`, dims.includes(to) && `operand has dim ${to} already`];
}
