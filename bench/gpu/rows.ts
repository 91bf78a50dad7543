/** What works on rows: norms, activations, softmax, casts and transposes, lookups, weighted sums of experts' results. */
import type { Program } from "../../compiler/tensor-ir/types.ts";
import { backwardOf, bf16Tolerance, type Case, F32_TOLERANCE, programOf, type Tolerance } from "./case.ts";
import { GOALS } from "./goals.ts";

type Dims = Readonly<Record<string, number | "?">>;

/** y = x weight / sqrt(mean(x^2) + 1e-6) (Zhang & Sennrich 2019); with a residual, of x + r, which is a result, too. */
function norm(D: number, residual: boolean): Program {
  const added = `
  %1 r: bf16[T, D] = program.input {name = "r"}
  %2 h: bf16[T, D] = math.add %0, %1
  program.output %2 {name = "h"}`;
  return programOf(
    "score",
    { T: "?", D },
    `
  %0 x: bf16[T, D] = program.input {name = "x"}${residual ? added : ""}
  %3 weight: bf16[D] = program.input {name = "weight"}
  %4: f32[T, D] = tensor.cast ${residual ? "%2" : "%0"}
  %5: f32[T, D] = math.square %4
  %6: f32[T] = tensor.reduce %5 {kind = "sum"}
  %7: f32 = tensor.constant {value = ${D}}
  %8: f32[T] = math.div %6, %7
  %9: f32 = tensor.constant {value = 0.000001}
  %10: f32[T] = math.add %8, %9
  %11: f32[T] = math.rsqrt %10
  %12: f32[T, D] = math.mul %4, %11
  %13: f32[T, D] = math.mul %12, %3
  %14 y: bf16[T, D] = tensor.cast %13
  program.output %14 {name = "y"}`,
  );
}

const SWIGLU = `
  %0 g: bf16[T, D] = program.input {name = "g"}
  %1 u: bf16[T, D] = program.input {name = "u"}
  %2: bf16[T, D] = math.silu %0
  %3 y: bf16[T, D] = math.mul %2, %1
  program.output %3 {name = "y"}`;

const SOFTMAX = `
  %0 x: f32[T, D] = program.input {name = "x"}
  %1 y: f32[T, D] = nn.softmax %0 {dim = "D"}
  program.output %1 {name = "y"}`;

const CAST = `
  %0 x: f32[T, D] = program.input {name = "x"}
  %1 y: bf16[T, D] = tensor.cast %0
  program.output %1 {name = "y"}`;

const TRANSPOSE = `
  %0 x: f32[T, D] = program.input {name = "x"}
  %1: f32[D, T] = tensor.broadcast %0
  %2 y: bf16[D, T] = tensor.cast %1
  program.output %2 {name = "y"}`;

const EMBEDDING = `
  %0 weight: bf16[V, D] = program.input {name = "weight"}
  %1 tokens: i32[T] = program.input {name = "tokens"}
  %2 y: bf16[T, D] = tensor.gather %0, %1 {dim = "V"}
  program.output %2 {name = "y"}`;

const COMBINE = `
  %0 x: bf16[T, K, D] = program.input {name = "x"}
  %1 weight: f32[T, K] = program.input {name = "weight"}
  %2 chosen: i32[T, K] = program.input {name = "chosen"}
  %3: f32[T, D] = moe.combine %0, %1, %2 {experts = "E", slot = "K"}
  %4 y: bf16[T, D] = tensor.cast %3
  program.output %4 {name = "y"}`;

interface Rows {
  readonly name: string;
  readonly dims: Dims;
  readonly program: Program;
  readonly T: number;
  readonly bytes: number;
  readonly goal?: "rows" | "transpose";
  readonly op: string;
  readonly parameters?: Readonly<Record<string, number>>;
  readonly integers?: Case["integers"];
  readonly tolerance?: Tolerance;
}

function rows({ tolerance = bf16Tolerance(), ...one }: Rows): Case {
  const { name, dims, program, T, bytes, goal, op, parameters, integers } = one;
  const sizes = Object.values({ ...dims, T });
  return {
    name: `${name}/${sizes.join("x")}`,
    program,
    sizes: { T },
    flops: 0,
    bytes,
    limit: "memory",
    // Below 128 MB a launch takes a good part of the time.
    ...(goal === undefined || bytes < 128e6 ? {} : { goal: GOALS[goal] }),
    ...(integers === undefined ? {} : { integers }),
    peer: { op, ...parameters },
    tolerance,
  };
}

