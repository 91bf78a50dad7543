import type { Value } from "../../types.ts";
import type { Emitter } from "../emitter.ts";
import { none, operand, result } from "./entry.ts";
import type { Vjp, VjpTable } from "./entry.ts";

const INV_SQRT_TAU = 1 / Math.sqrt(2 * Math.PI);

/** Elementwise with one operand: `rule` gives the operand's gradient from x, the result y and the gradient g of y. */
function unary(rule: (e: Emitter, x: Value, y: Value, g: Value) => Value): Vjp {
  return (e, op, grad) => {
    const x = operand(op, 0);
    return [() => e.conform(rule(e, x, result(op), grad), x.type)];
  };
}

/** The density of the standard normal distribution at x. */
function normalDensity(e: Emitter, x: Value): Value {
  return e.scale(e.unary("math.exp", e.scale(e.unary("math.square", x), -0.5)), INV_SQRT_TAU);
}

function oneMinus(e: Emitter, x: Value): Value {
  return e.binary("math.sub", e.constant(1, x.type.dtype), x);
}

/** `max` and `min`: the first operand wins ties. */
function winner(comparison: string): Vjp {
  return (e, op, grad) => {
    const [a, b] = [operand(op, 0), operand(op, 1)];
    const first = (): Value => e.compare(comparison, a, b);
    return [() => e.conform(e.where(first(), grad), a.type), () => e.conform(e.unless(first(), grad), b.type)];
  };
}

const boolean = none("the result is boolean");
const stepwise = none("the derivative is 0 wherever it exists");

export const MATH_VJP: VjpTable = {
  "math.neg": unary((e, _x, _y, g) => e.neg(g)),
  "math.exp": unary((e, _x, y, g) => e.times(g, y)),
  "math.log": unary((e, x, _y, g) => e.over(g, x)),
  "math.sqrt": unary((e, _x, y, g) => e.over(e.scale(g, 0.5), y)),
  "math.rsqrt": unary((e, _x, y, g) => e.times(e.scale(g, -0.5), e.mul(y, e.unary("math.square", y)))),
  "math.recip": unary((e, _x, y, g) => e.neg(e.times(g, e.unary("math.square", y)))),
  "math.sigmoid": unary((e, _x, y, g) => e.mul(g, e.mul(y, oneMinus(e, y)))),
  "math.tanh": unary((e, _x, y, g) => e.mul(g, oneMinus(e, e.unary("math.square", y)))),
  // silu(x) = x s, so silu'(x) = s + x s (1 - s) = s (1 + x (1 - s)).
  "math.silu": unary((e, x, _y, g) => {
    const s = e.unary("math.sigmoid", x);
    return e.times(g, e.mul(s, e.binary("math.add", e.constant(1, x.type.dtype), e.mul(x, oneMinus(e, s)))));
  }),
  "math.relu": unary((e, x, _y, g) => e.where(e.compare("math.gt", x, e.constant(0, x.type.dtype)), g)),
  // gelu(x) = x F(x), with F the normal distribution and f its density.
  "math.gelu": unary((e, x, _y, g) =>
    e.times(g, e.binary("math.add", e.unary("math.normal_cdf", x), e.mul(x, normalDensity(e, x)))),
  ),
  "math.softplus": unary((e, x, _y, g) => e.mul(g, e.unary("math.sigmoid", x))),
  "math.abs": unary((e, x, _y, g) => e.mul(g, e.unary("math.sign", x))),
  "math.sin": unary((e, x, _y, g) => e.times(g, e.unary("math.cos", x))),
  "math.cos": unary((e, x, _y, g) => e.neg(e.times(g, e.unary("math.sin", x)))),
  "math.square": unary((e, x, _y, g) => e.times(g, e.scale(x, 2))),
  "math.normal_cdf": unary((e, x, _y, g) => e.mul(g, normalDensity(e, x))),
  "math.sign": stepwise,
  "math.floor": stepwise,

  "math.add": (e, op, grad) => op.operands.map((x) => () => e.conform(grad, x.type)),
  "math.sub": (e, op, grad) => [
    () => e.conform(grad, operand(op, 0).type),
    () => e.neg(e.conform(grad, operand(op, 1).type)),
  ],
  "math.mul": (e, op, grad) => [
    () => e.timesInto(grad, operand(op, 1), operand(op, 0).type),
    () => e.timesInto(grad, operand(op, 0), operand(op, 1).type),
  ],
  "math.div": (e, op, grad) => {
    const [a, b] = [operand(op, 0), operand(op, 1)];
    const quotient = (): Value => e.over(grad, b);
    return [() => e.conform(quotient(), a.type), () => e.neg(e.timesInto(quotient(), result(op), b.type))];
  },
  // d/da a^b = b a^(b-1), and 0 for b = 0 also where a^(b-1) is infinite; d/db a^b = a^b log a, and 0 for a <= 0.
  "math.pow": (e, op, grad) => {
    const [a, b, y] = [operand(op, 0), operand(op, 1), result(op)];
    const zero = (x: Value): Value => e.constant(0, x.type.dtype);
    return [
      () => {
        const lower = e.binary("math.pow", a, e.binary("math.sub", b, e.constant(1, b.type.dtype)));
        return e.timesInto(grad, e.unless(e.compare("math.eq", b, zero(b)), e.mul(b, lower)), a.type);
      },
      () => e.timesInto(grad, e.where(e.compare("math.gt", a, zero(a)), e.mul(y, e.unary("math.log", a))), b.type),
    ];
  },
  "math.max": winner("math.ge"),
  "math.min": winner("math.le"),
  "math.select": (e, op, grad) => {
    const [condition, a, b] = [operand(op, 0), operand(op, 1), operand(op, 2)];
    return [
      undefined,
      () => e.conform(e.where(condition, grad), a.type),
      () => e.conform(e.unless(condition, grad), b.type),
    ];
  },

  "math.not": boolean,
  "math.lt": boolean,
  "math.le": boolean,
  "math.gt": boolean,
  "math.ge": boolean,
  "math.eq": boolean,
  "math.ne": boolean,
  "math.and": boolean,
  "math.or": boolean,
};
