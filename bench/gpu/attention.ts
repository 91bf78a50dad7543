/** Attention of whole sequences, each token on those before it: forward and backward. */
import type { Op, Program } from "../../compiler/tensor-ir/types.ts";
import { backwardOf, bf16Tolerance, type Case, programOf } from "./case.ts";
import { GOALS } from "./goals.ts";

interface Shape {
  readonly sequences: number;
  readonly length: number;
  readonly heads: number;
  /** Width of queries and keys, and of values. */
  readonly D: number;
  readonly V: number;
}

/** Multi-head latent attention as it trains (192 / 128), and the usual 128 / 128. */
const SHAPES: readonly Shape[] = [
  { sequences: 1, length: 4096, heads: 128, D: 192, V: 128 },
  { sequences: 1, length: 8192, heads: 128, D: 192, V: 128 },
  { sequences: 2, length: 4096, heads: 64, D: 128, V: 128 },
  { sequences: 16, length: 1024, heads: 16, D: 192, V: 128 },
];

/** Queries, keys and values beside each other as projections make them; who sees whom follows from positions and sequences. */
function body(D: number): string {
  return `
  %0 q: bf16[T, H, D] = program.input {name = "q"}
  %1 k: bf16[S, H, D] = program.input {name = "k"}
  %2 v: bf16[S, H, V] = program.input {name = "v"}
  %3 pos: i32[T] = program.input {name = "pos"}
  %4 seq: i32[T] = program.input {name = "seq"}
  %5: i32[S] = program.input {name = "key.pos"}
  %6: i32[S] = program.input {name = "key.seq"}
  %7: bool[T, S] = math.le %5, %3
  %8: bool[T, S] = math.eq %4, %6
  %9: bool[T, S] = math.and %7, %8
  %10: bf16[T, H, S] = tensor.contract %0, %1
  %11: bf16 = tensor.constant {value = ${D ** -0.5}}
  %12: bf16[T, H, S] = math.mul %10, %11
  %13: bf16[T, H, S] = nn.softmax %12, %9 {dim = "S"}
  %14 out: bf16[T, H, V] = tensor.contract %13, %2
  program.output %14 {name = "out"}`;
}

/**
 * The program with products of inputs first, as passes leave it of a training step, where the forward pass is over and is computed again.
 */
function productsFirst({ name, dims, ops }: Program): Program {
  const inputs = new Set(ops.flatMap((op) => (op.name === "program.input" ? op.results.map(({ id }) => id) : [])));
  const rank = ({ name: op, operands }: Op): number =>
    op === "program.input" ? 0 : op === "tensor.contract" && operands.every(({ id }) => inputs.has(id)) ? 1 : 2;
  return { name, dims, ops: ops.toSorted((a, b) => rank(a) - rank(b)) };
}

function attention(kind: "attention" | "attention-backward", shape: Shape): Case {
  const { sequences, length, heads, D, V } = shape;
  const tokens = sequences * length;
  const program = programOf("score", { T: "?", S: "?", H: heads, D, V }, body(D));
  const positions = (): Int32Array => Int32Array.from({ length: tokens }, (_, i) => i % length);
  const owners = (): Int32Array => Int32Array.from({ length: tokens }, (_, i) => Math.floor(i / length));
  const forward = kind === "attention";
  // Half of all pairs count, as everybody counts them.
  const pairs = (sequences * length * length * heads) / 2;
  return {
    name: `${kind}/${sequences}x${length}x${heads}x${D}-${V}`,
    program: forward ? program : productsFirst(backwardOf(program)),
    sizes: { T: tokens, S: tokens },
    flops: 2 * pairs * (forward ? D + V : 3 * D + 2 * V),
    bytes: 2 * tokens * heads * (2 * D + 2 * V) * (forward ? 1 : 2),
    limit: "bf16",
    goal: GOALS[kind],
    integers: { pos: positions, seq: owners, "key.pos": positions, "key.seq": owners },
    // Where a row's columns begin and end: once for all layers.
    shared: /span_to/,
    peer: { op: kind.replace("-", "_"), sequences, length },
    // Scores are rounded, and weights before they multiply values: relative errors of a score of 3 are 3 roundings of its exponential.
    tolerance: forward ? bf16Tolerance(4) : bf16Tolerance(16),
  };
}

export function attentionCases(tiny: boolean): Case[] {
  const shapes = tiny ? [{ sequences: 2, length: 40, heads: 2, D: 192, V: 128 }] : SHAPES;
  return [
    ...shapes.map((shape) => attention("attention", shape)),
    ...shapes.map((shape) => attention("attention-backward", shape)),
  ];
}
