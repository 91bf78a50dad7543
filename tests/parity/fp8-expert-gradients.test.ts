/** Gradients of experts' params in eight bits: tiles of 128 rows of one expert, against codes and sums that are worked out here. */
import { describe, expect, test } from "vitest";
import type { GemmKernel } from "../../compiler/kernel-ir/types.ts";
import { planGemm } from "../../compiler/targets/cuda/hopper/gemm-plan.ts";
import { quantizeProducts } from "../../compiler/elaborate/quantize-products.ts";
import { parseKernels } from "../../compiler/kernel-ir/parse.ts";
import { printKernels } from "../../compiler/kernel-ir/print.ts";
import { verifyKernels } from "../../compiler/kernel-ir/verify.ts";
import { lowerPrograms } from "../../compiler/lower/lower.ts";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import { parseProgram } from "../../compiler/tensor-ir/parse.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { DType, Program } from "../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../compiler/tensor-ir/verify.ts";
import type { Session } from "../../runtime/device/session.ts";
import { bits, drawing, valueOf } from "../support/bf16.ts";
import { lostOnHopper, nearestE4m3, sizeOfSum } from "../support/e4m3.ts";
import { onCpu } from "../support/on-cpu.ts";
import { onCuda } from "../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";

const [E, K, N, D] = [5, 2, 128, 192];
const TILE = 128;
const ATTRS = { experts: "E", slot: "K" };

/**
 * y[T, K, N] = x[T, D] w[chosen, D, N] and dw[E, D, N], the sum of x[T, D] dy[T, K, N] over the rows of each expert, in eight bits, with
 * what the gradient is made of as outputs: the order of rows, codes (as numbers, [tile, channel, place]) and scales.
 */
function program(): Program {
  const builder = new ProgramBuilder(new Map<string, number | null>([["T", null], ...Object.entries({ E, K, N, D })]));
  const input = (name: string, dims: string[], dtype: DType = "f32") =>
    builder.emit("program.input", [], { dtype, dims }, { name });
  const [x, dy, chosen] = [input("x", ["T", "D"]), input("dy", ["T", "K", "N"]), input("chosen", ["T", "K"], "i32")];
  const w = builder.emit("model.param", [], { dtype: "f32", dims: ["E", "D", "N"] }, { name: "w" });
  const rows = builder.emit("moe.dispatch", [x, chosen], { dtype: "f32", dims: ["T", "K", "D"] }, ATTRS);
  const y = builder.emit("moe.contract", [rows, w, chosen], { dtype: "f32", dims: ["T", "K", "N"] }, ATTRS);
  const dw = builder.emit("moe.contract_weight", [rows, dy, chosen], { dtype: "f32", dims: ["E", "D", "N"] }, ATTRS);
  for (const [name, value] of Object.entries({ y, dw })) builder.effect("program.output", [value], { name });
  const quantization = { activations: TILE, weights: [TILE, TILE], quantizes: () => true } as const;
  const eight = quantizeProducts(builder.finish("gradient"), quantization);
  const more = new ProgramBuilder(new Map(eight.dims), 1000);
  for (const op of eight.ops) more.push(op);
  for (const value of eight.ops.flatMap(({ results }) => results)) {
    const [tiles, channel] = value.type.dims;
    if (tiles !== "T/128*2+5" || !["codes", "scale", "rows"].includes(value.name ?? "")) continue;
    const name = value.name === "rows" ? "rows" : `${channel === "N" ? "dy" : "x"}.${value.name}`;
    const plain = value.name === "codes" ? more.emit("tensor.cast", [value], { ...value.type, dtype: "f32" }) : value;
    more.effect("program.output", [plain], { name });
  }
  return more.finish("gradient");
}

const PROGRAM = program();

type Numbers = Readonly<Record<string, ArrayLike<number>>>;

interface Case {
  readonly name: string;
  readonly T: number;
  /** The expert of each row, negative for none. */
  readonly chosen: (row: number) => number;
}

