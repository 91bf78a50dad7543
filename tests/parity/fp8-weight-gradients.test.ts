/** Gradients of params in eight bits: tiles of 128 tokens against DeepGEMM (fixture j2), and numbers of tokens that fill no tile. */
import { expect, test } from "vitest";
import { quantizeProducts } from "../../compiler/elaborate/quantize-products.ts";
import { runProgram } from "../../compiler/reference/run.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { DType, Program } from "../../compiler/tensor-ir/types.ts";
import { verifyProgram } from "../../compiler/tensor-ir/verify.ts";
import type { Session } from "../../runtime/device/session.ts";
import { e4m3Number, lostOnHopper, sizeOfSum } from "../support/e4m3.ts";
import { fixtureTensors } from "../support/fixture.ts";
import { onCpu } from "../support/on-cpu.ts";
import { onCuda } from "../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../support/on-webgpu.ts";

/**
 * y[T, N] = x[T, K] w[N, K] and dw[N, K] = dy[T, N] x[T, K], in eight bits, with the codes (as numbers) and scales of what the gradient
 * is made of as outputs: codes are [T/128, channel, 128].
 */
function program(N: number, K: number): Program {
  const builder = new ProgramBuilder(new Map<string, number | null>([["T", null], ...Object.entries({ N, K })]));
  const input = (name: string, dims: string[], op = "program.input", dtype: DType = "f32") =>
    builder.emit(op, [], { dtype, dims }, { name });
  const [x, dy, w] = [input("x", ["T", "K"]), input("dy", ["T", "N"]), input("w", ["N", "K"], "model.param")];
  const y = builder.emit("tensor.contract", [x, w], { dtype: "f32", dims: ["T", "N"] });
  const dw = builder.emit("tensor.contract", [dy, x], { dtype: "f32", dims: ["N", "K"] });
  builder.effect("program.output", [y], { name: "y" });
  builder.effect("program.output", [dw], { name: "dw" });
  const eight = quantizeProducts(builder.finish("gradient"), {
    activations: 128,
    weights: [128, 128],
    quantizes: () => true,
  });
  const more = new ProgramBuilder(new Map(eight.dims), 1000);
  for (const op of eight.ops) more.push(op);
  for (const value of eight.ops.flatMap(({ results }) => results)) {
    const [tiles, channel] = value.type.dims;
    if ((value.name !== "codes" && value.name !== "scale") || tiles !== "T/128") continue;
    const name = `${channel === "N" ? "dy" : "x"}.${value.name}`;
    const plain = value.name === "codes" ? more.emit("tensor.cast", [value], { ...value.type, dtype: "f32" }) : value;
    more.effect("program.output", [plain], { name });
  }
  return more.finish("gradient");
}

type Numbers = Readonly<Record<string, ArrayLike<number>>>;

interface Case {
  readonly T: number;
  readonly inputs: Readonly<Record<"x" | "dy" | "w", Float32Array>>;
  readonly want: Numbers;
  /** How far each sum may be off; of sums on tensor cores, how far further. */
  readonly allowed: (i: number) => number;
  readonly onTensorCores?: readonly number[];
}

const [FIXTURE, ODD] = [program(64, 48), program(128, 192)];

function fixtureCase(): Case {
  const tensor = fixtureTensors("j2_fp8_gemm", "fp8_gemm.safetensors");
  const of = (name: string): number[] => [...tensor(`wgrad.${name}`).data];
  const T = 256;
  const turned = (codes: readonly number[]): number[] => {
    const channels = codes.length / T;
    return codes.map((_, i) => {
      const [tile, channel, inner] = [Math.floor(i / 128 / channels), Math.floor(i / 128) % channels, i % 128];
      return e4m3Number(codes[(tile * 128 + inner) * channels + channel]!);
    });
  };
  const dw = of("dw");
  return {
    T,
    inputs: { x: Float32Array.from(of("x")), dy: Float32Array.from(of("dy")), w: new Float32Array(64 * 48) },
    want: {
      "x.scale": of("x_scale"),
      "dy.scale": of("dy_scale"),
      "x.codes": turned(of("x_code")),
      "dy.codes": turned(of("dy_code")),
      dw,
    },
    allowed: (i) => 2e-6 + 1e-5 * Math.abs(dw[i]!),
  };
}

/** Elements of very different sizes, by the interpreter. */
function oddCase(T: number): Case {
  let word = T;
  const drawn = (length: number): Float32Array =>
    Float32Array.from({ length }, () => {
      word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
      return (word / 2 ** 31 - 1) * 2 ** ((word >>> 8) % 8);
    });
  const inputs = { x: drawn(T * 192), dy: drawn(T * 128), w: drawn(128 * 192) };
  const values = new Map(Object.entries(inputs).map(([name, data]) => [name, { data }] as const));
  const { outputs } = runProgram(ODD, { sizes: { T }, values });
  const want = Object.fromEntries([...outputs].map(([name, { data }]) => [name, data]));
  const [sizes, lost] = [sumsOfTiles(want, sizeOfSum), sumsOfTiles(want, lostOnHopper)];
  return { T, inputs, want, allowed: (i) => sizes[i]! * 2 ** -20, onTensorCores: lost };
}

