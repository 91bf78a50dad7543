import { rmSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Arg, GemmKernel } from "../../../../compiler/kernel-ir/types.ts";
import { printGenericGemm } from "../../../../compiler/targets/cpu/gemm-generic.ts";
import { type CpuSession, openCpuSession } from "../../../../runtime/device/cpu/session.ts";
import { newElements } from "../../../../runtime/device/elements.ts";
import type { Elements } from "../../../../runtime/device/session.ts";
import { decode } from "../../../../runtime/io/safetensors/numbers.ts";
import { encode } from "../../../../runtime/io/safetensors/encode.ts";
import { elementsOf, type Sizes } from "../../../../runtime/program/launch.ts";
import { evaluateGemm } from "../../../support/evaluate-gemm.ts";
import { printedPackage, variants } from "../../../support/printed-package.ts";
import { GROUPS, KERNELS } from "./gemm-kernels.ts";

const GENERIC = KERNELS.map((kernel): GemmKernel => ({ ...kernel, name: `${kernel.name}_generic` }));
const ALL = new Map(KERNELS.map((kernel) => [kernel.name, kernel]));

let directory: string;
const sessions = new Map<string, CpuSession>();

beforeAll(async () => {
  const texts = new Map(GENERIC.map((kernel) => [`${kernel.name}.cc`, printGenericGemm(kernel)]));
  directory = await printedPackage([...KERNELS, ...GENERIC], variants(), texts);
  const [best] = variants();
  for (const threads of [1, 3]) sessions.set(`${threads} threads`, openCpuSession(directory, { threads }));
  for (const variant of variants())
    if (variant !== best) sessions.set(variant, openCpuSession(directory, { threads: 2, variant }));
}, 600_000);
afterAll(() => {
  for (const session of sessions.values()) session.close();
  rmSync(directory, { recursive: true });
});

/** Numbers by a seed, the same on each run. */
class Numbers {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** 0 to `limit` - 1. */
  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }
}

const sizeIn = (arg: Arg, sizes: Sizes): number => elementsOf(arg, sizes);
const DTYPES = { f32: "F32", bf16: "BF16", f16: "F16" } as const;

const numbersOf = (dtype: Arg["dtype"], elements: Elements): ArrayLike<number> => {
  if (dtype === "i32" || dtype === "i8") return elements;
  if (dtype !== "i4") return decode(bytes(elements), DTYPES[dtype as "f32"]);
  return Int8Array.from(
    { length: 2 * elements.length },
    (_, i) => (elements[i >> 1]! << (i % 2 === 0 ? 28 : 24)) >> 28,
  );
};
const bytes = (elements: Elements): Uint8Array =>
  new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
/** The first element whose bits differ; -1 when there is none. */
const difference = (a: Elements, b: Elements): number => {
  const [x, y] = [bytes(a), bytes(b)];
  const at = x.findIndex((byte, i) => byte !== y[i]);
  return at < 0 ? (x.length === y.length ? -1 : Math.min(x.length, y.length)) : Math.floor(at / a.BYTES_PER_ELEMENT);
};
const fromNumbers = (dtype: Arg["dtype"], values: Float32Array): Elements => {
  const elements = newElements(dtype, values.length);
  bytes(elements).set(encode(values, DTYPES[dtype as "f32"]));
  return elements;
};

/** Elements of the arguments: indices are legal ones, groups now and then -1, floats what `value` draws. */
function inputsOf(kernel: GemmKernel, sizes: Sizes, numbers: Numbers, value: () => number): Record<string, Elements> {
  const read = kernel.args.filter(({ access }) => access === "read");
  return Object.fromEntries(
    read.map((arg) => {
      const count = sizeIn(arg, sizes);
      if (arg.dtype === "i32") {
        const draw = arg.name === "chosen" ? (): number => skewed(numbers) : (): number => numbers.below(5);
        return [arg.name, Int32Array.from({ length: count }, draw)];
      }
      if (arg.dtype === "i8" || arg.dtype === "i4") {
        const codes = newElements(arg.dtype, count);
        return [arg.name, codes.map(() => numbers.below(256))];
      }
      return [arg.name, fromNumbers(arg.dtype, Float32Array.from({ length: count }, value))];
    }),
  );
}

/** Group 0 has most, group 3 has none. */
function skewed(numbers: Numbers): number {
  return numbers.below(8) === 0 ? -1 : [0, 0, 0, 0, 1, 2][numbers.below(6)]!;
}

async function run(session: string, name: string, sizes: Sizes, inputs: Record<string, Elements>): Promise<Elements> {
  const { out } = await sessions.get(session)!.run({ program: name, sizes, inputs });
  return out!;
}

/** Whole numbers, whose sums are exact in any order; results in f32. */
async function checkMeaning(
  session: string,
  kernel: GemmKernel,
  sizes: Sizes,
  seed: number,
  name: string,
): Promise<void> {
  const numbers = new Numbers(seed);
  const inputs = inputsOf(kernel, sizes, numbers, () => numbers.below(9) - 4);
  const out = kernel.args.at(-1)!;
  const wanted = new Float32Array(sizeIn(out, sizes));
  const given = Object.fromEntries(
    kernel.args.slice(0, -1).map((arg) => [arg.name, numbersOf(arg.dtype, inputs[arg.name]!)]),
  );
  evaluateGemm(kernel, { sizes, values: { ...given, out: wanted } });
  const got = numbersOf(out.dtype, await run(session, name, sizes, inputs));
  const expected = numbersOf(out.dtype, fromNumbers(out.dtype, wanted));
  const tolerance = kernel.name === "gated" ? 1e-6 : 0;
  for (let i = 0; i < expected.length; i++) {
    if (Math.abs(got[i]! - expected[i]!) <= tolerance * Math.max(1, Math.abs(expected[i]!))) continue;
    expect.fail(`${session}, ${name} ${JSON.stringify(sizes)}: element ${i} is ${got[i]}, not ${expected[i]}`);
  }
}

