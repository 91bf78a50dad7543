import type { DType } from "../types.ts";
import { define, type OpDefinition } from "./definition.ts";
import { dimsOf, joinDims } from "./dims.ts";
import { commonDtype, dtypeIn, type DTypeClass, sameKind } from "./dtypes.ts";

/** x in, the same type out. */
function unary(...classes: readonly DTypeClass[]): OpDefinition {
  return define({
    operands: 1,
    infer: ([x]) => x!.type,
    rules: (op) => [dtypeIn(op.operands[0]!, "operand", ...classes)],
  });
}

/** Broadcast over the joined dims; the result has `dtype`, or the operands' common dtype. */
function binary(classes: readonly DTypeClass[], dtype?: DType): OpDefinition {
  return define({
    operands: 2,
    infer: (operands) => ({ dtype: dtype ?? commonDtype(operands), dims: joinDims(...operands.map(dimsOf)) }),
    rules: (op) => {
      const mixed = sameKind(op.operands);
      return [mixed, mixed === false && dtypeIn(op.operands[0]!, "operand", ...classes)];
    },
  });
}

const FLOAT = ["float"] as const;
const NUMBER = ["float", "i32"] as const;
const ANY = ["float", "i32", "bool"] as const;

/** Elementwise ops, broadcast by name. i32 arithmetic wraps; it has no division: cast first. */
export const MATH_OPS = {
  "math.neg": unary(...NUMBER),
  "math.exp": unary("float"),
  "math.log": unary("float"),
  "math.sqrt": unary("float"),
  "math.rsqrt": unary("float"),
  "math.recip": unary("float"),
  "math.sigmoid": unary("float"),
  "math.tanh": unary("float"),
  "math.silu": unary("float"),
  "math.relu": unary(...NUMBER),
  "math.gelu": unary("float"),
  "math.softplus": unary("float"),
  "math.abs": unary(...NUMBER),
  "math.sign": unary(...NUMBER),
  "math.sin": unary("float"),
  "math.cos": unary("float"),
  "math.square": unary(...NUMBER),
  "math.normal_cdf": unary("float"),
  "math.floor": unary("float"),
  "math.not": unary("bool"),

  "math.add": binary(NUMBER),
  "math.sub": binary(NUMBER),
  "math.mul": binary(NUMBER),
  "math.div": binary(FLOAT),
  "math.pow": binary(FLOAT),
  "math.max": binary(NUMBER),
  "math.min": binary(NUMBER),

  "math.lt": binary(NUMBER, "bool"),
  "math.le": binary(NUMBER, "bool"),
  "math.gt": binary(NUMBER, "bool"),
  "math.ge": binary(NUMBER, "bool"),
  "math.eq": binary(ANY, "bool"),
  "math.ne": binary(ANY, "bool"),
  "math.and": binary(["bool"]),
  "math.or": binary(["bool"]),

  "math.select": define({
    operands: 3,
    infer: ([c, a, b]) => ({ dtype: commonDtype([a!, b!]), dims: joinDims(dimsOf(c!), dimsOf(a!), dimsOf(b!)) }),
    rules: (op) => [dtypeIn(op.operands[0]!, "condition", "bool"), sameKind(op.operands.slice(1))],
  }),
} satisfies Record<string, OpDefinition>;
