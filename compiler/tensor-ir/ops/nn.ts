import { stringAttr } from "../attrs.ts";
import type { Op } from "../types.ts";
import { define, type OpDefinition } from "./definition.ts";
import { dimsText, isWithin, withoutDims } from "./dims.ts";
import { dtypeIn } from "./dtypes.ts";

/** Reductions with the numerics of their own: operands x and, where given, a mask that broadcasts over x. */
export const NN_OPS = {
  "nn.softmax": define({
    operands: [1, 2],
    attrs: { dim: "label" },
    infer: ([x]) => x!.type,
    rules: maskedRow,
  }),
  "nn.logsumexp": define({
    operands: [1, 2],
    attrs: { dim: "label" },
    infer: ([x], attrs) => ({ dtype: x!.type.dtype, dims: withoutDims(x!.type.dims, [stringAttr(attrs, "dim")]) }),
    rules: maskedRow,
  }),
} satisfies Record<string, OpDefinition>;

function maskedRow(op: Op): (string | false)[] {
  const [x, mask] = op.operands;
  const { dims } = x!.type;
  const dim = stringAttr(op.attrs, "dim");
  const faults = [dtypeIn(x!, "operand", "float"), !dims.includes(dim) && `operand has no dim ${dim}`];
  if (mask === undefined) return faults;
  const extra = withoutDims(mask.type.dims, dims);
  return [
    ...faults,
    dtypeIn(mask, "mask", "bool"),
    !isWithin(mask.type.dims, dims) && `mask has dims ${dimsText(extra)}, which the operand lacks`,
  ];
}