const CASES: readonly Case[] = [
  { name: "no tokens", T: 0, chosen: () => 0 },
  { name: "one token, whose second row has no expert", T: 1, chosen: (row) => (row === 0 ? 3 : -1) },
  { name: "an expert has all rows, in four tiles", T: 200, chosen: () => 2 },
  {
    name: "an expert has none, another one a whole tile",
    T: 97,
    chosen: (row) => (row < TILE ? 4 : [0, 1, -1, 2][row % 4]!),
  },
  { name: "all have some", T: 300, chosen: (row) => ((row * 7 + (row >> 3)) % 11) % 5 },
];

interface Expected {
  readonly inputs: Readonly<Record<"x" | "dy", Float32Array>> & { readonly chosen: Int32Array };
  readonly want: Numbers;
  /** How far each sum may be off; on tensor cores, how far further. */
  readonly allowed: readonly number[];
  readonly onTensorCores: readonly number[];
}

/** Elements of very different sizes, f32; the largest ones of a tile are small now and then. */
function expectedOf({ T, chosen }: Case): Expected {
  let word = T + 1;
  const drawn = (length: number): Float32Array =>
    Float32Array.from({ length }, () => {
      word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
      return (word / 2 ** 31 - 1) * 2 ** ((word >>> 8) % 8);
    });
  const [x, dy] = [drawn(T * D), drawn(T * K * N)];
  const of = Int32Array.from({ length: T * K }, (_, row) => chosen(row));
  const tiles = Math.ceil(T / TILE) * K + E;
  const rows = new Int32Array(tiles * TILE).fill(-1);
  const experts: number[] = [];
  for (let e = 0; e < E; e++) {
    const own = [...of.keys()].filter((row) => of[row] === e);
    for (let first = 0; first < own.length; first += TILE) {
      rows.set(own.slice(first, first + TILE), experts.length * TILE);
      experts.push(e);
    }
  }
  const left = coded(tiles, D, (at, d) => (rows[at]! < 0 ? 0 : x[Math.floor(rows[at]! / K) * D + d]!));
  const right = coded(tiles, N, (at, n) => (rows[at]! < 0 ? 0 : dy[rows[at]! * N + n]!));
  const sums = Array.from({ length: 3 }, () => new Float64Array(E * N * D));
  for (const [tile, e] of experts.entries()) {
    for (let n = 0; n < N; n++) {
      for (let d = 0; d < D; d++) {
        const [a, b] = [(tile * D + d) * TILE, (tile * N + n) * TILE];
        const products = Array.from({ length: TILE }, (_, i) => left.codes[a + i]! * right.codes[b + i]!);
        const scale = left.scale[tile * D + d]! * right.scale[tile * N + n]!;
        const own = [products.reduce((sum, p) => sum + p, 0), sizeOfSum(products) * 2 ** -20, lostOnHopper(products)];
        for (const [i, value] of own.entries()) sums[i]![(e * D + d) * N + n]! += scale * value;
      }
    }
  }
  const [dw, allowed, onTensorCores] = sums.map((each) => Array.from(each)) as [number[], number[], number[]];
  const want = {
    rows,
    "x.codes": left.codes,
    "x.scale": left.scale,
    "dy.codes": right.codes,
    "dy.scale": right.scale,
    dw,
  };
  return { inputs: { x, dy, chosen: of }, want, allowed, onTensorCores };
}

/** Codes, as numbers, and scales of tiles, as f32 has them. */
function coded(
  tiles: number,
  channels: number,
  value: (at: number, channel: number) => number,
): { readonly codes: Float32Array; readonly scale: Float32Array } {
  const [codes, scale] = [new Float32Array(tiles * channels * TILE), new Float32Array(tiles * channels)];
  for (let tile = 0; tile < tiles; tile++) {
    for (let channel = 0; channel < channels; channel++) {
      const own = Array.from({ length: TILE }, (_, i) => value(tile * TILE + i, channel));
      const at = tile * channels + channel;
      scale[at] = Math.max(Math.fround(1e-4), ...own.map(Math.abs)) / 448;
      for (const [i, x] of own.entries()) codes[at * TILE + i] = nearestE4m3(Math.fround(x / scale[at]!));
    }
  }
  return { codes, scale };
}

