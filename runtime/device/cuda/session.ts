/** A package on an NVIDIA GPU: one arena for what a call needs, one memory of params and states, one of caches. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { addon } from "../../native/addon.ts";
import type { NativeCudaSession } from "../../native/cuda.ts";
import type { SimtKernel, SimtKernels } from "../../program/grids.ts";
import { elementsOf, launchTitle, type LaunchProgram, sizeOf, type Sizes } from "../../program/launch.ts";
import { SHORTLIST_CUDA } from "../../program/shortlist.ts";
import { readPrograms } from "../../program/read.ts";
import { selectPrograms } from "../../program/select.ts";
import type { Asked } from "../choice.ts";
import { type Border, borderOf, checkElements, dimsOf, inputsOf, newElements, outputsOf } from "../elements.ts";
import { type Layout, planLayout } from "../layout.ts";
import { Plans } from "../plans.ts";
import { planShortlists, shortlistsOf } from "../shortlist.ts";
import {
  type Call,
  DeviceError,
  type Elements,
  type HostSession,
  type LaunchProfile,
  MemoryError,
  type MemoryUse,
  type ProfilingSession,
  type Shortlists,
  type StoreSpec,
} from "../session.ts";
import { bytesOf, keptBy } from "../stores.ts";
import { CUDA_KERNELS, cubinsOf } from "./cubins.ts";
import { cudaError, throwing } from "./errors.ts";
import { architecturesOf, type Gpu, gpuOf } from "./gpu.ts";
import {
  ARENA,
  CACHES,
  type Entries,
  entriesFor,
  entriesOf,
  type Launches,
  launchesOf,
  type Place,
  STORES,
} from "./launches.ts";

export interface CudaOptions {
  /** The programs to load: those of the package by the names that calls use. All of them by their own when not given. */
  readonly programs?: Readonly<Record<string, string>>;
  /** Physical rows of each cache; 1024 when not given. */
  readonly cacheRows?: number;
  /** Which of the GPUs that the driver shows; the first one when not given. */
  readonly gpu?: number;
  /** Takes the time of every launch. */
  readonly profile?: boolean;
  /** Calls whose launches are the same again and again become graphs; true when not given. */
  readonly graphs?: boolean;
  /** Waits for every launch, so that an error names the one that made it: what DSKC_CUDA_CHECK=1 says when not given. */
  readonly check?: boolean;
  /** Bytes that the session may allocate. */
  readonly memoryLimit?: number;
  /** Told how many kernels are compiled, where they come as sources. */
  readonly onProgress?: (done: number, all: number) => void;
}

export interface CudaMemoryUse extends MemoryUse {
  /** How often a graph was made of calls of a kind, launched, and a launch in one given other parameters. */
  readonly graphs: { readonly made: number; readonly launched: number; readonly changed: number };
}

export interface CudaSession extends HostSession, ProfilingSession {
  /** What it runs on. */
  readonly gpu: Gpu;
  read(store: string): Elements;
  memory(): CudaMemoryUse;
  firstNonFinite(store: string): number;
}

/**
 * Loads the package of a directory: `program.json` and `kernels/cuda`. Params, states and caches are zero. What goes wrong on the GPU
 * rejects calls with DeviceError, and with DeviceLostError where nothing works any more.
 * @throws NoCudaError without a driver, a GPU or kernels for it; MemoryError; Error for a package that is broken
 */
export async function openCudaSession(directory: string, options: CudaOptions = {}): Promise<CudaSession> {
  const gpu = gpuOf(options.gpu);
  const all = readPrograms(join(directory, "program.json"));
  const programs = options.programs === undefined ? all : selectPrograms(all, options.programs);
  const table = JSON.parse(readFileSync(join(directory, CUDA_KERNELS, "cuda.json"), "utf8")) as SimtKernels;
  const wanted = new Set(programs.flatMap(({ launches }) => launches.map(({ kernel }) => kernel)));
  const architectures = architecturesOf(gpu);
  const kernels = table.kernels
    .filter(({ name }) => wanted.has(name) || name === SHORTLIST_CUDA.name)
    .map((kernel) => entriesFor(kernel, architectures));
  checkKernels(kernels, wanted, gpu);
  const images = await cubinsOf(directory, entriesOf(kernels).files, gpu, options.onProgress);
  return throwing(() => new PackageOnCuda(gpu, programs, kernels, images, options));
}

