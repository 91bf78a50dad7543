import { normalCdf } from "../normal-cdf.ts";
import { offsets, stridesOf } from "../tensor.ts";
import type { Kernel } from "./kernel.ts";

/** Elementwise with as many operands as the function has parameters; operands are broadcast by name. */
function unary(rule: (x: number) => number): Kernel {
  return (result, { operands: [x], sizes }) => {
    const at = offsets(result.dims, sizes, stridesOf(x!));
    for (let i = 0; i < at.length; i++) result.data[i] = rule(x!.data[at[i]!]!);
  };
}

function binary(rule: (a: number, b: number) => number): Kernel {
  return (result, { operands: [a, b], sizes }) => {
    const inA = offsets(result.dims, sizes, stridesOf(a!));
    const inB = offsets(result.dims, sizes, stridesOf(b!));
    for (let i = 0; i < inA.length; i++) result.data[i] = rule(a!.data[inA[i]!]!, b!.data[inB[i]!]!);
  };
}

function compare(rule: (a: number, b: number) => boolean): Kernel {
  return binary((a, b) => (rule(a, b) ? 1 : 0));
}

/** i32 products wrap; as f64 they would lose bits. */
const multiply: Kernel = (result, call) => {
  const kernel = result.dtype === "i32" ? binary(Math.imul) : binary((a, b) => a * b);
  kernel(result, call);
};

const square: Kernel = (result, { operands, ...call }) =>
  multiply(result, { ...call, operands: [operands[0]!, operands[0]!] });

const select: Kernel = (result, { operands, sizes }) => {
  const [c, a, b] = operands.map(({ data }) => data);
  const [inC, inA, inB] = operands.map((x) => offsets(result.dims, sizes, stridesOf(x)));
  for (let i = 0; i < result.data.length; i++) {
    result.data[i] = c![inC![i]!] === 0 ? b![inB![i]!]! : a![inA![i]!]!;
  }
};

export const MATH_KERNELS = {
  "math.neg": unary((x) => -x),
  "math.exp": unary(Math.exp),
  "math.log": unary(Math.log),
  "math.sqrt": unary(Math.sqrt),
  "math.rsqrt": unary((x) => 1 / Math.sqrt(x)),
  "math.recip": unary((x) => 1 / x),
  "math.sigmoid": unary((x) => 1 / (1 + Math.exp(-x))),
  "math.tanh": unary(Math.tanh),
  "math.silu": unary((x) => x / (1 + Math.exp(-x))),
  "math.relu": unary((x) => Math.max(x, 0)),
  "math.gelu": unary((x) => x * normalCdf(x)),
  "math.softplus": unary((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  "math.abs": unary(Math.abs),
  "math.sign": unary(Math.sign),
  "math.sin": unary(Math.sin),
  "math.cos": unary(Math.cos),
  "math.square": square,
  "math.normal_cdf": unary(normalCdf),
  "math.floor": unary(Math.floor),
  "math.not": unary((x) => 1 - x),

  "math.add": binary((a, b) => a + b),
  "math.sub": binary((a, b) => a - b),
  "math.mul": multiply,
  "math.div": binary((a, b) => a / b),
  "math.pow": binary((a, b) => a ** b),
  "math.max": binary(Math.max),
  "math.min": binary(Math.min),

  "math.lt": compare((a, b) => a < b),
  "math.le": compare((a, b) => a <= b),
  "math.gt": compare((a, b) => a > b),
  "math.ge": compare((a, b) => a >= b),
  "math.eq": compare((a, b) => a === b),
  "math.ne": compare((a, b) => a !== b),
  "math.and": binary((a, b) => a & b),
  "math.or": binary((a, b) => a | b),

  "math.select": select,
} satisfies Record<string, Kernel>;
