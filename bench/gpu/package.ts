/** The package of a case: what the compiler makes of its program, with all that it reads and writes kept between calls. */
import { lowered } from "../../compiler/package/package.ts";
import { printCuda } from "../../compiler/targets/cuda/print.ts";
import type { Blocks, BufferSpec, Launch, LaunchProgram, Sizes } from "../../runtime/program/launch.ts";
import { elementsOf, sizeOf } from "../../runtime/program/launch.ts";
import type { SimtKernels } from "../../runtime/program/grids.ts";
import { usedEntries } from "./entries.ts";
import type { Case } from "./case.ts";
import { factorBits, FILLED, fillKernels, fillName } from "./fill.ts";

/** A param or state of the session, which the case reads, writes or both. */
export interface Store {
  /** Of the program: without what makes it unique among stores. */
  readonly name: string;
  readonly store: string;
  readonly dtype: BufferSpec["dtype"];
  readonly shape: readonly number[];
  readonly read: boolean;
  readonly written: boolean;
  /** Of what it is filled with; not there for whole numbers. */
  readonly seed?: number;
  readonly factor?: number;
}

export interface BenchPackage {
  readonly files: ReadonlyMap<string, string>;
  /** Entry points that a call runs, in their order. */
  readonly symbols: readonly string[];
  readonly stores: readonly Store[];
  /** Launches of a repetition in `timed`; the first one only empties the cache. */
  readonly launches: number;
  readonly repetitions: number;
  /** Launches of a repetition that count. */
  readonly counted: readonly number[];
}

/** Floats that are written before each repetition: more than the second-level cache has (50 or 60 MB). */
const FLUSHED = 64 << 20;

/** Calls of `timed` repeat what takes less than this many microseconds at the limit of an H100. */
const LONG = 2000;

/**
 * Programs `fill` (numbers for all that is read), `once`, and `timed`: the same several times, the cache emptied before each, so
 * that the GPU has work while the next launch is on its way. Of kernels there is what a GPU of these architectures runs.
 */
export function benchPackage(one: Case, small: boolean, architectures: readonly string[]): BenchPackage {
  const { kernels, programs } = lowered([one.program]);
  const program = programs[0]!;
  const buffers = program.buffers.map((spec) => keptBuffer(spec, one.sizes));
  const stores = buffers.flatMap((spec, i) => storeOf(spec, i, { one, program, kernels }));
  const flush: BufferSpec = { kind: "state", name: "flushed", dtype: "f32", shape: [small ? 1 << 12 : FLUSHED] };
  const floor = Math.max(one.flops / 800e6, one.bytes / 3e6);
  const repetitions = floor < LONG ? 6 : 2;
  const timed = repeated({ ...program, buffers }, flush, repetitions);
  const fill: LaunchProgram = {
    name: "fill",
    dims: [],
    buffers: stores.map(({ store }) => buffers.find(({ name }) => name === store)!),
    launches: stores.flatMap(({ dtype, shape, seed, factor }, i) =>
      seed === undefined ? [] : [fillLaunch(i, dtype, elementsOf({ shape }, {}), seed, factor!)],
    ),
  };
  const once = { ...program, name: "once", buffers };
  const texts = printCuda(kernels, fillKernels());
  const table = JSON.parse(texts.get("cuda.json")!) as SimtKernels;
  const others = new Set([...fill.launches.map(({ kernel }) => kernel), fillName(flush.dtype)]);
  const used = usedEntries(table.kernels, once, { sizes: one.sizes, architectures, others });
  texts.set("cuda.json", JSON.stringify({ ...table, kernels: used.kernels }));
  const files = new Map(
    [...texts].flatMap(([name, text]) =>
      name.endsWith(".cu") && !used.files.has(name.slice(0, -".cu".length)) ? [] : [[`kernels/cuda/${name}`, text]],
    ),
  );
  files.set("program.json", `${JSON.stringify({ format: 1, programs: [fill, once, timed] })}\n`);
  const counted = program.launches.flatMap(({ kernel }, i) => (one.shared?.test(kernel) ? [] : [i + 1]));
  const { symbols } = used;
  return { files, symbols, stores, launches: program.launches.length + 1, repetitions, counted };
}

/** Inputs, outputs and caches become states: their numbers stay on the GPU. */
function keptBuffer(spec: BufferSpec, sizes: Sizes): BufferSpec {
  if (spec.kind === "temp") return spec;
  const shape = spec.shape.map((extent) => sizeOf(extent, sizes));
  const whole = spec.kind === "cache" ? [sizes["S"]!, ...shape] : shape;
  return { ...spec, kind: "state", name: `${spec.kind}.${spec.name}`, shape: whole };
}

interface Made {
  readonly one: Case;
  readonly program: LaunchProgram;
  readonly kernels: ReturnType<typeof lowered>["kernels"];
}

function storeOf(spec: BufferSpec, index: number, { one, program, kernels }: Made): Store[] {
  if (spec.kind === "temp") return [];
  const { kind, name } = program.buffers[index]!;
  const access = new Set(
    program.launches.flatMap(({ kernel, args }) => {
      const own = kernels.find((other) => other.name === kernel)!;
      return args.flatMap((buffer, i) => (buffer === index ? [own.args[i]!.access] : []));
    }),
  );
  // What a call appends to a cache is what it was given.
  const written = kind !== "cache" && (access.has("write") || access.has("update"));
  const base = {
    name,
    store: spec.name,
    dtype: spec.dtype,
    shape: spec.shape as number[],
    read: kind !== "output",
    written,
  };
  if (kind === "output" || !FILLED.has(spec.dtype)) return [base];
  return [{ ...base, seed: index + 1, factor: factorBits(one.deviations?.[name] ?? 1) }];
}

function fillLaunch(buffer: number, dtype: BufferSpec["dtype"], size: number, seed: number, factor: number): Launch {
  return { kernel: fillName(dtype), args: [buffer], extents: [size, seed, factor] };
}

function repeated(program: LaunchProgram, flush: BufferSpec, times: number): LaunchProgram {
  const buffers = [...program.buffers, flush];
  const first = fillLaunch(program.buffers.length, "f32", elementsOf(flush, {}), 1, factorBits(1));
  const all = Array.from({ length: times }, (_, i) => i * (program.launches.length + 1));
  const blocks = all.flatMap((at) =>
    (program.blocks ?? []).map((own): Blocks => ({ ...own, first: own.first + at + 1 })),
  );
  return {
    ...program,
    name: "timed",
    buffers,
    launches: all.flatMap(() => [first, ...program.launches]),
    ...(blocks.length === 0 ? {} : { blocks }),
  };
}
