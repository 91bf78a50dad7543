/**
 * The kernels between tokens and positions, alone: `node bench/run.mjs attention [CASE ...]`. Each case lowers a model of one
 * layer, takes its plane kernels out and runs them on random numbers, on one thread or on so many as THREADS says. Rounds go
 * through all cases and a loop of nothing but fused multiply-adds on one thread, in turn; times of one thread are processor time of
 * this process, so that others on the machine count as little as they can. Prints medians.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { median } from "../compiler/cli/bench/statistics.ts";
import { Diagnostics } from "../compiler/diagnostics/diagnostic.ts";
import { scoreProgram } from "../compiler/elaborate/score.ts";
import { serveProgram } from "../compiler/elaborate/serve.ts";
import type { Arg, Axis, PlaneKernel } from "../compiler/kernel-ir/types.ts";
import { KERNEL_FLAGS, lowered } from "../compiler/package/package.ts";
import { compileLibrary, VARIANT_FLAGS } from "../compiler/targets/cpu/compile.ts";
import { printCpu } from "../compiler/targets/cpu/print.ts";
import { checkFile } from "../dsl/semantics/check.ts";
import { type CpuSession, openCpuSession } from "../runtime/device/cpu/session.ts";
import { addon } from "../runtime/native/addon.ts";
import type { Extent, LaunchProgram } from "../runtime/program/launch.ts";
import { type CpuVariant, libraryOf, variantsFor } from "../runtime/program/variants.ts";
import { buffer, type HandKernel, librarySource, writePrograms } from "../tests/support/kernels.ts";

const ROUNDS = 9;
/** Processor time of a measurement, at least, in milliseconds. */
const LEAST = 60;

/** Kernels of another instruction set than the best: VARIANT=x86-64-v3. */
const VARIANT = (process.env["VARIANT"] ?? variantsFor(addon().isa() as CpuVariant)[0]) as CpuVariant;

const THREADS = Number(process.env["THREADS"] ?? 1);

const MLA = "Mla[D, H](Q: 96, C: 64, N: 32, R: R, Vh: 32, rope: Rope[R])";
/** As in DeepSeek-V2-Lite. */
const MLA_16 = "Mla[D, H2](C: 512, N: 128, R: R2, Vh: 128, rope: Rope[R2])";
const GQA = "Gqa[D, 2, 4, 64]";

interface Case {
  readonly title: string;
  readonly mixer: string;
  /** `train`: forward and backward over whole sequences. `decode`: one new token for each. */
  readonly kind: "train" | "decode";
  readonly sequences: number;
  readonly length: number;
}

const CASES: readonly Case[] = [
  { title: "mla-16x256", mixer: MLA, kind: "train", sequences: 16, length: 256 },
  { title: "mla-1x4096", mixer: MLA, kind: "train", sequences: 1, length: 4096 },
  { title: "gqa-1x4096", mixer: GQA, kind: "train", sequences: 1, length: 4096 },
  { title: "mla-decode-1x1024", mixer: MLA, kind: "decode", sequences: 1, length: 1024 },
  { title: "mla-decode-32x1024", mixer: MLA, kind: "decode", sequences: 32, length: 1024 },
  { title: "mla16-decode-1x8192", mixer: MLA_16, kind: "decode", sequences: 1, length: 8192 },
  { title: "mla16-decode-1x32768", mixer: MLA_16, kind: "decode", sequences: 1, length: 32_768 },
  { title: "gqa-decode-1x1024", mixer: GQA, kind: "decode", sequences: 1, length: 1024 },
  { title: "gqa-decode-32x1024", mixer: GQA, kind: "decode", sequences: 32, length: 1024 },
  { title: "gqa-decode-1x32768", mixer: GQA, kind: "decode", sequences: 1, length: 32_768 },
];

/** A program that launches one kernel, and what it computes. */
interface Measured {
  readonly title: string;
  readonly session: CpuSession;
  readonly program: string;
  /** Of all launches of a call. */
  readonly flops: number;
  readonly bytes: number;
  readonly rates: number[];
  readonly times: number[];
}