/** @throws Error when one is not in the table; DeviceError when one is too large for the GPU */
function checkKernels(kernels: readonly SimtKernel[], wanted: ReadonlySet<string>, gpu: Gpu): void {
  const named = new Set(kernels.map(({ name }) => name));
  const missing = [...wanted].find((name) => !named.has(name));
  if (missing !== undefined)
    throw new Error(`${CUDA_KERNELS}/cuda.json has no kernel ${missing}: build the package anew`);
  for (const { name, entries, parts = [] } of kernels) {
    for (const { sharedBytes = 0 } of [...entries, ...parts.flat()]) {
      if (sharedBytes > gpu.sharedBytes)
        throw new DeviceError(
          `the kernel ${name} needs ${count(sharedBytes)} bytes of shared memory, a block of ${gpu.name} has at most ${count(gpu.sharedBytes)}`,
        );
    }
  }
}

/** Calls that are made for one token after the other. */
const REPEATED = /^(?:decode|draft\.\d+)$/;

/** Calls of different sizes whose launches are kept. */
const KEPT_CALLS = 16;

/** Of params, states and caches: rows of tensor maps must begin at 16 bytes, and copies of 128 are whole lines. */
const ALIGNMENT = 256;

interface Loaded {
  readonly index: number;
  readonly program: LaunchProgram;
  readonly border: Border;
  readonly layouts: Plans<Layout>;
  /** Of each launch. */
  readonly kernels: readonly SimtKernel[];
  /** By buffer: where it lies, if it is kept between calls. */
  readonly kept: readonly (Place | undefined)[];
  /** By the sizes of a call: the last ones that were used. */
  readonly calls: Map<string, Prepared>;
  /** By launch. */
  readonly items: Float64Array;
}

interface Prepared extends Launches {
  readonly layout: Layout;
}

class PackageOnCuda implements CudaSession {
  readonly device = "cuda";
  readonly programs: readonly string[];
  readonly stores: readonly StoreSpec[];
  readonly cacheRowBytes: number;
  readonly cacheRows: number;
  readonly gpu: Gpu;
  readonly #loaded: ReadonlyMap<string, Loaded>;
  readonly #entries: Entries;
  readonly #native: NativeCudaSession;
  readonly #graphs: boolean;
  readonly #memoryLimit: number;
  /** Bytes of the arena that calls so far were promised: it is allocated when it is their turn. */
  #promised = 0;
  #calls = 0;

