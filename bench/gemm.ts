/**
 * Generated matrix products against what the machine can do: fused multiply-adds in registers, and reading memory. Both are
 * measured between the products, in the same session: `chrt -f 10 node bench/run.mjs gemm`.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "../compiler/cli/bench/statistics.ts";
import { render } from "../compiler/emit/templates.ts";
import { axis, div, index, load, op } from "../compiler/kernel-ir/expr.ts";
import type { Arg, Axis, GemmKernel } from "../compiler/kernel-ir/types.ts";
import { KERNEL_FLAGS } from "../compiler/package/package.ts";
import { compileLibrary, VARIANT_FLAGS } from "../compiler/targets/cpu/compile.ts";
import { printCpu } from "../compiler/targets/cpu/print.ts";
import { type CpuSession, openCpuSession } from "../runtime/device/cpu/session.ts";
import { newElements } from "../runtime/device/elements.ts";
import {
  elementsOf,
  type Extent,
  type LaunchProgram,
  STORAGE_BYTES,
  type StorageType,
} from "../runtime/program/launch.ts";
import { libraryOf } from "../runtime/program/variants.ts";
import { buffer, writePrograms } from "../tests/support/kernels.ts";
import { variants } from "../tests/support/printed-package.ts";

const ROUNDS = 15;
/** Milliseconds of one measurement, about. */
const SPAN = 30;

/** Independent chains of fused multiply-adds, and loads that nothing waits for. */
const PEAK = `
#include "dsk.h"
#ifdef __AVX512F__
typedef float V __attribute__((vector_size(64)));
#else
typedef float V __attribute__((vector_size(32)));
#endif
#ifdef __x86_64__
#define KEEP(x) __asm__ volatile("" : "+v"(x))
#else
#define KEEP(x) __asm__ volatile("" : "+w"(x))
#endif
static int64_t nothing(const int64_t*) { return 0; }
static int64_t items(void* const*, const int64_t* extents) { return extents[0]; }
static void fma(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char*) {
  // One variable for each: the compiler would keep an array in memory.
  const V a = V{} + 1.0000001f, b = V{} + 1e-7f;
  V s0 = V{} + 0.1f, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, s11 = s0;
#define STEP(x) x = x * a + b; KEEP(x);
  for (int64_t item = begin; item < end; item++)
    for (int64_t i = 0; i < extents[1]; i++) {
      STEP(s0) STEP(s1) STEP(s2) STEP(s3) STEP(s4) STEP(s5) STEP(s6) STEP(s7) STEP(s8) STEP(s9) STEP(s10) STEP(s11)
    }
  const V all = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11;
  ((float*)args[0])[16 * begin] = all[0];
}
static void read(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char*) {
  const int64_t size = extents[1] / extents[0];
  for (int64_t item = begin; item < end; item++)
    for (const float *p = (const float*)args[0] + item * size, *e = p + size; p < e; p += 64)
      for (int j = 0; j < 64; j += sizeof(V) / 4) { V x; __builtin_memcpy(&x, p + j, sizeof x); KEEP(x); }
}
extern const dsk_kernel dsk_peak_fma, dsk_peak_read;
const dsk_kernel dsk_peak_fma = {"peak_fma", 1, 2, items, nothing, fma};
const dsk_kernel dsk_peak_read = {"peak_read", 1, 2, items, nothing, read};
`;

interface Case {
  readonly name: string;
  readonly kernel: GemmKernel;
  /** FLOPs, or bytes of weights where memory is the limit. */
  readonly work: number;
  readonly limit: "fma" | "read";
  readonly T: number;
}

const arg = (name: string, dtype: StorageType, ...shape: Extent[]): Arg => ({ name, dtype, shape, access: "read" });
const at = (...names: string[]): ReturnType<typeof axis>[] => names.map(axis);

/** Terms of the sum with one scale: what `--store` takes. */
const GROUP = { i8: 64, i4: 32 } as const;

/** y[T, N] = x[T, K] w; `turned` weights are [N, K]; codes have a bf16 scale for each group along K. */
function dense(name: string, K: number, N: number, turned: boolean, dtype: StorageType, T: number): Case {
  const w = arg("w", dtype, ...(turned ? [N, K] : [K, N]));
  const element = load("w", turned ? at("N", "K") : at("K", "N"), dtype);
  const group = dtype === "i8" || dtype === "i4" ? GROUP[dtype] : undefined;
  const groups = group === undefined ? 0 : Math.ceil(K / group);
  const own = div(axis("K"), index(group ?? 1), () => undefined);
  const scale = load("scales", turned ? [axis("N"), own] : [own, axis("N")], "bf16");
  const kernel: GemmKernel = {
    family: "gemm",
    name,
    from: [],
    args: [
      arg("x", "f32", "T", K),
      w,
      ...(group === undefined ? [] : [arg("scales", "bf16", ...(turned ? [N, groups] : [groups, N]))]),
      { ...arg("y", "f32", "T", N), access: "write" },
    ],
    extents: ["T"],
    batch: [],
    m: [{ name: "T", extent: "T" }],
    n: [{ name: "N", extent: N }],
    products: [
      {
        name: "product",
        dtype: "f32",
        k: [{ name: "K", extent: K }],
        a: load("x", at("T", "K"), "f32"),
        b: group === undefined ? element : op("mul", [op("cast", [element], "f32"), op("cast", [scale], "f32")], "f32"),
      },
    ],
    epilogue: [{ kind: "assign", axes: [], to: "y", at: at("T", "N"), value: load("product", [], "f32") }],
  };
  const work = T > 8 ? 2 * T * N * K : N * (K * STORAGE_BYTES[dtype] + groups * STORAGE_BYTES.bf16);
  return { name, kernel, work, limit: T > 8 ? "fma" : "read", T };
}

