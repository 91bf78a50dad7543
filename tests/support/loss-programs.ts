import { differentiate, type WeightedLoss } from "../../compiler/tensor-ir/autodiff/differentiate.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { Attrs, DType, DimLabel, Program, Value } from "../../compiler/tensor-ir/types.ts";

/** Cross entropy of products with one matrix [V, D], which the heads of a program share. */
export interface LossSpec {
  readonly name: string;
  readonly heads: number;
  /** The matrix makes the hidden states as well. */
  readonly tied?: boolean;
  /** What is added to logits. */
  readonly bias?: boolean;
  /** Logits stay within this: cap * tanh(logits / cap). */
  readonly cap?: number;
  /** The weight of the squared logarithm of the sum of exponentials. */
  readonly z?: number;
  /** The dtype of hidden states, matrix and logits; f32 without this. */
  readonly dtype?: DType;
}

export const LOSS_DIMS = { V: 70, D: 12 } as const;

/**
 * Inputs `x.i` and `target.i` of each head, `weight`, `tokens` and `bias` where they are read, and `denominator`, what losses are
 * divided by. Outputs `loss`, `surprise.i` of each token, and with gradients `d.NAME` of the float inputs.
 */
export function lossProgram(spec: LossSpec, { gradients = true, logits: kept = false } = {}): Program {
  const { heads, dtype = "f32" } = spec;
  const builder = new ProgramBuilder(new Map<DimLabel, number | null>([["T", null], ...Object.entries(LOSS_DIMS)]));
  const wanted: Value[] = [];
  const input = (name: string, type: DType, dims: readonly DimLabel[]): Value => {
    const value = builder.emit("program.input", [], { dtype: type, dims }, { name }, name.replaceAll(".", "_"));
    if (type === "f32" && dims.length > 0) wanted.push(value);
    return value;
  };
  const emit = (
    name: string,
    operands: readonly Value[],
    type: DType,
    dims: readonly DimLabel[],
    attrs: Attrs = {},
  ): Value => builder.emit(name, operands, { dtype: type, dims }, attrs);
  const constant = (value: number, type: DType = "f32"): Value => emit("tensor.constant", [], type, [], { value });
  const as = (x: Value, type: DType): Value =>
    x.type.dtype === type ? x : emit("tensor.cast", [x], type, x.type.dims);

  const weight = as(input("weight", "f32", ["V", "D"]), dtype);
  const bias = spec.bias === true ? input("bias", "f32", ["V"]) : undefined;
  const denominator = input("denominator", "f32", []);
  const losses: WeightedLoss[] = [];
  for (let i = 0; i < heads; i++) {
    const x = as(input(`x.${i}`, "f32", ["T", "D"]), dtype);
    const target = input(`target.${i}`, "i32", ["T"]);
    const embedded =
      spec.tied === true
        ? emit(
            "math.add",
            [x, emit("tensor.gather", [weight, input(`tokens.${i}`, "i32", ["T"])], dtype, ["T", "D"], { dim: "V" })],
            dtype,
            ["T", "D"],
          )
        : x;
    const hidden = emit("math.tanh", [embedded], dtype, ["T", "D"]);
    let logits = as(emit("tensor.contract", [hidden, weight], dtype, ["T", "V"]), "f32");
    if (bias !== undefined) logits = emit("math.add", [logits, bias], "f32", ["T", "V"]);
    if (spec.cap !== undefined) {
      const small = emit("math.tanh", [emit("math.div", [logits, constant(spec.cap)], "f32", ["T", "V"])], "f32", [
        "T",
        "V",
      ]);
      logits = emit("math.mul", [small, constant(spec.cap)], "f32", ["T", "V"]);
    }
    if (kept) builder.effect("program.output", [logits], { name: `logits.${i}` });
    const total = emit("nn.logsumexp", [logits], "f32", ["T"], { dim: "V" });
    const picked = emit("tensor.gather", [logits, target], "f32", ["T"], { dim: "V" });
    const valid = emit("math.ge", [target, constant(0, "i32")], "bool", ["T"]);
    const counted = (term: Value): Value => emit("math.select", [valid, term, constant(0)], "f32", ["T"]);
    const surprise = counted(emit("math.sub", [total, picked], "f32", ["T"]));
    builder.effect("program.output", [surprise], { name: `surprise.${i}` });
    const add = (term: Value, by: number): void => {
      const numerator = emit("tensor.reduce", [term], "f32", [], { kind: "sum" });
      losses.push({ numerator, denominator, weight: constant(by) });
    };
    add(surprise, i === 0 ? 1 : 0.3);
    if (spec.z !== undefined) add(counted(emit("math.square", [total], "f32", ["T"])), spec.z);
  }
  const shares = losses.map(({ numerator, weight: by }) => emit("math.mul", [numerator, by], "f32", []));
  const sum = shares.reduce((a, b) => emit("math.add", [a, b], "f32", []));
  builder.effect("program.output", [emit("math.div", [sum, denominator], "f32", [])], { name: "loss" });
  if (gradients) {
    const found = differentiate(builder, losses, wanted);
    wanted.forEach(({ name }, i) => builder.effect("program.output", [found[i]!], { name: `d.${name}` }));
  }
  return builder.finish(spec.name);
}

/** Tokens `from` to `to` of a text without end: the same token has the same values in every call. */
export function lossInputs(
  program: Program,
  from: number,
  to: number,
): Readonly<Record<string, Float32Array | Int32Array>> {
  const numberAt = (...places: readonly number[]): number => {
    let hash = 2_166_136_261;
    for (const place of places) hash = Math.imul(hash ^ place, 16_777_619) ^ (hash >>> 13);
    return ((hash >>> 8) % 4001) / 2000 - 1;
  };
  const inputs = program.ops.filter(({ name }) => name === "program.input");
  return Object.fromEntries(
    inputs.map(({ attrs, results: [result] }, number) => {
      const { dims, dtype } = result!.type;
      const rows = dims[0] === "T" ? [from, to] : [0, Number(program.dims.get(dims[0]!) ?? 1)];
      const each = <X>(width: number, value: (row: number, i: number) => X): X[] =>
        Array.from({ length: rows[1]! - rows[0]! }, (_, row) => row + rows[0]!).flatMap((row) =>
          Array.from({ length: width }, (_, i) => value(row, i)),
        );
      if (dims.length === 0) return [String(attrs["name"]), Float32Array.of(500)];
      const index = (row: number): number => Math.floor((numberAt(number, row) + 1) * 0.4999 * LOSS_DIMS.V);
      // Some tokens have no target.
      const isTarget = String(attrs["name"]).startsWith("target");
      if (dtype === "i32")
        return [
          String(attrs["name"]),
          Int32Array.from(each(1, (row) => (isTarget && row % 7 === 3 ? -1 : index(row)))),
        ];
      const width = dims.length === 1 ? 1 : LOSS_DIMS.D;
      return [String(attrs["name"]), Float32Array.from(each(width, (row, i) => 2 * numberAt(number, row, i)))];
    }),
  );
}
