/** Attention of a decode step over latents in a cache, which all heads share (DeepSeek-V2, section 2.1). */
import { bf16Tolerance, type Case, programOf } from "./case.ts";
import { GOALS, type Goal } from "./goals.ts";

interface Shape {
  readonly batch: number;
  readonly heads: number;
  /** Positions of each sequence, the new one among them. */
  readonly context: number;
}

/** Widths of latents and of what carries positions. */
const [C, R] = [512, 64];

const SHAPES: readonly Shape[] = [
  { batch: 128, heads: 128, context: 1024 },
  { batch: 128, heads: 128, context: 4096 },
  { batch: 128, heads: 128, context: 8192 },
  { batch: 128, heads: 16, context: 4096 },
  { batch: 128, heads: 16, context: 8192 },
  // One answer alone: its positions have to be shared out to be fast.
  { batch: 1, heads: 128, context: 32768 },
  { batch: 1, heads: 16, context: 32768 },
];

/** Queries come absorbed, as passes make them of the model (docs/passes.md). */
const BODY = `
  %0 q: bf16[T, H, C] = program.input {name = "q"}
  %1 q_pe: bf16[T, H, R] = program.input {name = "q_pe"}
  %2 new: bf16[T, C] = program.input {name = "new"}
  %3 new_pe: bf16[T, R] = program.input {name = "new_pe"}
  %4 latent: bf16[S, C] = cache.append %2 {at = "S", cache = "latent", from = "T"}
  %5 key_pe: bf16[S, R] = cache.append %3 {at = "S", cache = "key_pe", from = "T"}
  %6 pos: i32[T] = program.input {name = "pos"}
  %7 seq: i32[T] = program.input {name = "seq"}
  %8: i32[S] = program.input {name = "key.pos"}
  %9: i32[S] = program.input {name = "key.seq"}
  %10: bool[T, S] = math.le %8, %6
  %11: bool[T, S] = math.eq %7, %9
  %12: bool[T, S] = math.and %10, %11
  %13: bf16[T, H, S] = tensor.contract %0, %4
  %14: bf16[T, H, S] = tensor.contract %1, %5
  %15: bf16[T, H, S] = math.add %13, %14
  %16: bf16 = tensor.constant {value = ${192 ** -0.5}}
  %17: bf16[T, H, S] = math.mul %15, %16
  %18: bf16[T, H, S] = nn.softmax %17, %12 {dim = "S"}
  %19 out: bf16[T, H, C] = tensor.contract %18, %4
  program.output %19 {name = "out"}`;

function goalOf({ batch, heads, context }: Shape): Goal | undefined {
  if (batch < 128) return undefined;
  if (heads < 128) return GOALS["mla-decode-memory"];
  return context > 1024 ? GOALS["mla-decode"] : GOALS["mla-decode-short"];
}

function decode(shape: Shape): Case {
  const { batch, heads, context } = shape;
  const positions = batch * context;
  const last = context - 1;
  const goal = goalOf(shape);
  return {
    name: `mla-decode/${batch}x${heads}x${context}`,
    program: programOf("decode", { T: "?", S: "?", H: heads, C, R }, BODY),
    sizes: { T: batch, S: positions },
    flops: 2 * positions * heads * (2 * C + R),
    bytes: 2 * (positions * (C + R) + batch * heads * (2 * C + R)),
    // Operations for a byte of the cache: 2 * heads; an H100 has 240 for each that it can read.
    limit: heads >= 128 && batch > 1 ? "bf16" : "memory",
    ...(goal === undefined ? {} : { goal }),
    integers: {
      pos: () => new Int32Array(batch).fill(last),
      seq: () => Int32Array.from({ length: batch }, (_, i) => i),
      // One sequence behind the other, as the runtime lays calls out: a row's columns are neighbors.
      "key.pos": () => Int32Array.from({ length: positions }, (_, i) => i % context),
      "key.seq": () => Int32Array.from({ length: positions }, (_, i) => Math.floor(i / context)),
      "cache.slot": () => Int32Array.from({ length: positions }, (_, i) => i),
      "cache.row": () => Int32Array.from({ length: batch }, (_, i) => i * context + last),
    },
    shared: /span_to/,
    peer: { op: "mla_decode", context },
    tolerance: bf16Tolerance(4),
  };
}

export function latentCases(tiny: boolean): Case[] {
  return (tiny ? [{ batch: 2, heads: 3, context: 40 }] : SHAPES).map(decode);
}