test("the program and its kernels are sound", () => {
  expect(verifyProgram(PROGRAM)).toEqual([]);
  const module = lowerPrograms([PROGRAM]);
  expect(verifyKernels(module)).toEqual([]);
  expect(printKernels(parseKernels(printKernels(module)))).toBe(printKernels(module));
  // The tensor cores of Hopper take the gradient.
  const gradient = module.kernels.find((kernel) => kernel.family === "gemm" && kernel.groups?.over === "k");
  expect(planGemm(gradient as GemmKernel)).toMatchObject({ shape: { scaleBytes: 4 } });
});

const EXPECTED = new Map(CASES.map((one) => [one, expectedOf(one)] as const));

interface Device {
  /** How far a quotient may be off, in units of its last place: WGSL allows 2.5 (WGSL, section 15.7.4). */
  readonly ulps?: number;
  readonly hasTensorCores?: boolean;
}

function check({ want, allowed, onTensorCores }: Expected, got: Numbers, of: Device = {}): void {
  const { ulps = 0, hasTensorCores = false } = of;
  for (const name of ["rows", "x.scale", "dy.scale", ...(ulps === 0 ? ["x.codes", "dy.codes"] : [])]) {
    const near = name === "rows" ? 0 : ulps * 2 ** -23;
    const wrong = Array.from(want[name]!).filter((x, i) => !(Math.abs(got[name]![i]! - x) <= near * Math.abs(x)));
    expect([name, got[name]!.length, wrong]).toEqual([name, want[name]!.length, []]);
  }
  const off = (i: number): number => allowed[i]! + (hasTensorCores ? onTensorCores[i]! : 0);
  const dw = Array.from(want["dw"]!);
  expect(dw.filter((x, i) => !(Math.abs(got["dw"]![i]! - x) <= off(i)))).toEqual([]);
  expect(got["dw"]!.length).toBe(dw.length);
}

async function checkOn(session: (programs: readonly Program[]) => Promise<Session>, of?: Device): Promise<void> {
  const device = await session([PROGRAM]);
  device.write("w", new Float32Array(E * N * D));
  for (const [{ T }, expected] of EXPECTED) {
    const got = await device.run({ program: "gradient", sizes: { T }, inputs: { ...expected.inputs } });
    check(expected, got as Numbers, of);
  }
  device.close();
}

describe("interpreter", () => {
  test.each(CASES)("$name", (one) => {
    const expected = EXPECTED.get(one)!;
    const { x, dy, chosen } = expected.inputs;
    const values = new Map(
      Object.entries({ x, dy, chosen, w: new Float32Array(E * N * D) }).map(
        ([name, data]) => [name, { data }] as const,
      ),
    );
    const { outputs } = runProgram(PROGRAM, { sizes: { T: one.T }, values });
    check(expected, Object.fromEntries([...outputs].map(([name, { data }]) => [name, data])));
  });
});

/** The gradients of gate and up in bf16, as the products of a model in bf16 have them: one kernel, which rounds its sums. */
const IN_BF16 = quantizeProducts(
  parseProgram(`program @gradients
dims { T = ?, E = ${E}, K = ${K}, N = ${N}, D = ${D} }
{
  %0: bf16[T, D] = program.input {name = "x"}
  %1: i32[T, K] = program.input {name = "chosen"}
  %2: bf16[T, K, N] = program.input {name = "d.gate"}
  %3: bf16[T, K, N] = program.input {name = "d.up"}
  %4: bf16[E, D, N] = model.param {name = "gate"}
  %5: bf16[E, D, N] = model.param {name = "up"}
  %6: bf16[T, K, D] = moe.dispatch %0, %1 {experts = "E", slot = "K"}
  %7: bf16[T, K, N] = moe.contract %6, %4, %1 {experts = "E", slot = "K"}
  %8: bf16[T, K, N] = moe.contract %6, %5, %1 {experts = "E", slot = "K"}
  %9: bf16[E, D, N] = moe.contract_weight %6, %2, %1 {experts = "E", slot = "K"}
  %10: bf16[E, D, N] = moe.contract_weight %6, %3, %1 {experts = "E", slot = "K"}
  program.output %9 {name = "of.gate"}
  program.output %10 {name = "of.up"}
}
`),
  { activations: TILE, weights: [TILE, TILE], quantizes: () => true },
);