  constructor(
    gpu: Gpu,
    programs: readonly LaunchProgram[],
    kernels: readonly SimtKernel[],
    images: ReadonlyMap<string, Uint8Array>,
    options: CudaOptions,
  ) {
    const { cacheRows = 1024, memoryLimit = Infinity } = options;
    const { stores, cacheRowBytes } = keptBy(programs);
    this.gpu = gpu;
    this.programs = programs.map(({ name }) => name);
    this.stores = stores;
    this.cacheRowBytes = cacheRowBytes;
    this.cacheRows = cacheRows;
    this.#graphs = options.graphs ?? true;
    this.#memoryLimit = memoryLimit;
    this.#entries = entriesOf(kernels);
    const named = new Map(kernels.map((kernel) => [kernel.name, kernel]));
    const storePlaces = new Map<string, Place & { readonly bytes: number }>();
    let storeBytes = 0;
    for (const spec of stores) {
      storePlaces.set(spec.name, { space: STORES, offset: storeBytes, bytes: bytesOf(spec) });
      storeBytes += aligned(bytesOf(spec));
    }
    const cachePlaces = new Map<string, Place>();
    let cacheBytes = 0;
    for (const spec of programs.flatMap(({ buffers }) => buffers)) {
      if (spec.kind !== "cache" || cachePlaces.has(spec.name)) continue;
      cachePlaces.set(spec.name, { space: CACHES, offset: cacheBytes });
      cacheBytes += aligned(bytesOf(spec) * cacheRows);
    }
    this.#loaded = new Map(
      programs.map((program, index) => {
        const own = program.launches.map(({ kernel }) => named.get(kernel)!);
        const kept = program.buffers.map(({ kind, name }) =>
          kind === "cache"
            ? cachePlaces.get(name)
            : kind === "param" || kind === "state"
              ? storePlaces.get(name)
              : undefined,
        );
        const layouts = new Plans(program, (sizes) => planLayout(program, sizes, own));
        const items = new Float64Array(program.launches.length);
        const border = borderOf(program);
        return [program.name, { index, program, border, layouts, kernels: own, kept, calls: new Map(), items }];
      }),
    );
    const room = `params, states and ${cacheRows} rows of caches need`;
    this.#check(room, storeBytes + cacheBytes, Math.min(memoryLimit, gpu.memoryBytes), "");
    try {
      this.#native = new (addon().CudaSession)({
        device: gpu.ordinal,
        images: this.#entries.files.map((name) => ({ name, data: images.get(name)! })),
        entries: this.#entries.list,
        programs: programs.map(({ name, launches }) => ({
          name,
          launches: launches.map(launchTitle),
        })),
        stores: [...storePlaces].map(([name, { offset, bytes }]) => ({ name, offset, bytes })),
        storeBytes,
        cacheBytes,
        profile: options.profile ?? false,
        check: options.check ?? process.env["DSKC_CUDA_CHECK"] === "1",
      });
    } catch (error) {
      const told = cudaError(error);
      if (!(told instanceof MemoryError)) throw told;
      throw new MemoryError(
        `${room} ${count(storeBytes + cacheBytes)} bytes of memory on ${gpu.name}: ${told.message}`,
        {
          cause: error,
        },
      );
    }
  }

  async run(call: Call, signal?: AbortSignal): Promise<Readonly<Record<string, Elements>>> {
    const prepared = this.#prepared(call);
    return this.#run(call, prepared, prepared.bytes, {}, signal);
  }

  reserve(program: string, sizes: Sizes): void {
    const loaded = this.#program(program);
    dimsOf(loaded.program, sizes);
    this.#promise(loaded.program, sizes, this.#prepare(loaded, sizes).bytes);
  }

  /** What is asked for, and told, follows what the call needs in the arena. */
  async shortlist(call: Call, asked: readonly Asked[], known?: number): Promise<Shortlists> {
    const wanted = { outputs: [], ...call };
    if (asked.length === 0) return { outputs: await this.run(wanted), lists: [] };
    const prepared = this.#prepared(wanted);
    const { at, rows, vocabulary } = this.#logits(wanted, prepared);
    for (const { row } of asked) if (row >= rows) throw new Error(`program ${call.program}: there is no row ${row}`);
    const tokens = Math.min(known ?? vocabulary, vocabulary);
    const entry = this.#entries.numbers.get(SHORTLIST_CUDA.name)?.get("main");
    if (entry === undefined) throw new Error(`the package has no kernel ${SHORTLIST_CUDA.name}: build it anew`);
    const place = aligned(prepared.bytes);
    const plan = planShortlists(asked, { at: 0, vocabulary, known: tokens }, 0);
    const answers = new Int32Array(plan.answers.words);
    const own = [-1, entry, asked.length, ...plan.launch, ARENA, at, ARENA, place];
    const outputs = await this.#run(wanted, prepared, place + plan.words * 4, {
      numbers: [...prepared.numbers, ...own],
      inputs: [{ offset: place, elements: plan.written }],
      outputs: [{ offset: place + plan.answers.at * 4, elements: answers }],
    });
    return { outputs, lists: shortlistsOf(asked, new Uint32Array(answers.buffer), tokens) };
  }

  async #run(
    call: Call,
    prepared: Prepared,
    bytes: number,
    more: {
      readonly numbers?: readonly number[];
      readonly inputs?: readonly { readonly offset: number; readonly elements: Elements }[];
      readonly outputs?: readonly { readonly offset: number; readonly elements: Elements }[];
    },
    signal?: AbortSignal,
  ): Promise<Readonly<Record<string, Elements>>> {
    signal?.throwIfAborted();
    const { index, program, border, items } = this.#program(call.program);
    const { offsets } = prepared.layout;
    const inputs = [
      ...inputsOf(border, call.sizes, call.inputs).map(({ buffer, elements }) => ({
        offset: offsets[buffer]!,
        elements,
      })),
      ...(more.inputs ?? []),
    ];
    const outputs = outputsOf(border, call.sizes, call.outputs);
    this.#promise(program, call.sizes, bytes);
    const id = this.#calls++;
    const given = [
      ...outputs.map(({ buffer, elements }) => ({ offset: offsets[buffer]!, elements })),
      ...(more.outputs ?? []),
    ];
    const done = throwing(() =>
      this.#native.run(
        id,
        index,
        Float64Array.from(more.numbers ?? prepared.numbers),
        bytes,
        this.#graphs && REPEATED.test(call.program),
        Float64Array.from(inputs, ({ offset }) => offset),
        inputs.map(({ elements }) => elements),
        Float64Array.from(given, ({ offset }) => offset),
        given.map(({ elements }) => elements),
      ),
    );
    const cancel = (): void => this.#native.cancel(id);
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      if (!(await done)) throw signal?.reason;
    } catch (error) {
      throw cudaError(error);
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
    for (const [launch, own] of prepared.items.entries()) items[launch]! += own;
    return Object.fromEntries(outputs.map(({ name, elements }) => [name, elements]));
  }

  read(store: string): Elements {
    const spec = this.#store(store);
    const elements = newElements(spec.dtype, elementsOf(spec, {}));
    throwing(() => this.#native.read(store, elements));
    return elements;
  }

  write(store: string, elements: Elements): void {
    const spec = this.#store(store);
    checkElements(store, spec.dtype, elementsOf(spec, {}), elements);
    throwing(() => this.#native.write(store, elements));
  }

  firstNonFinite(store: string): number {
    const { dtype } = this.#store(store);
    return throwing(() => this.#native.firstNonFinite(store, dtype));
  }

  memory(): CudaMemoryUse {
    const { arenaBytes, storeBytes, cacheBytes, graphsMade, graphsLaunched, graphsChanged } = this.#native.usage();
    const graphs = { made: graphsMade, launched: graphsLaunched, changed: graphsChanged };
    return { arenaBytes, arenaHighWater: arenaBytes, storeBytes, cacheBytes, graphs };
  }

  profile(): LaunchProfile[] {
    const timings = this.#native.profile();
    return [...this.#loaded.values()].flatMap(({ index, program, items }) =>
      program.launches.map(({ kernel, note }, i) => ({
        program: program.name,
        kernel,
        ...(note === undefined ? {} : { note }),
        calls: timings[index]![2 * i]!,
        items: timings[index]![2 * i]! === 0 ? 0 : items[i]!,
        nanoseconds: timings[index]![2 * i + 1]!,
      })),
    );
  }

  close(): void {
    this.#native.close();
  }

  /** What a call needs, after its sizes were checked. */
  #prepared({ program, sizes }: Call): Prepared {
    const loaded = this.#program(program);
    dimsOf(loaded.program, sizes);
    return this.#prepare(loaded, sizes);
  }

  /** The launches of a call: the same for the same sizes. */
  #prepare({ program, layouts, kernels, kept, calls }: Loaded, sizes: Sizes): Prepared {
    const key = program.dims.map((dim) => sizes[dim]).join();
    let prepared = calls.get(key);
    if (prepared === undefined) {
      const layout = layouts.of(sizes);
      prepared = { layout, ...launchesOf(program, kernels, this.#entries.numbers, kept, layout, sizes) };
      if (calls.size >= KEPT_CALLS) calls.delete(calls.keys().next().value!);
    } else calls.delete(key);
    calls.set(key, prepared);
    return prepared;
  }

  #program(name: string): Loaded {
    const loaded = this.#loaded.get(name);
    if (loaded === undefined) throw new Error(`there is no program ${name}`);
    return loaded;
  }

  #store(name: string): StoreSpec {
    const store = this.stores.find((spec) => spec.name === name);
    if (store === undefined) throw new Error(`there is no param or state ${name}`);
    return store;
  }

  /** Where the logits of a call lie. */
  #logits(
    call: Call,
    { layout }: Prepared,
  ): { readonly at: number; readonly rows: number; readonly vocabulary: number } {
    const { program, border } = this.#program(call.program);
    const logits = border.outputs.find(({ spec }) => spec.name === "logits");
    if (logits === undefined) throw new Error(`program ${program.name}: there is no output logits`);
    const [rows, vocabulary] = logits.spec.shape.map((extent) => sizeOf(extent, call.sizes));
    return { at: layout.offsets[logits.buffer]!, rows: rows!, vocabulary: vocabulary! };
  }

  /** Makes sure that there is room for the arena of a call. */
  #promise(program: LaunchProgram, sizes: Sizes, bytes: number): void {
    if (bytes <= this.#promised) return;
    const { arenaBytes, storeBytes, cacheBytes } = this.#native.usage();
    const [free] = throwing(() => this.#native.freeMemory());
    const left = Math.min(free + arenaBytes, this.#memoryLimit - storeBytes - cacheBytes);
    const bound = program.dims.map((dim) => `${dim} = ${sizes[dim]}`).join(", ");
    const what = `program ${program.name}${bound === "" ? "" : ` with ${bound}`} needs`;
    this.#check(what, bytes, left, " beside params, states and caches");
    this.#promised = bytes;
  }

  /** @throws MemoryError when there is not so much */
  #check(what: string, bytes: number, available: number, beside: string): void {
    if (bytes <= available) return;
    throw new MemoryError(
      `${what} ${count(bytes)} bytes of memory, only ${count(Math.max(0, available))} are available on ${this.gpu.name}${beside}`,
    );
  }
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function count(bytes: number): string {
  return bytes.toLocaleString("en-US");
}