/** The same numbers on each run, below `most`. */
function drawn(size: number, most: number): Int32Array {
  return Int32Array.from({ length: size }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % most);
}

function normCases(T: number, D: number): Case[] {
  const [base, size] = [{ dims: { T: "?", D }, T, goal: "rows" } as const, T * D];
  const plain = norm(D, false);
  const backward = { op: "norm_backward", tolerance: bf16Tolerance(2) };
  return [
    rows({ ...base, name: "norm", program: plain, bytes: 4 * size, op: "norm" }),
    rows({ ...base, name: "norm-residual", program: norm(D, true), bytes: 8 * size, op: "norm" }),
    rows({ ...base, name: "norm-backward", program: backwardOf(plain), bytes: 6 * size, ...backward }),
  ];
}

function swigluCases(T: number, D: number): Case[] {
  const [base, size] = [{ dims: { T: "?", D }, T, goal: "rows" } as const, T * D];
  const plain = programOf("score", base.dims, SWIGLU);
  const forward = { op: "swiglu", tolerance: bf16Tolerance(2) };
  const backward = { op: "swiglu_backward", tolerance: bf16Tolerance(4) };
  return [
    rows({ ...base, name: "swiglu", program: plain, bytes: 6 * size, ...forward }),
    rows({ ...base, name: "swiglu-backward", program: backwardOf(plain), bytes: 10 * size, ...backward }),
  ];
}

function plainCase(name: string, body: string, T: number, D: number, bytes: number, goal: "rows" | "transpose"): Case {
  const dims = { T: "?", D } as const;
  const tolerance = name === "softmax" ? F32_TOLERANCE : bf16Tolerance();
  return rows({ name, dims, program: programOf("score", dims, body), T, bytes, goal, op: name, tolerance });
}

function embeddingCases(T: number, V: number, D: number): Case[] {
  const integers = { tokens: () => drawn(T, V) };
  const base = { dims: { T: "?", V, D }, T, goal: "rows", integers } as const;
  const plain = programOf("score", base.dims, EMBEDDING);
  // Tokens that occur several times are added up in bf16 by some, in f32 by others.
  const backward = { op: "embedding_backward", parameters: { vocabulary: V }, tolerance: bf16Tolerance(4) };
  return [
    rows({ ...base, name: "embedding", program: plain, bytes: 4 * T * D, op: "embedding" }),
    rows({ ...base, name: "embedding-backward", program: backwardOf(plain), bytes: 2 * (T + V) * D, ...backward }),
  ];
}

function combine(T: number, K: number, D: number, E: number): Case {
  const dims = { T: "?", K, D, E } as const;
  const integers = { chosen: () => drawn(T * K, E) };
  const program = programOf("score", dims, COMBINE);
  const bytes = 2 * T * D * (K + 1) + 8 * T * K;
  return rows({ name: "combine", dims, program, T, bytes, goal: "transpose", op: "combine", integers });
}

export function rowCases(tiny: boolean): Case[] {
  if (tiny)
    return [
      ...normCases(9, 264),
      ...swigluCases(9, 72),
      plainCase("softmax", SOFTMAX, 3, 300, 0, "rows"),
      plainCase("cast", CAST, 9, 72, 0, "rows"),
      plainCase("transpose", TRANSPOSE, 9, 72, 0, "transpose"),
      ...embeddingCases(9, 30, 40),
      combine(9, 3, 40, 5),
    ];
  return [
    ...normCases(8192, 7168),
    ...normCases(34688, 1536).slice(0, 1),
    ...normCases(131072, 512).slice(0, 1),
    ...swigluCases(34688, 2048),
    plainCase("softmax", SOFTMAX, 4096, 4096, 8 * 4096 * 4096, "rows"),
    plainCase("softmax", SOFTMAX, 2048, 129280, 8 * 2048 * 129280, "rows"),
    plainCase("cast", CAST, 8192, 7168, 6 * 8192 * 7168, "rows"),
    plainCase("transpose", TRANSPOSE, 8192, 7168, 6 * 8192 * 7168, "transpose"),
    ...embeddingCases(8192, 129280, 7168).slice(0, 1),
    ...embeddingCases(16384, 102400, 2048).slice(1),
    combine(4096, 8, 7168, 256),
    combine(16384, 6, 2048, 64),
  ];
}