/** Sizes at which tiles, vectors and blocks end, and any others. */
const SIZE = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 31, 32, 33),
  fc.integer({ min: 0, max: 50 }),
);
const SIZES = fc.record({ M: SIZE, N: SIZE, K: SIZE, T: fc.integer({ min: 0, max: 20 }) });
/** More than a block in each direction; long rows for few, whose terms end anywhere in a group. */
const LARGE: readonly Sizes[] = [
  { M: 270, N: 30, K: 20, T: 150 },
  { M: 15, N: 600, K: 20, T: 9 },
  { M: 15, N: 40, K: 600, T: 9 },
  { M: 3, N: 37, K: 1100, T: 1 },
  { M: 1, N: 140, K: 130, T: 2 },
];

const bound = (kernel: GemmKernel, sizes: Sizes): Sizes => {
  // A slice has to lie inside of its tensor.
  const N = kernel.name === "sliced" ? Math.min(sizes["N"]!, 97) : sizes["N"]!;
  const groups = GROUPS[kernel.name];
  const G = groups === undefined ? 0 : Math.ceil(sizes[groups.along]! / groups.group);
  const all: Sizes = { ...sizes, N, G };
  return Object.fromEntries(kernel.extents.map((extent) => [extent, all[extent]!]));
};

describe.each(KERNELS)("$name", (kernel) => {
  test("is the sum of products of its operands", async () => {
    const check = async (sizes: Sizes, seed: number, session: string, name: string): Promise<void> =>
      checkMeaning(session, kernel, bound(kernel, sizes), seed, name);
    for (const session of sessions.keys()) for (const sizes of LARGE) await check(sizes, 1, session, kernel.name);
    await fc.assert(
      fc.asyncProperty(SIZES, fc.nat(), fc.constantFrom(...sessions.keys()), async (sizes, seed, session) => {
        await check(sizes, seed, session, kernel.name);
      }),
      { numRuns: 20 },
    );
  });

  test("term by term as well", async () => {
    for (const sizes of [
      { M: 30, N: 20, K: 10, T: 30 },
      { M: 1, N: 1, K: 1, T: 1 },
      { M: 0, N: 4, K: 0, T: 0 },
    ])
      await checkMeaning("3 threads", kernel, bound(kernel, sizes), 1, `${kernel.name}_generic`);
  });

  test("has the same bits with any number of threads and any vectors with fused multiply-add", async () => {
    const numbers = new Numbers(2);
    for (const sizes of LARGE) {
      const all = bound(kernel, sizes);
      const inputs = inputsOf(kernel, all, numbers, () => numbers.below(2 ** 24) / 2 ** 23 - 1);
      const first = await run("1 threads", kernel.name, all, inputs);
      for (const session of [...sessions.keys()].filter((name) => name !== "x86-64-v2" && name !== "1 threads")) {
        const other = await run(session, kernel.name, all, inputs);
        expect({ session, difference: difference(other, first) }).toEqual({ session, difference: -1 });
      }
    }
  });
});

/** Kernels whose rows can be had alone, and the dim of these rows. */
const ROWS = [
  "mk_kn",
  "mk_nk",
  "bf16_kn",
  "bf16_nk",
  "f16_kn",
  "f16_nk",
  "batched",
  "gated",
  "computed",
  "experts",
  "experts_turned",
  ...Object.keys(GROUPS),
];

test.each(ROWS)("%s: a row has the same bits alone, among few and among many", async (name) => {
  const kernel = ALL.get(name)!;
  const dim = kernel.extents.includes("T") ? "T" : "M";
  await fc.assert(
    fc.asyncProperty(SIZES, fc.nat(), fc.integer({ min: 1, max: 6 }), async (drawn, seed, part) => {
      const sizes = bound(kernel, { ...drawn, [dim]: Math.max(drawn[dim]!, 1) });
      const numbers = new Numbers(seed);
      const inputs = inputsOf(kernel, sizes, numbers, () => numbers.below(2 ** 24) / 2 ** 23 - 1);
      const whole = await run("3 threads", name, sizes, inputs);
      const rows = sizes[dim]!;
      const from = numbers.below(rows);
      const few = Math.min(part, rows - from);
      const cut = (elements: Elements): Elements => {
        const per = elements.length / rows;
        return elements.slice(from * per, (from + few) * per);
      };
      const some = Object.fromEntries(
        kernel.args
          .filter(({ access }) => access === "read")
          .map((arg) => [arg.name, arg.shape[0] === dim ? cut(inputs[arg.name]!) : inputs[arg.name]!]),
      );
      const got = await run("1 threads", name, { ...sizes, [dim]: few }, some);
      expect(difference(got, cut(whole))).toBe(-1);
    }),
    { numRuns: 30 },
  );
});