function kernelsOf({ mixer, kind }: Case): PlaneKernel[] {
  const text = `edition 2026
import { Gqa, Mla } from "std/attention"
import { Decoder, Embedding, RmsNorm, SwiGlu } from "std/nn"
import { Rope } from "std/rope"
model Bench {
  dim V = 64
  dim D = 192
  dim H = 6
  dim R = 16
  dim H2 = 16
  dim R2 = 64
  use embed = Embedding[V, D]
  use trunk = stack { 1 of Decoder[D](mixer: ${mixer}, ffn: SwiGlu[D, 64]) }
  use norm = RmsNorm[D]
  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] { return embed.transposed(norm(trunk(embed(tokens), pos))) }
}
`;
  const diagnostics = new Diagnostics();
  const [model] = checkFile({ path: "bench.dsk", text }, diagnostics).models.values();
  if (model === undefined) throw new Error(diagnostics.all.map(({ message }) => message).join("\n"));
  const program =
    kind === "train" ? scoreProgram(model.module, { gradients: true }) : serveProgram(model.module, "decode");
  return lowered([program]).kernels.filter((kernel) => kernel.family === "plane");
}

/** The tokens' sequences and positions, those of the columns, and what each token sees. */
function layout({ kind, sequences, length }: Case): Record<"T" | "S", Record<string, Int32Array>> {
  const columns = sequences * length;
  const seq = Int32Array.from({ length: columns }, (_, i) => Math.floor(i / length));
  const pos = Int32Array.from({ length: columns }, (_, i) => i % length);
  const last = Int32Array.from({ length: sequences }, (_, i) => (i + 1) * length - 1);
  const tokens = kind === "train" ? Int32Array.from(pos.keys()) : last;
  return {
    T: {
      pos: tokens.map((t) => pos[t]!),
      seq: tokens.map((t) => seq[t]!),
      span_from: tokens.map((t) => seq[t]! * length),
      span_to: tokens.map((t) => t + 1),
    },
    S: { pos, seq, slot: Int32Array.from(pos.keys()) },
  };
}

let state = 1;
function random(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
  return state / 2 ** 31;
}

async function prepare(one: Case): Promise<Measured[]> {
  const kernels = kernelsOf(one);
  const directory = mkdtempSync(join(tmpdir(), "dskc-bench-"));
  const sources = join(directory, "sources");
  mkdirSync(sources);
  for (const [name, text] of printCpu(kernels)) writeFileSync(join(sources, name), text);
  const flags = [...VARIANT_FLAGS[VARIANT], ...KERNEL_FLAGS];
  await compileLibrary({ directory: sources, library: join(directory, libraryOf(VARIANT)), flags });
  const given = layout(one);
  const { T, S } = { T: given.T["pos"]!.length, S: given.S["pos"]!.length };
  const sizeOf = (extent: Extent): number =>
    typeof extent === "number" ? extent : extent === "T" ? T : extent === "S" || extent === "cache" ? S : 1;
  const pairs = given.T["span_to"]!.reduce((sum, to, i) => sum + to - given.T["span_from"]![i]!, 0);
  const points = (axes: readonly Axis[]): number => axes.reduce((n, { extent }) => n * sizeOf(extent), 1);
  const measured = kernels.map((kernel) => {
    const terms = kernel.body.flatMap((stmt) => {
      if (stmt.kind === "row") return [];
      return stmt.kind === "enter" ? stmt.products.map(({ k }) => points(k)) : [points(stmt.n)];
    });
    const flops = 2 * pairs * points(kernel.batch) * points(kernel.rows.slice(1)) * terms.reduce((a, b) => a + b, 0);
    const launches = Math.max(1, Math.round((LEAST * 50e6) / flops));
    const program: LaunchProgram = {
      name: kernel.name,
      dims: [],
      buffers: kernel.args.map((arg) =>
        buffer("state", `${kernel.name}.${arg.name}`, arg.dtype, ...arg.shape.map(sizeOf)),
      ),
      launches: Array.from({ length: launches }, () => ({
        kernel: kernel.name,
        args: kernel.args.map((_, i) => i),
        extents: kernel.extents.map(sizeOf),
      })),
    };
    const bytes = kernel.args.reduce((sum, { shape }) => sum + 4 * shape.reduce<number>((n, x) => n * sizeOf(x), 1), 0);
    return { kernel, program, flops: launches * flops, bytes: launches * bytes };
  });
  writePrograms(directory, ...measured.map(({ program }) => program));
  const session = openCpuSession(directory, { threads: THREADS, variant: VARIANT });
  rmSync(directory, { recursive: true });
  const values = (arg: Arg): Float32Array | Int32Array => {
    const size = arg.shape.reduce<number>((n, extent) => n * sizeOf(extent), 1);
    if (arg.dtype !== "i32") return Float32Array.from({ length: size }, random);
    return given[arg.shape[0] === "T" ? "T" : "S"][arg.name.replace(/_\d+$/, "")]!;
  };
  return measured.map(({ kernel, program, flops, bytes }) => {
    for (const arg of kernel.args)
      if (arg.access === "read") session.write(`${kernel.name}.${arg.name}`, values(arg) as Float32Array);
    const direction =
      one.kind === "decode" ? "" : kernel.body.some(({ kind }) => kind === "leave_columns") ? " backward" : " forward";
    return { title: `${one.title}${direction}`, session, program: program.name, flops, bytes, rates: [], times: [] };
  });
}