/** Of each sum of a gradient: what its tiles give, their products times both scales added up. */
function sumsOfTiles(want: Numbers, ofTile: (products: readonly number[]) => number): number[] {
  const [N, K] = [128, 192];
  const tiles = want["x.scale"]!.length / K;
  return Array.from({ length: N * K }, (_, at) => {
    const [n, k] = [Math.floor(at / K), at % K];
    let sum = 0;
    for (let tile = 0; tile < tiles; tile++) {
      const scale = want["dy.scale"]![tile * N + n]! * want["x.scale"]![tile * K + k]!;
      const product = (i: number): number =>
        want["dy.codes"]![(tile * N + n) * 128 + i]! * want["x.codes"]![(tile * K + k) * 128 + i]!;
      sum += scale * ofTile(Array.from({ length: 128 }, (__, i) => product(i)));
    }
    return sum;
  });
}

interface Device {
  /** How far a quotient may be off, in units of its last place: WGSL allows 2.5 (WGSL, section 15.7.4). */
  readonly ulps?: number;
  readonly hasTensorCores?: boolean;
}

function check(
  { want, allowed, onTensorCores }: Case,
  got: Numbers,
  { ulps = 0, hasTensorCores = false }: Device = {},
): void {
  const off = (i: number): number => allowed(i) + (hasTensorCores ? (onTensorCores?.[i] ?? 0) : 0);
  for (const name of ["x.scale", "dy.scale", ...(ulps === 0 ? ["x.codes", "dy.codes"] : [])]) {
    const wrong = Array.from(want[name]!).filter(
      (x, i) => Math.abs(got[name]![i]! - x) > ulps * 2 ** -23 * Math.abs(x),
    );
    expect([name, got[name]!.length, wrong]).toEqual([name, want[name]!.length, []]);
  }
  const dw = Array.from(want["dw"]!);
  expect(dw.filter((x, i) => !(Math.abs(got["dw"]![i]! - x) <= off(i)))).toEqual([]);
  expect(got["dw"]!.length).toBe(dw.length);
}

async function checkOn(session: (programs: readonly Program[]) => Promise<Session>, of?: Device): Promise<void> {
  const cases = [fixtureCase(), ...[1, 127, 129, 300].map(oddCase)];
  for (const [eight, own] of [
    [FIXTURE, cases.slice(0, 1)],
    [ODD, cases.slice(1)],
  ] as const) {
    const device = await session([eight]);
    for (const one of own) {
      device.write("w", one.inputs.w);
      const { x, dy } = one.inputs;
      const got = await device.run({ program: "gradient", sizes: { T: one.T }, inputs: { x, dy } });
      check(one, got as Numbers, of);
    }
    device.close();
  }
}

test("interpreter", () => {
  expect(verifyProgram(FIXTURE)).toEqual([]);
  const one = fixtureCase();
  const values = new Map(Object.entries(one.inputs).map(([name, data]) => [name, { data }] as const));
  const { outputs } = runProgram(FIXTURE, { sizes: { T: one.T }, values });
  check(one, Object.fromEntries([...outputs].map(([name, { data }]) => [name, data])));
});

test("what is no gradient of a param stays as it is", () => {
  const builder = new ProgramBuilder(
    new Map<string, number | null>([
      ["T", null],
      ["N", 64],
      ["K", 64],
      ["M", 64],
    ]),
  );
  const input = (name: string, dims: string[], op = "program.input") =>
    builder.emit(op, [], { dtype: "f32", dims }, { name });
  const [x, other, w] = [input("x", ["T", "K"]), input("other", ["T", "M"]), input("w", ["N", "K"], "model.param")];
  const y = builder.emit("tensor.contract", [x, w], { dtype: "f32", dims: ["T", "N"] });
  const z = builder.emit("tensor.contract", [other, x], { dtype: "f32", dims: ["M", "K"] });
  for (const [i, value] of [y, z].entries()) builder.effect("program.output", [value], { name: `${i}` });
  const quantization = { activations: 128, weights: [128, 128], quantizes: () => true } as const;
  const eight = quantizeProducts(builder.finish("other"), quantization);
  expect(eight.dims.has("T/128")).toBe(false);
});

test("cpu", async () => checkOn(onCpu), 120_000);

test("cuda", async () => checkOn(onCuda, { hasTensorCores: true }), 600_000);

test.skipIf(!HAS_WEBGPU)("webgpu", async () => checkOn(onWebGpu, { ulps: 2.5 }), 120_000);
