/** Cross entropy of logits that are never in memory as a whole: h weight^T, and its gradients. */
import { gradients } from "../../compiler/tensor-ir/autodiff/gradients.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { bf16Tolerance, type Case, F32_TOLERANCE, programOf } from "./case.ts";
import { GOALS } from "./goals.ts";

interface Shape {
  readonly tokens: number;
  readonly D: number;
  readonly V: number;
}

const SHAPES: readonly Shape[] = [
  { tokens: 4096, D: 4096, V: 128256 },
  { tokens: 8192, D: 2048, V: 102400 },
];

/** logsumexp(logits) - logits[target], as compiler/elaborate/forward.ts makes it. */
function forward(D: number, V: number): Program {
  return programOf(
    "score",
    { T: "?", D, V },
    `
  %0 h: bf16[T, D] = program.input {name = "h"}
  %1 weight: bf16[V, D] = program.input {name = "weight"}
  %2 target: i32[T] = program.input {name = "target"}
  %3: bf16[T, V] = tensor.contract %0, %1
  %4: f32[T, V] = tensor.cast %3
  %5: f32[T] = nn.logsumexp %4 {dim = "V"}
  %6: f32[T] = tensor.gather %4, %2 {dim = "V"}
  %7 surprise: f32[T] = math.sub %5, %6
  program.output %7 {name = "loss"}`,
  );
}

/** Loss and gradients of its sum. */
function withGradients({ name, dims, ops }: Program): Program {
  const builder = new ProgramBuilder(dims, 100);
  for (const op of ops) builder.push(op);
  const loss = ops.find((op) => op.name === "program.output")!.operands[0]!;
  const one = builder.emit("tensor.constant", [], loss.type, { value: 1 });
  const inputs = ops.slice(0, 2).map(({ results }) => results[0]!);
  const found = gradients(builder, [{ output: loss, cotangent: one }], inputs);
  for (const [i, input] of ["h", "weight"].entries())
    builder.effect("program.output", [found.get(inputs[i]!.id)!], { name: `d.${input}` });
  return builder.finish(name);
}

function loss(kind: "loss" | "loss-forward", { tokens, D, V }: Shape): Case {
  const plain = forward(D, V);
  const both = kind === "loss";
  return {
    name: `${kind}/${tokens}x${D}x${V}`,
    program: both ? withGradients(plain) : plain,
    sizes: { T: tokens },
    // The usual count: logits are computed once, however often a kernel does.
    flops: 2 * tokens * D * V * (both ? 3 : 1),
    bytes: 2 * (tokens + V) * D * (both ? 2 : 1),
    limit: "bf16",
    goal: GOALS[kind],
    deviations: { weight: D ** -0.5 },
    integers: {
      target: () => Int32Array.from({ length: tokens }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % V),
    },
    peer: { op: kind.replace("-", "_") },
    // Losses are of logits in bf16; gradients of sums over probabilities that were rounded.
    tolerance: { mean: bf16Tolerance(16).mean, worst: Math.max(bf16Tolerance(16).worst, F32_TOLERANCE.worst) },
  };
}

export function lossCases(tiny: boolean): Case[] {
  // More than a block of rows.
  const shapes = tiny ? [{ tokens: 530, D: 72, V: 264 }] : SHAPES;
  return [...shapes.map((shape) => loss("loss", shape)), ...shapes.map((shape) => loss("loss-forward", shape))];
}