/** Sums in so many registers that no latency is waited for: what no kernel is faster than. */
async function preparePeak(): Promise<Measured> {
  const steps = 4_000_000;
  const sums = Array.from({ length: 12 }, (_, i) => `a${i}`);
  const directory = mkdtempSync(join(tmpdir(), "dskc-bench-"));
  const sources = join(directory, "sources");
  mkdirSync(sources);
  const kernel: HandKernel = {
    args: 1,
    extents: 1,
    items: "return 1;",
    run: `
      typedef float Lanes __attribute__((vector_size(32)));
      const Lanes x = Lanes{} + 1.0000001f, y = Lanes{} + 1e-7f;
      Lanes ${sums.map((sum) => `${sum} = y`).join(", ")};
      for (int64_t step = 0; step < extents[0]; step++) {
        ${sums.map((sum) => `${sum} = ${sum} * x + y;`).join(" ")}
        asm volatile("" : ${sums.map((sum) => `"+x"(${sum})`).join(", ")});
      }
      *(float*)args[0] = (${sums.join(" + ")})[0];`,
  };
  writeFileSync(join(sources, "kernels.cc"), librarySource({ peak: kernel }));
  const library = join(directory, libraryOf(VARIANT));
  await compileLibrary({
    directory: sources,
    library,
    flags: VARIANT_FLAGS[VARIANT],
    include: [resolve("templates/cpu")],
  });
  const program: LaunchProgram = {
    name: "peak",
    dims: [],
    buffers: [buffer("state", "x", "f32", 1)],
    launches: [{ kernel: "peak", args: [0], extents: [steps] }],
  };
  writePrograms(directory, program);
  const session = openCpuSession(directory, { threads: 1, variant: VARIANT });
  rmSync(directory, { recursive: true });
  return { title: "peak", session, program: "peak", flops: 2 * 8 * 12 * steps, bytes: 0, rates: [], times: [] };
}

async function measure({ session, program, flops, rates, times }: Measured): Promise<void> {
  const [before, started] = [process.cpuUsage(), performance.now()];
  await session.run({ program, sizes: {}, inputs: {} });
  const { user, system } = process.cpuUsage(before);
  const seconds = THREADS === 1 ? (user + system) / 1e6 : (performance.now() - started) / 1e3;
  times.push(seconds);
  rates.push(flops / seconds / 1e9);
}

const wanted = process.argv.slice(3);
const cases = CASES.filter(({ title }) => wanted.length === 0 || wanted.some((word) => title.includes(word)));
const peak = await preparePeak();
const all = [peak, ...(await Promise.all(cases.map(prepare))).flat()];
for (const one of all) await measure(one);
for (const one of all) one.rates.length = one.times.length = 0;
const shares = new Map(all.map(({ title }) => [title, [] as number[]]));
for (let round = 0; round < ROUNDS; round++) {
  for (const one of all) {
    await measure(peak);
    if (one !== peak) await measure(one);
    shares.get(one.title)!.push(one.rates.at(-1)! / peak.rates.at(-1)!);
  }
}
console.log(`${"case".padEnd(26)}${"GFLOP/s".padStart(10)}${"of peak".padStart(10)}${"GB/s".padStart(8)}`);
for (const { title, rates, times, bytes } of all) {
  const rate = bytes / median(times) / 1e9;
  const share = `${(100 * median(shares.get(title)!)).toFixed(1)} %`;
  console.log(
    `${title.padEnd(26)}${median(rates).toFixed(1).padStart(10)}${share.padStart(10)}${rate.toFixed(1).padStart(8)}`,
  );
}
for (const { session } of all) session.close();
