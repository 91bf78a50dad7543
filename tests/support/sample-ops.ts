import type { Given, Inputs } from "../../compiler/reference/border.ts";
import type { OpName } from "../../compiler/tensor-ir/ops/table.ts";
import { parseProgram } from "../../compiler/tensor-ir/parse.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";

interface Sample {
  /** The types of the operands, which the program reads as `x0`, `x1`, ... */
  readonly operands: readonly string[];
  /** No result for an op with an effect only; a result is the output `y`. */
  readonly result?: string;
  readonly attrs?: string;
  /** The elements of `x0`, `x1`, ... */
  readonly data: readonly (readonly number[])[];
}

export interface SampleProgram {
  readonly program: Program;
  readonly inputs: Inputs;
}

/** A program around one op with small numbers. T is 2, S is 3. No float input lies where the op has no derivative. */
export function sampleProgram(name: OpName): SampleProgram {
  return { program: parseProgram(sampleText(name)), inputs: sampleInputs(SAMPLES[name].data) };
}

export function sampleInputs(data: readonly (readonly number[])[]): Inputs {
  const values = new Map<string, Given>(data.map((elements, i) => [`x${i}`, { data: elements }]));
  const kept = { dtype: "f32", dims: ["S", "A"], shape: [1, 2], data: Float64Array.of(9, 8) } as const;
  return { sizes: { T: 2, S: 3 }, values, caches: new Map([["rows", kept]]), seed: 7, step: 3 };
}

export function sampleText(name: OpName): string {
  const { operands, result, attrs = "" } = SAMPLES[name];
  const lines = operands.map((type, i) => `%${i}: ${type} = program.input {name = "x${i}"}`);
  const call = `${name} ${operands.map((_, i) => `%${i}`).join(", ")} {${attrs}}`;
  if (result === undefined) lines.push(call);
  else lines.push(`%${operands.length} y: ${result} = ${call}`, `program.output %${operands.length} {name = "y"}`);
  return `program @sample\n${SAMPLE_DIMS}\n{\n${lines.join("\n")}\n}\n`;
}

export const SAMPLE_DIMS = "dims { T = ?, S = ?, A = 2, B = 3, C = 4, K = 2, E = 3, A+B = 5, A*B = 6, T/2*2+3 = ? }";

const unary = (data: readonly number[], dtype = "f32"): Sample => ({
  operands: [`${dtype}[A, B]`],
  result: `${dtype}[B, A]`,
  data: [data],
});
const signed = unary([-1.5, -0.5, 0.25, 0.5, 1, 2]);
const positive = unary([0.25, 0.5, 1, 1.5, 2, 4]);
const binary = (a: readonly number[], b: readonly number[], result = "f32[B, A]"): Sample => ({
  operands: ["f32[A]", "f32[B]"],
  result,
  data: [a, b],
});
const compared = binary([2, -1], [-1, 1.5, 2], "bool[A, B]");
const logical: Sample = {
  operands: ["bool[A]", "bool[A, B]"],
  result: "bool[B, A]",
  data: [
    [1, 0],
    [1, 0, 1, 0, 1, 1],
  ],
};
const stored: Sample = { operands: [], result: "f32[A]", attrs: 'name = "x0"', data: [[1.5, -2]] };
const written: Sample = { operands: ["f32[A]"], attrs: 'name = "w"', data: [[1.5, -2]] };
const rows: Sample = {
  operands: ["f32[A, B]", "bool[B]"],
  result: "f32[B, A]",
  attrs: 'dim = "B"',
  data: [
    [0.5, 9, 1.5, -1, 9, 2],
    [1, 0, 1],
  ],
};
/** Two elements of the second row are equal, one is NaN. */
const ordered = [0.5, 2, 1.25, -1, NaN, 1, 3, 1];
const oneTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
/** i32[T, K] into E: token 1 has no expert in slot 0. */
const chosen = [2, 0, -1, 1];
const routed = 'experts = "E", slot = "K"';

