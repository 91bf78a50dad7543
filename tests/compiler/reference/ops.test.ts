import { describe, expect, test } from "vitest";
import { runProgram } from "../../../compiler/reference/run.ts";
import { OP_NAMES, type OpName } from "../../../compiler/tensor-ir/ops/table.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { sampleProgram } from "../../support/sample-ops.ts";

/*
 * What the sample program of every op gives, in the memory order of its result (mostly the transpose of the operand),
 * worked out apart from the interpreter.
 */
const EXPECTED: Readonly<Record<OpName, readonly number[]>> = {
  "program.input": [1.5, -2],
  "program.output": [1.5, -2],
  "model.param": [1.5, -2],
  "model.state": [1.5, -2],
  "model.update": [1.5, -2],
  "metric.emit": [1.5, -2],
  "loss.term": [6, 4],
  "loss.global": [4],
  "cache.append": [9, 8, 1, 3, 2, 4],
  "cache.latest": [3, 5, 4, 6],

  "tensor.constant": [2.5, 2.5, 2.5, 2.5, 2.5, 2.5],
  "tensor.iota": [0, 1, 2],
  "tensor.random": [-0.11456962481857946, 0.6110088116106613, 1.1505964645346267, -1.5593481508030758],
  "tensor.cast": [1, 4, 2, 5, 3, 6],
  "tensor.broadcast": [1.5, -2, 1.5, -2, 1.5, -2],
  "tensor.rename": [1, 4, 2, 5, 3, 6],
  // [[1, 2, 3], [4, 5, 6]] [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
  "tensor.contract": [38, 83, 44, 98, 50, 113, 56, 128],
  "tensor.reduce": [5, 7, 9],
  "tensor.slice": [2, 6, 3, 7, 4, 8],
  "tensor.pad": [0, 1, 3, 5, 0, 2, 4, 6],
  "tensor.concat": [1, 3, 5, 6, 7, 2, 4, 8, 9, 10],
  // Element (a, b, k) is 6 a + 2 b + k + 1.
  "tensor.split_dim": [1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12],
  // Element (b, k, a) is 4 b + 2 k + a + 1.
  "tensor.merge_dims": [1, 3, 5, 7, 9, 11, 2, 4, 6, 8, 10, 12],
  "tensor.gather": [5, 1, 6, 2, 0, 3, 0, 4],
  // Row (1, 2) to 2 and to 0, row (3, 4) to 1.
  "tensor.scatter_add": [1, 3, 1, 2, 4, 2],
  "tensor.top_k": [1, 2, 2, 1],
  "tensor.rank": [2, 0, 1, 3, 3, 1, 0, 2],
  "tensor.cumsum": [6, 48, 4, 32, 0, 0],
  "tensor.stop_gradient": [1, 4, 2, 5, 3, 6],

  // From here on in the order of the operand's elements -1.5, 0.5, -0.5, 1, 0.25, 2 or 0.25, 1.5, 0.5, 2, 1, 4.
  "math.neg": [1.5, -0.5, 0.5, -1, -0.25, -2],
  "math.exp": [
    0.22313016014842982, 1.6487212707001282, 0.6065306597126334, 2.718281828459045, 1.2840254166877414,
    7.38905609893065,
  ],
  "math.log": [-1.3862943611198906, 0.4054651081081644, -0.6931471805599453, 0.6931471805599453, 0, 1.3862943611198906],
  "math.sqrt": [0.5, 1.224744871391589, 0.7071067811865476, 1.4142135623730951, 1, 2],
  "math.rsqrt": [2, 0.816496580927726, 1.4142135623730951, 0.7071067811865476, 1, 0.5],
  "math.recip": [4, 2 / 3, 2, 0.5, 1, 0.25],
  "math.sigmoid": [
    0.18242552380635635, 0.6224593312018546, 0.3775406687981454, 0.7310585786300049, 0.5621765008857981,
    0.8807970779778823,
  ],
  "math.tanh": [
    -0.9051482536448664, 0.46211715726000974, -0.46211715726000974, 0.7615941559557649, 0.24491866240370913,
    0.9640275800758169,
  ],
  "math.silu": [
    -0.2736382857095345, 0.3112296656009273, -0.1887703343990727, 0.7310585786300049, 0.14054412522144952,
    1.7615941559557646,
  ],
  "math.relu": [0, 0.5, 0, 1, 0.25, 2],
  "math.gelu": [
    -0.10021080190328713, 0.34573123063700656, -0.15426876936299344, 0.8413447460685429, 0.14967658142073093,
    1.9544997361036416,
  ],
  "math.softplus": [
    0.20141327798275246, 0.9740769841801067, 0.4740769841801067, 1.3132616875182228, 0.8259394198788436,
    2.1269280110429727,
  ],
  "math.abs": [1.5, 0.5, 0.5, 1, 0.25, 2],
  "math.sign": [-1, 1, -1, 1, 1, 1],
  "math.sin": [
    -0.9974949866040544, 0.479425538604203, -0.479425538604203, 0.8414709848078965, 0.24740395925452294,
    0.9092974268256817,
  ],
  "math.cos": [
    0.0707372016677029, 0.8775825618903728, 0.8775825618903728, 0.5403023058681398, 0.9689124217106447,
    -0.4161468365471424,
  ],
  "math.square": [2.25, 0.25, 0.25, 1, 0.0625, 4],
  "math.normal_cdf": [
    0.06680720126885809, 0.6914624612740131, 0.3085375387259869, 0.8413447460685429, 0.5987063256829237,
    0.9772498680518208,
  ],
  "math.floor": [-2, 0, -1, 1, 0, 2],
  "math.not": [0, 1, 1, 0, 0, 0],
  "math.add": [2.5, -0.5, 5, 2, -2, -5],
  "math.sub": [1.5, -1.5, -1, -4, 6, 3],
  "math.mul": [1, -0.5, 6, -3, -8, 4],
  "math.div": [4, -2, 0.5, -0.25, -0.25, 0.125],
  "math.pow": [16, 0.0625, 2, 0.5, 0.25, 4],
  "math.max": [2, 0.5, 3, 3, 2, -1],
  "math.min": [0.5, -1, 2, -1, -4, -4],
  // 2 and -1 against -1, 1.5, 2.
  "math.lt": [0, 0, 0, 0, 1, 1],
  "math.le": [0, 0, 1, 1, 1, 1],
  "math.gt": [1, 1, 0, 0, 0, 0],
  "math.ge": [1, 1, 1, 1, 0, 0],
  "math.eq": [0, 0, 1, 1, 0, 0],
  "math.ne": [1, 1, 0, 0, 1, 1],
  "math.and": [1, 0, 0, 0, 1, 0],
  "math.or": [1, 0, 1, 1, 1, 1],
  "math.select": [1.5, 7, 1.5, -2, 7, -2],

  "nn.softmax": [0.26894142136999516, 0.04742587317756678, 0, 0, 0.7310585786300049, 0.9525741268224331],
  "nn.logsumexp": [1.8132616875182228, 2.048587351573742],

  "moe.dispatch": [1, 2, 1, 2, 0, 0, 3, 4],
  // Rows (1, 2), (3, 4) and (7, 8) against the weights of experts 2, 0 and 1.
  "moe.contract": [45, 48, 51, 19, 26, 33, 0, 0, 0, 129, 144, 159],
  "moe.contract_weight": [12, 15, 18, 16, 20, 24, 70, 77, 84, 80, 88, 96, 1, 2, 3, 2, 4, 6],
  "moe.combine": [6.5, 9, 1.75, 2],
  // Expert 0 has row 1, expert 1 row 3, expert 2 row 0; two of five tiles are left.
  "moe.tiles": [1, -1, 3, -1, 0, -1, -1, -1, -1, -1],
};

describe("every op", () => {
  test.each(OP_NAMES)("%s verifies and parses back", (name) => {
    const { program } = sampleProgram(name);
    expect(verifyProgram(program)).toEqual([]);
    expect(parseProgram(printProgram(program))).toEqual(program);
  });

  test.each(OP_NAMES)("%s gives what was worked out", (name) => {
    const { program, inputs } = sampleProgram(name);
    const run = runProgram(program, inputs, { precision: "f64" });
    const losses = run.losses.get("ce")?.flatMap(({ numerator, denominator }) => [numerator, denominator]);
    const tensor = run.outputs.get("y") ?? run.updates.get("w") ?? run.metrics.get("w")?.[0];
    const found = losses ?? [...tensor!.data];
    expect(found).toHaveLength(EXPECTED[name].length);
    for (const [i, value] of EXPECTED[name].entries()) expect(found[i]).toBeCloseTo(value, 14);
  });
});
