/** What `npm run bench:gpu` measures: a program of the tensor IR, its numbers, and what a peer computes from the same ones. */
import type { WeightForm } from "../../compiler/lower/stored-weights.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import { gradients } from "../../compiler/tensor-ir/autodiff/gradients.ts";
import { stringAttr } from "../../compiler/tensor-ir/attrs.ts";
import { parseProgram } from "../../compiler/tensor-ir/parse.ts";
import { isFloat, type Program, type Value } from "../../compiler/tensor-ir/types.ts";
import type { Sizes } from "../../runtime/program/launch.ts";
import type { Goal } from "./goals.ts";

/** What bounds a case: the tensor cores, by the type of their operands, or memory. */
export type Limit = "bf16" | "fp8" | "memory";

export interface Case {
  /** Unique: the family, a slash, the shape. */
  readonly name: string;
  /** Inputs and outputs by name. Its own name says how it is lowered: `decode` for few tokens, `score` for many. */
  readonly program: Program;
  /** How params are stored, where not as the program has them. */
  readonly store?: WeightForm;
  readonly sizes: Sizes;
  /** Products of a call, a multiply-add is two; 0 for what has none. */
  readonly flops: number;
  /** What a call has to move, each operand once. */
  readonly bytes: number;
  readonly limit: Limit;
  readonly goal?: Goal;
  /** Of inputs: the deviation of normal numbers, 1 where nothing is said. */
  readonly deviations?: Readonly<Record<string, number>>;
  /** Inputs that are whole numbers. */
  readonly integers?: Readonly<Record<string, () => Int32Array>>;
  /** Kernels whose time is no part of it: what a model computes once for all its layers. */
  readonly shared?: RegExp;
  /** A function of bench/peers/torch_gpu.py, and what it has to know. */
  readonly peer: { readonly op: string; readonly [parameter: string]: string | number | boolean };
  readonly tolerance: Tolerance;
}

/**
 * How far ours and the peer's may lie apart: the root of the mean square of differences, of that of the values, and the largest
 * difference, of the value there plus that root.
 */
export interface Tolerance {
  readonly mean: number;
  readonly worst: number;
}

/** Half of a unit in the last place of bf16, relative: what one rounding may be off. */
const ROUNDING = 2 ** -9;

/**
 * Of results that both round to bf16 as often as `roundings` says, from sums in f32: independent errors of at most ROUNDING each have a
 * root mean square of ROUNDING / sqrt(3), and the largest of millions is below the sum of all of them.
 */
export function bf16Tolerance(roundings = 1): Tolerance {
  return { mean: ROUNDING * Math.sqrt(2 * roundings), worst: 4 * ROUNDING * roundings };
}

/** Of results in f32 of operands in bf16: only the order of sums differs. */
export const F32_TOLERANCE: Tolerance = { mean: 1e-5, worst: 1e-3 };

/** A program from its text, docs/tensor-ir.md. `{` and `}` of the body are added. */
export function programOf(name: string, dims: Readonly<Record<string, number | "?">>, body: string): Program {
  const table = Object.entries(dims).map(([label, size]) => `${label} = ${size}`);
  return parseProgram(`program @${name}\ndims { ${table.join(", ")} }\n{\n${body}\n}`);
}

/**
 * The backward pass of a program whose one output is of floats: an input `d.OUTPUT`, outputs `d.INPUT` of the inputs that are
 * floats. What the forward pass gives stays an output, or is none any more.
 */
export function backwardOf({ name, dims, ops }: Program, which: "alone" | "with forward" = "alone"): Program {
  const builder = new ProgramBuilder(dims, 1 + Math.max(...ops.flatMap(({ results }) => results.map(({ id }) => id))));
  for (const op of ops) if (op.name !== "program.output" || which === "with forward") builder.push(op);
  const output = ops.find((op) => op.name === "program.output")!;
  const made = output.operands[0]!;
  const up = builder.emit("program.input", [], made.type, { name: `d.${stringAttr(output.attrs, "name")}` });
  const wanted = ops.flatMap((op): [string, Value][] => {
    const [value] = op.results;
    if (op.name !== "program.input" || !isFloat(value!.type.dtype)) return [];
    return [[stringAttr(op.attrs, "name"), value!]];
  });
  const found = gradients(
    builder,
    [{ output: made, cotangent: up }],
    wanted.map(([, value]) => value),
  );
  for (const [input, value] of wanted) builder.effect("program.output", [found.get(value.id)!], { name: `d.${input}` });
  return builder.finish(name);
}