/** Products of experts: `over` m for y[T, S, N], over k for the gradient of w. */
function experts(name: string, over: "m" | "k", turned: boolean, T: number): Case {
  const [E, S, D, F] = [32, 4, 512, 256];
  const axes = (...list: readonly (readonly [string, Extent])[]): Axis[] =>
    list.map(([n, extent]) => ({ name: n, extent }));
  const groups = { over, group: { name: "E", extent: E }, of: load("chosen", at("T", "S"), "i32") } as const;
  const [chosen, x] = [arg("chosen", "i32", "T", S), arg("x", "f32", "T", D)];
  const base = { family: "gemm", name, from: [], extents: ["T"], groups } as const;
  const a = load("x", at("T", "D"), "f32");
  const value = load("product", [], "f32");
  const kernel: GemmKernel =
    over === "m"
      ? {
          ...base,
          args: [
            chosen,
            x,
            arg("w", "f32", E, ...(turned ? [F, D] : [D, F])),
            { ...arg("y", "f32", "T", S, F), access: "write" },
          ],
          batch: [],
          m: axes(["T", "T"], ["S", S]),
          n: axes(["F", F]),
          products: [
            {
              name: "product",
              dtype: "f32",
              k: axes(["D", D]),
              a,
              b: load("w", turned ? at("E", "F", "D") : at("E", "D", "F"), "f32"),
            },
          ],
          epilogue: [{ kind: "assign", axes: [], to: "y", at: at("T", "S", "F"), value }],
        }
      : {
          ...base,
          args: [chosen, x, arg("d", "f32", "T", S, F), { ...arg("y", "f32", E, D, F), access: "write" }],
          batch: axes(["E", E]),
          m: axes(["D", D]),
          n: axes(["F", F]),
          products: [
            { name: "product", dtype: "f32", k: axes(["T", "T"], ["S", S]), a, b: load("d", at("T", "S", "F"), "f32") },
          ],
          epilogue: [{ kind: "assign", axes: [], to: "y", at: at("E", "D", "F"), value }],
        };
  return { name, kernel, work: 2 * T * S * D * F, limit: "fma", T };
}

/** Those whose names have this in them: `node bench/run.mjs gemm row_`. */
const ONLY = process.argv[3] ?? "";

const ALL: readonly Case[] = [
  dense("dense_512x1024x1024", 1024, 1024, false, "f32", 512),
  dense("dense_512x1024x1024_turned", 1024, 1024, true, "f32", 512),
  dense("dense_512x1024x1024_bf16", 1024, 1024, false, "bf16", 512),
  experts("experts_512", "m", false, 512),
  experts("experts_512_turned", "m", true, 512),
  experts("experts_512_gradient", "k", false, 512),
  dense("row_8192x4096", 8192, 4096, false, "f32", 1),
  dense("row_8192x4096_turned", 8192, 4096, true, "f32", 1),
  dense("row_8192x4096_bf16", 8192, 4096, false, "bf16", 1),
  dense("row_8192x4096_bf16_turned", 8192, 4096, true, "bf16", 1),
  dense("row_8192x4096_int8", 8192, 4096, false, "i8", 1),
  dense("row_8192x4096_int8_turned", 8192, 4096, true, "i8", 1),
  dense("row_8192x4096_int4", 8192, 4096, false, "i4", 1),
  dense("row_8192x4096_int4_turned", 8192, 4096, true, "i4", 1),
  dense("rows8_8192x4096", 8192, 4096, false, "f32", 8),
  dense("rows8_8192x4096_turned", 8192, 4096, true, "f32", 8),
  dense("rows8_8192x4096_int8", 8192, 4096, false, "i8", 8),
  dense("rows8_8192x4096_int4", 8192, 4096, false, "i4", 8),
  dense("dense_512x1024x1024_int8", 1024, 1024, false, "i8", 512),
  dense("dense_512x1024x1024_int4", 1024, 1024, false, "i4", 512),
  dense("dense_512x1024x1024_int4_turned", 1024, 1024, true, "i4", 512),
];
const CASES = ALL.filter(({ name }) => name.includes(ONLY));