/** A last place of bf16: where sums are made in another order, or cut off, they may be rounded the other way. */
const LAST_PLACE = 2 ** -7;

/**
 * WebGPU's quotients may be off (WGSL, section 15.7.4), so one in the middle of two codes may become either of them: two terms of a sum, each
 * at most 1/4 and off by 1/16, of a largest gradient that is above 1.
 */
const OTHER_CODES = 2 / 4 / 16;

/** The largest difference to the interpreter, of the largest gradient, which is above 1. */
async function errorInBf16(session: (programs: readonly Program[]) => Promise<Session>): Promise<number> {
  const T = 150;
  const random = drawing(5);
  const drawn = (length: number): Uint16Array => Uint16Array.from({ length }, () => bits(random()));
  const chosen = Int32Array.from({ length: T * K }, (_, row) => ((row * 3 + (row >> 2)) % 7) - 1).map((e) =>
    e < E ? e : -1,
  );
  const inputs = { x: drawn(T * D), chosen, "d.gate": drawn(T * K * N), "d.up": drawn(T * K * N) };
  const program = runPasses(IN_BF16, { verify: true });
  const values = new Map(
    Object.entries(inputs).map(([name, data]) => [
      name,
      { data: data instanceof Int32Array ? data : Float64Array.from(data, valueOf) },
    ]),
  );
  const { outputs } = runProgram(program, { sizes: { T }, values });
  const device = await session([program]);
  const got = await device.run({ program: "gradients", sizes: { T }, inputs });
  device.close();
  const errors = ["of.gate", "of.up"].map((name) => {
    const want = Array.from(outputs.get(name)!.data);
    const off = want.map((x, i) => Math.abs(valueOf((got[name] as Uint16Array)[i]!) - x));
    const largest = Math.max(...want.map(Math.abs));
    expect(largest).toBeGreaterThan(1);
    return Math.max(...off) / largest;
  });
  return Math.max(...errors);
}

test("gate and up of a model in bf16: one kernel writes both, rounded", () => {
  const { kernels } = lowerPrograms([runPasses(IN_BF16, { verify: true })]);
  const gradients = kernels.filter((kernel) => kernel.family === "gemm");
  expect(gradients.length).toBe(1);
  const written = gradients[0]!.args.filter(({ access }) => access === "write");
  expect(written.map(({ dtype, shape }) => [dtype, shape])).toEqual(written.map(() => ["bf16", [E, D, N]]));
  expect(written.length).toBe(2);
  expect("why" in planGemm(gradients[0] as GemmKernel)).toBe(false);
});

test("gate and up, cpu", async () => expect(await errorInBf16(onCpu)).toBeLessThan(LAST_PLACE), 120_000);

test("cuda: gate and up", async () => expect(await errorInBf16(onCuda)).toBeLessThan(LAST_PLACE), 600_000);

test.skipIf(!HAS_WEBGPU)(
  "gate and up, webgpu",
  async () => expect(await errorInBf16(onWebGpu)).toBeLessThan(LAST_PLACE + OTHER_CODES),
  120_000,
);

test("cpu", async () => checkOn(onCpu), 120_000);

test("cuda", async () => checkOn(onCuda, { hasTensorCores: true }), 600_000);

test.skipIf(!HAS_WEBGPU)("webgpu", async () => checkOn(onWebGpu, { ulps: 2.5 }), 120_000);