const SAMPLES: Readonly<Record<OpName, Sample>> = {
  "program.input": stored,
  "program.output": { ...written, attrs: 'name = "y"' },
  "model.param": stored,
  "model.state": stored,
  "model.update": written,
  "metric.emit": written,
  "loss.term": { operands: ["f32", "f32"], attrs: 'name = "ce"', data: [[6], [4]] },
  "loss.global": { operands: ["f32"], result: "f32", data: [[4]] },
  "cache.append": {
    operands: ["f32[A, T]"],
    result: "f32[S, A]",
    attrs: 'at = "S", cache = "rows", from = "T"',
    data: [oneTo(4)],
  },
  "cache.latest": { operands: ["f32[S, A]"], result: "f32[A, T]", attrs: 'from = "S", to = "T"', data: [oneTo(6)] },

  "tensor.constant": { operands: [], result: "f32[A, B]", attrs: "value = 2.5", data: [] },
  "tensor.iota": { operands: [], result: "i32[B]", attrs: 'dim = "B"', data: [] },
  "tensor.random": {
    operands: [],
    result: "f32[C]",
    attrs: 'kind = "normal", stream = "trunk.0.noise"',
    data: [],
  },
  "tensor.cast": { operands: ["f32[A, B]"], result: "f64[B, A]", data: [oneTo(6)] },
  "tensor.broadcast": { operands: ["f32[A]"], result: "f32[B, A]", data: [[1.5, -2]] },
  "tensor.rename": {
    operands: ["f32[A, B]"],
    result: "f32[E, K]",
    attrs: 'from = ["A", "B"], to = ["K", "E"]',
    data: [oneTo(6)],
  },
  "tensor.contract": { operands: ["f32[A, B]", "f32[B, C]"], result: "f32[C, A]", data: [oneTo(6), oneTo(12)] },
  "tensor.reduce": { operands: ["f32[A, B]"], result: "f32[B]", attrs: 'kind = "sum"', data: [oneTo(6)] },
  "tensor.slice": {
    operands: ["f32[A, C]"],
    result: "f32[B, A]",
    attrs: 'dim = "C", start = 1, to = "B"',
    data: [oneTo(8)],
  },
  "tensor.pad": {
    operands: ["f32[B, A]"],
    result: "f32[A, C]",
    attrs: 'dim = "B", start = 1, to = "C"',
    data: [oneTo(6)],
  },
  "tensor.concat": {
    operands: ["f32[A, K]", "f32[K, B]"],
    result: "f32[K, A+B]",
    attrs: 'dims = ["A", "B"], to = "A+B"',
    data: [oneTo(4), [5, 6, 7, 8, 9, 10]],
  },
  "tensor.split_dim": {
    operands: ["f32[A*B, K]"],
    result: "f32[B, K, A]",
    attrs: 'dim = "A*B", into = ["A", "B"]',
    data: [oneTo(12)],
  },
  "tensor.merge_dims": {
    operands: ["f32[B, K, A]"],
    result: "f32[A*B, K]",
    attrs: 'dims = ["A", "B"], to = "A*B"',
    data: [oneTo(12)],
  },
  "tensor.gather": {
    operands: ["f32[E, A]", "i32[T, K]"],
    result: "f32[T, A, K]",
    attrs: 'dim = "E"',
    data: [oneTo(6), chosen],
  },
  "tensor.scatter_add": {
    operands: ["f32[T, A]", "i32[T, K]"],
    result: "f32[A, E]",
    attrs: 'dim = "E"',
    data: [oneTo(4), chosen],
  },
  "tensor.top_k": { operands: ["f32[A, C]"], result: "i32[K, A]", attrs: 'dim = "C", to = "K"', data: [ordered] },
  "tensor.rank": { operands: ["f32[A, C]"], result: "i32[A, C]", attrs: 'dim = "C"', data: [ordered] },
  "tensor.cumsum": {
    operands: ["f32[A, B]"],
    result: "f32[B, A]",
    attrs: 'dim = "B", exclusive = true, reverse = true',
    data: [[1, 2, 4, 8, 16, 32]],
  },
  "tensor.stop_gradient": unary(oneTo(6)),

  "math.neg": signed,
  "math.exp": signed,
  "math.log": positive,
  "math.sqrt": positive,
  "math.rsqrt": positive,
  "math.recip": positive,
  "math.sigmoid": signed,
  "math.tanh": signed,
  "math.silu": signed,
  "math.relu": signed,
  "math.gelu": signed,
  "math.softplus": signed,
  "math.abs": signed,
  "math.sign": signed,
  "math.sin": signed,
  "math.cos": signed,
  "math.square": signed,
  "math.normal_cdf": signed,
  "math.floor": signed,
  "math.not": unary([1, 0, 1, 0, 1, 1], "bool"),
  "math.add": binary([2, -1], [0.5, 3, -4]),
  "math.sub": binary([2, -1], [0.5, 3, -4]),
  "math.mul": binary([2, -1], [0.5, 3, -4]),
  "math.div": binary([2, -1], [0.5, 4, -8]),
  "math.pow": binary([4, 0.25], [2, 0.5, -1]),
  "math.max": binary([2, -1], [0.5, 3, -4]),
  "math.min": binary([2, -1], [0.5, 3, -4]),
  "math.lt": compared,
  "math.le": compared,
  "math.gt": compared,
  "math.ge": compared,
  "math.eq": compared,
  "math.ne": compared,
  "math.and": logical,
  "math.or": logical,
  "math.select": {
    operands: ["bool[B]", "f32[A]", "f32"],
    result: "f32[A, B]",
    data: [[1, 0, 1], [1.5, -2], [7]],
  },

  "nn.softmax": rows,
  "nn.logsumexp": { ...rows, result: "f32[A]" },

  "moe.dispatch": {
    operands: ["f32[T, A]", "i32[T, K]"],
    result: "f32[T, K, A]",
    attrs: routed,
    data: [oneTo(4), chosen],
  },
  "moe.contract": {
    operands: ["f32[T, K, A]", "f32[E, A, B]", "i32[T, K]"],
    result: "f32[T, K, B]",
    attrs: routed,
    data: [oneTo(8), oneTo(18), chosen],
  },
  "moe.contract_weight": {
    operands: ["f32[T, K, A]", "f32[T, K, B]", "i32[T, K]"],
    result: "f32[E, A, B]",
    attrs: routed,
    data: [oneTo(8), oneTo(12), chosen],
  },
  "moe.combine": {
    operands: ["f32[T, K, A]", "f32[T, K]", "i32[T, K]"],
    result: "f32[T, A]",
    attrs: routed,
    data: [oneTo(8), [0.5, 2, 3, 0.25], chosen],
  },
  "moe.tiles": {
    operands: ["i32[T, K]"],
    result: "i32[T/2*2+3, A]",
    attrs: 'experts = "E", into = ["T/2*2+3", "A"]',
    data: [chosen],
  },
};