/** A program of `launches` launches; weights and inputs are params of it. */
function programOf({ name, kernel }: Case, launches: number): LaunchProgram {
  const buffers = kernel.args.map(({ name: own, dtype, shape, access }) => {
    const param = access === "read" && !shape.includes("T");
    return buffer(
      param ? "param" : access === "read" ? "input" : "temp",
      param ? `${name}.${own}` : own,
      dtype,
      ...shape,
    );
  });
  const launch = { kernel: name, args: kernel.args.map((_, i) => i), extents: kernel.extents };
  return { name, dims: ["T"], buffers, launches: Array.from({ length: launches }, () => launch) };
}

const directory = mkdtempSync(join(tmpdir(), "dskc-bench-"));
const [variant] = variants();
const sources = join(directory, "sources");
mkdirSync(sources);
for (const [file, text] of printCpu(CASES.map(({ kernel }) => kernel))) writeFileSync(join(sources, file), text);
writeFileSync(join(sources, "peak.cc"), PEAK);
const names = [...CASES.map(({ name }) => name), "peak_fma", "peak_read"];
writeFileSync(join(sources, "table.cc"), render("cpu/table.cc", { names }));
await compileLibrary({
  directory: sources,
  library: join(directory, libraryOf(variant!)),
  flags: [...VARIANT_FLAGS[variant!], ...KERNEL_FLAGS],
});

/** Floats that peak_read reads. */
const READ = 32 << 20;
const STEPS = 100_000;
const lanes = variant === "x86-64-v4" ? 16 : 8;
const peaks = (threads: number): LaunchProgram[] => [
  {
    name: "fma",
    dims: [],
    buffers: [buffer("temp", "out", "f32", 16 * 64)],
    launches: [{ kernel: "peak_fma", args: [0], extents: [threads * 8, STEPS] }],
  },
  {
    name: "read",
    dims: [],
    buffers: [buffer("param", "memory", "f32", READ)],
    launches: [{ kernel: "peak_read", args: [0], extents: [64, READ] }],
  },
];

async function seconds(
  session: CpuSession,
  program: string,
  { T }: { readonly T: number },
  inputs = {},
): Promise<number> {
  const before = process.hrtime.bigint();
  await session.run({ program, sizes: { T }, inputs });
  return Number(process.hrtime.bigint() - before) / 1e9;
}

function inputsOf({ kernel, T }: Case): Record<string, ReturnType<typeof newElements>> {
  const given = kernel.args.filter(({ access, shape }) => access === "read" && shape.includes("T"));
  return Object.fromEntries(
    given.map(({ name, dtype, shape }) => {
      const elements = newElements(dtype, elementsOf({ shape }, { T }));
      // Experts of which some get twice as many rows as others.
      for (let i = 0; i < elements.length; i++)
        elements[i] = dtype === "i32" ? ((i * i) % 61) % 32 : (i % 13) / 13 - 0.5;
      return [name, elements];
    }),
  );
}

process.stdout.write(`${variant}\n| product | threads | measured | limit | share |\n| --- | --- | --- | --- | --- |\n`);
for (const one of CASES) {
  for (const threads of [1, 2]) {
    const limit = peaks(threads).find(({ name }) => name === one.limit)!;
    const open = (launches: number): CpuSession => {
      writePrograms(directory, programOf(one, launches), limit);
      return openCpuSession(directory, { threads });
    };
    const inputs = inputsOf(one);
    const guess = one.work / (one.limit === "fma" ? 1e11 : 2e10) / threads;
    const launches = Math.max(1, Math.round(SPAN / 1000 / guess));
    const session = open(launches);
    for (const { name } of session.stores) {
      const store = session.read(name);
      for (let i = 0; i < store.length; i++) store[i] = i % 7;
      session.write(name, store);
    }
    const limitWork = one.limit === "fma" ? threads * 8 * STEPS * 12 * 2 * lanes : READ * 4;
    const [rates, limits, shares]: [number[], number[], number[]] = [[], [], []];
    await seconds(session, one.name, one, inputs);
    for (let round = 0; round < ROUNDS; round++) {
      const top = limitWork / (await seconds(session, one.limit, one)) / 1e9;
      const rate = (one.work * launches) / (await seconds(session, one.name, one, inputs)) / 1e9;
      rates.push(rate);
      limits.push(top);
      shares.push(rate / top);
    }
    const unit = one.limit === "fma" ? "GFLOP/s" : "GB/s";
    process.stdout.write(
      `| ${one.name} | ${threads} | ${median(rates).toFixed(1)} ${unit} | ${median(limits).toFixed(1)} ${unit} | ${(median(shares) * 100).toFixed(0)} % |\n`,
    );
    session.close();
  }
}
rmSync(directory, { recursive: true });
