import { gradientsOf } from "../../compiler/tensor-ir/autodiff/gradients.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { DType, DimLabel, Program, Value } from "../../compiler/tensor-ir/types.ts";

/** What lies between tokens and positions: `out[T, ..heads, W] = weights(sum of scores) @ v`. */
export interface PlaneSpec {
  readonly name: string;
  /** Dims of planes beside T and S. */
  readonly heads: readonly DimLabel[];
  /** The heads that keys and values have, too. */
  readonly shared: readonly DimLabel[];
  /** Dims that the products of the score sum over; one product each. Each term may have keys without heads. */
  readonly scores: readonly { readonly sum: readonly DimLabel[]; readonly shared?: readonly DimLabel[] }[];
  /** Who sees what: earlier positions of the same sequence, as far as a window, an input `mask`, or everything. */
  readonly seen: "causal" | "window" | "given" | "all";
  /**
   * What scores become: a softmax, one of scores inside of (-5, 5), one of those rows whose largest score is above 0, or each its
   * sigmoid, with an offset for each head.
   */
  readonly weights: "softmax" | "capped" | "gated" | "sigmoid";
  /** Of all floats; f32 when not given. */
  readonly dtype?: "f32" | "bf16";
}

export const PLANE_DIMS = { G: 2, M: 3, H: 2, N: 5, R: 4, P: 2, C: 6, W: 20, V: 16 } as const;
export const WINDOW = 600;

/**
 * Inputs `q.i` and `k.i` of each score, `v`, `pos`, `seq`, `key.pos`, `key.seq`, and `mask` or `offset` where they are read;
 * output `out`, and with gradients `d.NAME` of each, for the sum of `out` times the input `up`.
 */
export function planeProgram(spec: PlaneSpec, gradients: boolean): Program {
  const { heads, shared, scores, seen, weights, dtype: float = "f32" } = spec;
  const dims = new Map<DimLabel, number | null>([["T", null], ["S", null], ...Object.entries(PLANE_DIMS)]);
  const builder = new ProgramBuilder(dims);
  const plane = ["T", ...heads, "S"];
  const given: Value[] = [];
  const input = (name: string, labels: readonly DimLabel[], dtype: DType = float): Value => {
    const value = builder.emit("program.input", [], { dtype, dims: labels }, { name }, name.replaceAll(".", "_"));
    if (dtype === float) given.push(value);
    return value;
  };
  const emit = (
    name: string,
    operands: readonly Value[],
    dtype: DType,
    labels: readonly DimLabel[],
    attrs = {},
  ): Value => builder.emit(name, operands, { dtype, dims: labels }, attrs);
  const number = (value: number, dtype: DType = float): Value => emit("tensor.constant", [], dtype, [], { value });

  const terms = scores.map(({ sum, shared: own = shared }, i) => {
    const q = input(`q.${i}`, ["T", ...heads, ...sum]);
    const k = input(`k.${i}`, ["S", ...own, ...sum]);
    return emit("tensor.contract", [q, k], float, plane);
  });
  const total = terms.reduce((a, b) => emit("math.add", [a, b], float, plane));
  const score = emit("math.mul", [total, number(0.4)], float, plane);
  const v = input("v", ["S", ...shared, "W"]);
  const mask = seen === "all" ? undefined : seen === "given" ? input("mask", ["T", "S"], "bool") : causal();

  function causal(): Value {
    const [pos, seq] = [input("pos", ["T"], "i32"), input("seq", ["T"], "i32")];
    const [keyPos, keySeq] = [input("key.pos", ["S"], "i32"), input("key.seq", ["S"], "i32")];
    const earlier = emit("math.le", [keyPos, pos], "bool", ["T", "S"]);
    const same = emit("math.eq", [keySeq, seq], "bool", ["T", "S"]);
    const both = emit("math.and", [earlier, same], "bool", ["T", "S"]);
    if (seen === "causal") return both;
    const first = emit("math.sub", [pos, number(WINDOW, "i32")], "i32", ["T"]);
    return emit("math.and", [both, emit("math.gt", [keyPos, first], "bool", ["T", "S"])], "bool", ["T", "S"]);
  }

  function weighted(): Value {
    const masked = mask === undefined ? [] : [mask];
    if (weights === "softmax") return emit("nn.softmax", [score, ...masked], float, plane, { dim: "S" });
    if (weights === "capped") {
      const small = emit("math.tanh", [emit("math.div", [score, number(5)], float, plane)], float, plane);
      const capped = emit("math.mul", [small, number(5)], float, plane);
      return emit("nn.softmax", [capped, ...masked], float, plane, { dim: "S" });
    }
    if (weights === "gated") {
      const peak = emit("tensor.reduce", [score], float, ["T", ...heads], { kind: "max" });
      const open = emit("math.gt", [peak, number(0)], "bool", ["T", ...heads]);
      const all = emit("nn.softmax", [score, ...masked], float, plane, { dim: "S" });
      return emit("math.select", [open, all, number(0)], float, plane);
    }
    const offset = input("offset", heads);
    const each = emit("math.sigmoid", [emit("math.add", [score, offset], float, plane)], float, plane);
    return mask === undefined ? each : emit("math.select", [mask, each, number(0)], float, plane);
  }

  const out = emit("tensor.contract", [weighted(), v], float, ["T", ...heads, "W"]);
  builder.effect("program.output", [out], { name: "out" });
  if (gradients) {
    const wanted = [...given];
    const up = input("up", ["T", ...heads, "W"]);
    const all = emit("math.mul", [out, up], float, ["T", ...heads, "W"]);
    const found = gradientsOf(builder, emit("tensor.reduce", [all], float, [], { kind: "sum" }), wanted);
    wanted.forEach(({ name }, i) => builder.effect("program.output", [found[i]!], { name: `d.${name}` }));
  }
  return builder.finish(`${spec.name}${gradients ? "-gradients" : ""}`);
}

