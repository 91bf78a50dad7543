/** The package of a case: what the compiler makes of its program, with all that it reads and writes kept between calls. */
import { lowered } from "../../compiler/package/package.ts";
import { printCuda } from "../../compiler/targets/cuda/print.ts";
import type { Blocks, BufferSpec, Launch, LaunchProgram, Sizes } from "../../runtime/program/launch.ts";
import { elementsOf, sizeOf } from "../../runtime/program/launch.ts";
import type { SimtKernels } from "../../runtime/program/grids.ts";
import { usedEntries } from "./entries.ts";
import type { Case } from "./case.ts";
import { factorBits, FILLED, fillKernels, fillName } from "./fill.ts";

/**
 * Where an array lies: in a param or state of the session; or, where the program runs blocks of rows, which find theirs by a dim whose
 * size a call gives, in a temp that each call fills, or as an input or output of calls.
 */
type Place = "store" | "temp" | "input" | "output";

/** An array that the case reads, writes or both. */
export interface Store {
  /** Of the program: without what makes it unique among stores. */
  readonly name: string;
  readonly store: string;
  readonly place: Place;
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
  /** Launches in front of those of `once` and of the first repetition. */
  readonly before: number;
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
  const weights = one.store && { form: one.store, programs: new Set([one.program.name]) };
  const { kernels, programs } = lowered([one.program], weights === undefined ? {} : { weights });
  const program = programs[0]!;
  const blockDims = new Set((program.blocks ?? []).map(({ dim }) => dim));
  const places = program.buffers.map((spec) => placeOf(spec, blockDims));
  const buffers = program.buffers.map((spec, i) => keptBuffer(spec, places[i], one.sizes));
  const stores = buffers.flatMap((spec, i) => storeOf(spec, i, { one, program, kernels, place: places[i] }));
  const flush: BufferSpec = { kind: "state", name: "flushed", dtype: "f32", shape: [small ? 1 << 12 : FLUSHED] };
  const floor = Math.max(one.flops / 800e6, one.bytes / 3e6);
  const repetitions = floor < LONG ? 6 : 2;
  const kept = stores.filter(({ place }) => place === "store");
  const fill: LaunchProgram = {
    name: "fill",
    dims: [],
    buffers: kept.map(({ store }) => buffers.find(({ name }) => name === store)!),
    launches: kept.flatMap((store, i) => filling(store, i)),
  };
  const before = stores.flatMap((store) =>
    store.place === "temp"
      ? filling(
          store,
          buffers.findIndex(({ name }) => name === store.store),
        )
      : [],
  );
  const own = { ...program, buffers };
  const once = behind(before, { ...own, name: "once" });
  const timed = behind(before, repeated(own, flush, repetitions));
  const texts = printCuda(kernels, fillKernels());
  const table = JSON.parse(texts.get("cuda.json")!) as SimtKernels;
  const others = new Set([...[...fill.launches, ...before].map(({ kernel }) => kernel), fillName(flush.dtype)]);
  const used = usedEntries(table.kernels, own, { sizes: one.sizes, architectures, others });
  texts.set("cuda.json", JSON.stringify({ ...table, kernels: used.kernels }));
  const files = new Map(
    [...texts].flatMap(([name, text]) =>
      name.endsWith(".cu") && !used.files.has(name.slice(0, -".cu".length)) ? [] : [[`kernels/cuda/${name}`, text]],
    ),
  );
  files.set("program.json", `${JSON.stringify({ format: 1, programs: [fill, once, timed] })}\n`);
  const counted = program.launches.flatMap(({ kernel }, i) => (one.shared?.test(kernel) ? [] : [i + 1]));
  const { symbols } = used;
  const launches = program.launches.length + 1;
  return { files, symbols, stores, before: before.length, launches, repetitions, counted };
}

/** Undefined for temps of the program's own. */
function placeOf({ kind, dtype, shape }: BufferSpec, blockDims: ReadonlySet<string>): Place | undefined {
  if (kind === "temp") return undefined;
  if (!blockDims.has(String(shape[0]))) return "store";
  return kind === "output" ? "output" : FILLED.has(dtype) ? "temp" : "input";
}

/** Inputs, outputs and caches become states: their numbers stay on the GPU. */
function keptBuffer(spec: BufferSpec, place: Place | undefined, sizes: Sizes): BufferSpec {
  if (place === undefined || place === "input" || place === "output") return spec;
  const name = `${spec.kind}.${spec.name}`;
  if (place === "temp") return { ...spec, kind: "temp", name };
  // Codes and scales are filled each by itself.
  const { quantized: _, ...plain } = spec;
  const shape = spec.shape.map((extent) => sizeOf(extent, sizes));
  return { ...plain, kind: "state", name, shape: spec.kind === "cache" ? [sizes["S"]!, ...shape] : shape };
}

interface Made {
  readonly one: Case;
  readonly program: LaunchProgram;
  readonly kernels: ReturnType<typeof lowered>["kernels"];
  readonly place: Place | undefined;
}

function storeOf(spec: BufferSpec, index: number, { one, program, kernels, place }: Made): Store[] {
  if (place === undefined) return [];
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
    place,
    dtype: spec.dtype,
    shape: spec.shape.map((extent) => sizeOf(extent, one.sizes)),
    read: kind !== "output",
    written,
  };
  if (kind === "output" || !FILLED.has(spec.dtype)) return [base];
  return [{ ...base, seed: index + 1, factor: factorBits(one.deviations?.[name] ?? 1) }];
}

/** The launch that fills an array, if it is one of floats. */
function filling({ dtype, shape, seed, factor }: Store, buffer: number): Launch[] {
  const size = elementsOf({ shape }, {});
  return seed === undefined ? [] : [fillLaunch(buffer, dtype, dtype === "i4" ? size / 2 : size, seed, factor!)];
}

function fillLaunch(buffer: number, dtype: BufferSpec["dtype"], size: number, seed: number, factor: number): Launch {
  return { kernel: fillName(dtype), args: [buffer], extents: [size, seed, factor] };
}

/** The program with launches in front. */
function behind(before: readonly Launch[], program: LaunchProgram): LaunchProgram {
  const blocks = (program.blocks ?? []).map((own): Blocks => ({ ...own, first: own.first + before.length }));
  const launches = [...before, ...program.launches];
  return { ...program, launches, ...(blocks.length === 0 ? {} : { blocks }) };
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