/** Tokens of some sequences, one after the other, among the positions that they see. */
export interface Packing {
  /** Of each sequence: how many positions, and how many of them, at the end, are tokens. */
  readonly sequences: readonly { readonly positions: number; readonly tokens: number }[];
}

export interface PlaneInputs {
  readonly sizes: { readonly T: number; readonly S: number };
  /** By name, in the order of the dims of the program's inputs. */
  readonly values: Readonly<Record<string, Float32Array | Int32Array | Uint8Array>>;
}

/** A number that only depends on where it is wanted: the same token has the same values in every packing. */
function numberAt(...places: readonly number[]): number {
  let hash = 2_166_136_261;
  for (const place of places) hash = Math.imul(hash ^ place, 16_777_619) ^ (hash >>> 13);
  return ((hash >>> 8) % 4001) / 2000 - 1;
}

/** Inputs of a program of this file; values belong to sequences and positions, wherever these are. */
export function planeInputs(program: Program, { sequences }: Packing): PlaneInputs {
  const keys = sequences.flatMap(({ positions }, seq) => Array.from({ length: positions }, (_, pos) => ({ seq, pos })));
  const tokens = sequences.flatMap(({ positions, tokens: count }, seq) =>
    Array.from({ length: count }, (_, i) => ({ seq, pos: positions - count + i })),
  );
  return inputsOf(program, tokens, keys);
}

interface Place {
  readonly seq: number;
  readonly pos: number;
}

export function inputsOf(program: Program, tokens: readonly Place[], keys: readonly Place[]): PlaneInputs {
  const inputs = program.ops.filter(({ name }) => name === "program.input");
  const values = inputs.map(({ attrs, results: [result] }, number): [string, PlaneInputs["values"][string]] => {
    const name = String(attrs["name"]);
    const { dims, dtype } = result!.type;
    if (dtype === "i32") {
      const places = dims[0] === "T" ? tokens : keys;
      return [name, Int32Array.from(places, (place) => (name.endsWith("pos") ? place.pos : place.seq))];
    }
    if (dtype === "bool") {
      // Some tokens see nothing, some everything, most some.
      const sees = (t: Place, s: Place): number => {
        const kind = numberAt(7, t.seq, t.pos);
        if (kind < -0.8) return 0;
        return kind > 0.8 || numberAt(8, t.seq, t.pos, s.seq, s.pos) > 0.3 ? 1 : 0;
      };
      return [name, Uint8Array.from(tokens.flatMap((t) => keys.map((s) => sees(t, s))))];
    }
    const size = dims.slice(1).reduce((n, label) => n * Number(program.dims.get(label)), 1);
    if (dims[0] !== "T" && dims[0] !== "S") {
      const count = size * Number(program.dims.get(dims[0]!));
      return [name, Float32Array.from({ length: count }, (_, i) => numberAt(number, i))];
    }
    const places = dims[0] === "T" ? tokens : keys;
    const elements = places.flatMap(({ seq, pos }) =>
      Array.from({ length: size }, (_, i) => numberAt(number, seq, pos, i)),
    );
    return [name, Float32Array.from(elements)];
  });
  return { sizes: { T: tokens.length, S: keys.length }, values: Object.fromEntries(values) };
}
