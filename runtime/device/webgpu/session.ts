/** A package on WebGPU: one arena for what a call needs, one buffer of params and states, one of caches; words of 32 bits. */
import { boundExtents, elementsOf, type LaunchProgram, type Sizes, sizeOf } from "../../program/launch.ts";
import { firstElement, stepsOf } from "../../program/steps.ts";
import { type SimtKernel, workOf } from "../../program/grids.ts";
import { type Border, borderOf, checkElements, dimsOf, inputsOf, outputsOf } from "../elements.ts";
import { Plans } from "../plans.ts";
import type { Call, Elements, LaunchProfile, Likeliest, MemoryUse, ProfilingSession, StoreSpec } from "../session.ts";
import { keptBy } from "../stores.ts";
import { checkWorkgroups, count, largestBinding, tooLarge } from "./limits.ts";
import { DeviceWatch } from "./loss.ts";
import { LIKELIEST, LIKELIEST_WGSL } from "./likeliest.ts";
import { type Layout, planWords } from "./layout.ts";
import { isKept, type Kept, keptElements, keptWords, placesOf } from "./kept.ts";
import { isFloat16, type Need, PACKED, PARTS, Pipelines, type Sources, type Space, spaceOf } from "./pipelines.ts";
import { Timestamps } from "./timing.ts";
import { asWords, fromWords } from "./words.ts";

export interface WebGpuOptions extends Sources {
  readonly programs: readonly LaunchProgram[];
  /** Physical rows of each cache; 1024 when not given. */
  readonly cacheRows?: number;
  /** The device belongs to the session, and ends with it. */
  readonly ownsDevice?: boolean;
  /** Takes the time of every launch. */
  readonly profile?: boolean;
  /** The most bytes of a buffer of params and states: less than the device has, for tests. */
  readonly partBytes?: number;
}

export interface WebGpuSession extends ProfilingSession {
  /** What it runs on. */
  readonly gpu: GPUDevice;
  read(store: string): Promise<Elements>;
}

/**
 * Loads a package. Params, states and caches are zero. Kernels are compiled by the first call that needs them. When the device
 * is lost calls reject with DeviceLostError.
 */
export function openWebGpuSession(options: WebGpuOptions): WebGpuSession {
  return new PackageOnWebGpu(options);
}

interface Loaded {
  readonly program: LaunchProgram;
  readonly layouts: Plans<Layout>;
  readonly border: Border;
  readonly kernels: readonly SimtKernel[];
  readonly spaces: readonly Space[];
  /** Where each buffer that is kept between calls begins, in words of its space; -1 for others. */
  readonly places: readonly number[];
}

interface Dispatch {
  /** Of the program; none for what is not part of it. */
  readonly launch?: number;
  /** The entry points that run, one after the other, and their workgroups. */
  readonly grids: readonly { readonly need: Need; readonly groups: number }[];
  /** What the launch's uniform has. */
  readonly words: readonly number[];
}

class PackageOnWebGpu implements WebGpuSession {
  readonly device = "webgpu";
  readonly programs: readonly string[];
  readonly stores: readonly StoreSpec[];
  readonly cacheRowBytes: number;
  readonly cacheRows: number;
  readonly gpu: GPUDevice;
  readonly #ownsDevice: boolean;
  readonly #watch: DeviceWatch;
  readonly #pipelines: Pipelines;
  readonly #loaded = new Map<string, Loaded>();
  readonly #kept: ReadonlyMap<string, Kept>;
  readonly #stores: readonly GPUBuffer[];
  readonly #caches: GPUBuffer;
  #arena: GPUBuffer;
  #uniforms: GPUBuffer;
  #group: GPUBindGroup | undefined;
  #highWater = 0;
  /** By program; none where the time is not taken. */
  readonly #profiles: ReadonlyMap<string, { calls: number; items: number; nanoseconds: number }[]> | undefined;
  /** Until the call before has been handed to the device. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: WebGpuOptions) {
    const { device, programs, kernels, cacheRows = 1024 } = options;
    this.gpu = device;
    this.#ownsDevice = options.ownsDevice ?? false;
    this.#watch = new DeviceWatch(device);
    checkWorkgroups(device, kernels);
    this.#pipelines = new Pipelines({
      ...options,
      kernels: [...kernels, LIKELIEST],
      source: (name) => (name === LIKELIEST.name ? LIKELIEST_WGSL : options.source(name)),
    });
    const { stores, cacheRowBytes } = keptBy(programs);
    this.programs = programs.map(({ name }) => name);
    this.stores = stores;
    this.cacheRowBytes = cacheRowBytes;
    this.cacheRows = cacheRows;
    const named = new Map(kernels.map((kernel) => [kernel.name, kernel]));
    this.#kept = placesOf(stores, programs, named, (options.partBytes ?? largestBinding(device).bytes) / 4);
    this.#stores = this.#storeBuffers();
    const caches = new Map<string, number>();
    let cacheWords = 0;
    for (const program of programs) {
      const places = program.buffers.map((spec) => {
        if (isKept(spec.kind)) return this.#kept.get(spec.name)!.at;
        if (spec.kind !== "cache") return -1;
        if (!caches.has(spec.name)) {
          caches.set(spec.name, cacheWords);
          cacheWords += elementsOf(spec, {}) * cacheRows;
        }
        return caches.get(spec.name)!;
      });
      const ofProgram = program.launches.map(({ kernel }) => named.get(kernel)!);
      this.#loaded.set(program.name, {
        program,
        layouts: new Plans(program, (sizes) => planWords(program, sizes, ofProgram)),
        border: borderOf(program),
        kernels: ofProgram,
        spaces: program.buffers.map(({ kind, name, dtype }) =>
          isKept(kind) && isFloat16(dtype) && this.#kept.get(name)!.packed
            ? PACKED + spaceOf(kind, this.#kept.get(name)!.part)
            : spaceOf(kind, isKept(kind) ? this.#kept.get(name)!.part : 0),
        ),
        places,
      });
    }
    this.#check(cacheWords * 4, (most) => {
      const rows = Math.floor((most / (cacheWords * 4)) * cacheRows);
      return [`${count(cacheRows)} rows of caches need`, `${count(rows)} rows fit`];
    });
    this.#caches = this.#buffer("caches", cacheWords * 4);
    this.#profiles = options.profile
      ? new Map(
          programs.map(({ name, launches }) => [name, launches.map(() => ({ calls: 0, items: 0, nanoseconds: 0 }))]),
        )
      : undefined;
    this.#arena = this.#buffer("arena", 4);
    this.#uniforms = this.#buffer("uniforms", 256, GPUBufferUsage.UNIFORM);
  }

  async run(call: Call, signal?: AbortSignal): Promise<Readonly<Record<string, Elements>>> {
    const { outputs } = await this.#call(call, undefined, signal);
    return outputs;
  }

  async likeliest(call: Call, known?: number): Promise<Likeliest> {
    const { outputs, chosen } = await this.#call({ outputs: [], ...call }, { known });
    return { outputs, tokens: new Int32Array(chosen!.buffer, chosen!.byteOffset, chosen!.length) };
  }

  /** @param choose asks for the likeliest tokens, which follow the scratch arrays in the arena */
  async #call(
    call: Call,
    choose: { readonly known: number | undefined } | undefined,
    signal?: AbortSignal,
  ): Promise<{ outputs: Readonly<Record<string, Elements>>; chosen: Uint32Array | undefined }> {
    signal?.throwIfAborted();
    const loaded = this.#program(call.program);
    const { program, border } = loaded;
    dimsOf(program, call.sizes);
    const inputs = inputsOf(border, call.sizes, call.inputs);
    const outputs = outputsOf(border, call.sizes, call.outputs);
    const layout = this.#layout(loaded, call.sizes);
    this.#check(layout.words * 4, () => ["the arena of the call needs", this.#thatFits(loaded, call.sizes)]);
    const dispatches = this.#dispatches(loaded, call.sizes, layout);
    const wanted = outputs.map(({ buffer, elements }) => ({ at: layout.offsets[buffer]!, words: elements.length }));
    let { words } = layout;
    if (choose !== undefined) {
      const logits = program.buffers.findIndex(({ kind, name }) => kind === "output" && name === "logits");
      if (logits < 0) throw new Error(`the program ${program.name} gives no logits`);
      const [rows, vocabulary] = program.buffers[logits]!.shape.map((extent) => sizeOf(extent, call.sizes));
      const from = layout.offsets[logits]!;
      dispatches.push({
        grids: [{ need: { kernel: LIKELIEST.name, entry: "main", spaces: [] }, groups: rows! }],
        words: [rows!, 0, rows!, vocabulary!, Math.min(choose.known ?? Infinity, vocabulary!), from, words],
      });
      wanted.push({ at: words, words: rows! });
      words += rows!;
    }
    // Whoever called may change the inputs while this waits for its turn.
    const written = inputs.map(({ buffer, elements }) => ({
      at: layout.offsets[buffer]! * 4,
      words: asWords(elements.slice(), program.buffers[buffer]!.dtype),
    }));
    const handedOver = this.#turn.then(async () => {
      await this.#watch.of(this.#pipelines.make(dispatches.flatMap(({ grids }) => grids.map(({ need }) => need))));
      signal?.throwIfAborted();
      this.#reserve(words, dispatches.length);
      for (const { at, words: own } of written) this.gpu.queue.writeBuffer(this.#arena, at, own);
      const timed = this.#encode(dispatches);
      const given = this.#readBack(this.#arena, wanted);
      given.catch(() => undefined);
      if (timed !== undefined) this.#took(program.name, dispatches, await this.#watch.of(timed()));
      return { given };
    });
    this.#turn = handedOver.catch(() => undefined);
    const given = await (await handedOver).given;
    signal?.throwIfAborted();
    return {
      outputs: Object.fromEntries(
        outputs.map(({ name, buffer }, i) => [name, fromWords(given[i]!, program.buffers[buffer]!.dtype)]),
      ),
      chosen: given[outputs.length],
    };
  }

  async read(store: string): Promise<Elements> {
    const kept = this.#store(store);
    const [words] = await this.#readBack(this.#stores[kept.part]!, [kept]);
    return keptElements(kept, words!);
  }

  write(store: string, elements: Elements): void {
    this.#watch.check();
    const kept = this.#store(store);
    checkElements(store, kept.spec.dtype, elementsOf(kept.spec, {}), elements);
    if (elements.length > 0)
      this.gpu.queue.writeBuffer(this.#stores[kept.part]!, kept.at * 4, keptWords(kept, elements));
  }

  memory(): MemoryUse {
    return {
      arenaBytes: this.#arena.size,
      arenaHighWater: this.#highWater,
      storeBytes: [...this.#kept.values()].reduce((sum, { words }) => sum + words * 4, 0),
      cacheBytes: this.#caches.size,
    };
  }

  close(): void {
    this.#watch.close();
    for (const buffer of [this.#arena, ...this.#stores, this.#caches, this.#uniforms]) buffer.destroy();
    if (this.#ownsDevice) this.gpu.destroy();
  }

  /** A plan that is made for later calls too may be too large where one for this call is not. */
  #layout({ layouts, program, kernels }: Loaded, sizes: Sizes): Layout {
    const layout = layouts.of(sizes);
    return layout.words * 4 <= largestBinding(this.gpu).bytes ? layout : planWords(program, sizes, kernels);
  }

  #program(name: string): Loaded {
    const loaded = this.#loaded.get(name);
    if (loaded === undefined) throw new Error(`there is no program ${name}`);
    return loaded;
  }

  #store(name: string): Kept {
    const store = this.#kept.get(name);
    if (store === undefined) throw new Error(`there is no param or state ${name}`);
    return store;
  }

  /** @throws LimitError for a param that no buffer has room for, and for a model that is too large for all of them */
  #storeBuffers(): GPUBuffer[] {
    const kept = [...this.#kept.values()];
    const { bytes: most, limit } = largestBinding(this.gpu);
    const largest = kept.reduce((a, b) => (b.words > a.words ? b : a), kept[0] ?? { words: 0, spec: { name: "" } });
    if (largest.words * 4 > most)
      throw tooLarge(`\`${largest.spec.name}\` needs`, largest.words * 4, most, limit, "a param of that size fits");
    const parts = Math.max(PARTS, ...kept.map(({ part }) => part + 1));
    if (parts > PARTS) {
      const bytes = kept.reduce((sum, { words }) => sum + words * 4, 0);
      const fits = `a model with ${count(Math.floor((PARTS * most) / 4))} params in f32, or more of them as codes, fits`;
      throw tooLarge("params and states need", bytes, PARTS * most, `${PARTS} times ${limit}`, fits);
    }
    return Array.from({ length: PARTS }, (_, part) => {
      const words = kept.filter((one) => one.part === part).reduce((end, one) => Math.max(end, one.at + one.words), 0);
      return this.#buffer(`params and states ${part}`, words * 4);
    });
  }

  /** @throws LimitError when a buffer cannot have so many bytes; `told` says what needs them, and what would fit */
  #check(bytes: number, told: (most: number) => readonly [needs: string, fits: string]): void {
    const { bytes: most, limit } = largestBinding(this.gpu);
    if (bytes <= most) return;
    const [needs, fits] = told(most);
    throw tooLarge(needs, bytes, most, limit, fits);
  }

  #buffer(what: string, bytes: number, usage = GPUBufferUsage.STORAGE): GPUBuffer {
    return this.gpu.createBuffer({
      label: what,
      size: Math.max(4, bytes),
      usage: usage | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    });
  }

  /** Half of a call again and again, until its arena can be bound: its sizes as text. */
  #thatFits({ program, kernels }: Loaded, sizes: Sizes): string {
    const { bytes: most } = largestBinding(this.gpu);
    const text = (some: Sizes): string => program.dims.map((dim) => `${dim} = ${count(some[dim]!)}`).join(", ");
    for (let half = sizes; program.dims.some((dim) => half[dim]! > 1);) {
      half = Object.fromEntries(program.dims.map((dim) => [dim, Math.ceil(half[dim]! / 2)]));
      if (planWords(program, half, kernels).words * 4 <= most) return `a call with ${text(half)} fits`;
    }
    return "no call fits";
  }

  #reserve(words: number, dispatches: number): void {
    this.#highWater = Math.max(this.#highWater, words * 4);
    if (words * 4 > this.#arena.size) {
      this.#arena.destroy();
      this.#arena = this.#buffer("arena", words * 4);
      this.#group = undefined;
    }
    const bytes = dispatches * this.#pipelines.stride + this.#pipelines.uniformBytes;
    if (bytes > this.#uniforms.size) {
      this.#uniforms.destroy();
      this.#uniforms = this.#buffer("uniforms", bytes, GPUBufferUsage.UNIFORM);
      this.#group = undefined;
    }
    this.#group ??= this.#pipelines.group(this.#uniforms, this.#arena, this.#caches, this.#stores);
  }

  /** What a call asks of the device, in order. */
  #dispatches({ program, kernels, spaces, places }: Loaded, sizes: Sizes, layout: Layout): Dispatch[] {
    return stepsOf(program, sizes).flatMap((step) => {
      const launch = program.launches[step.launch]!;
      const kernel = kernels[step.launch]!;
      const bound = boundExtents(launch, kernel, step.sizes);
      const work = workOf(kernel, bound);
      const own = launch.args.map((buffer) => {
        const start = places[buffer]! >= 0 ? places[buffer]! : layout.offsets[buffer]!;
        return start + firstElement(program.buffers[buffer]!, step);
      });
      const ofKernel = kernel.extents.map((name) => bound[name]!);
      const words = [...work.items, ...ofKernel, ...own, ...layout.scratch(kernel, bound, work)];
      return work.runs.map(({ grids }) => ({
        launch: step.launch,
        grids: grids.map(({ grid, groups }) => ({
          need: { kernel: kernel.name, entry: grid.name, spaces: launch.args.map((b) => spaces[b]!) },
          groups,
        })),
        words,
      }));
    });
  }

  profile(): LaunchProfile[] {
    return [...this.#loaded.values()].flatMap(({ program }) =>
      program.launches.map(({ kernel, note }, launch) => ({
        program: program.name,
        kernel,
        ...(note === undefined ? {} : { note }),
        ...(this.#profiles?.get(program.name)?.[launch] ?? { calls: 0, items: 0, nanoseconds: 0 }),
      })),
    );
  }

  #took(program: string, dispatches: readonly Dispatch[], nanoseconds: readonly number[]): void {
    for (const [i, { launch, words }] of dispatches.entries()) {
      const profile = launch === undefined ? undefined : this.#profiles!.get(program)![launch]!;
      if (profile === undefined) continue;
      // Runs of one launch have the same words.
      if (words !== dispatches[i - 1]?.words) {
        profile.calls++;
        profile.items += words[0]!;
      }
      profile.nanoseconds += nanoseconds[i]!;
    }
  }

  /** One pass, one submit. @returns what gives the time of each dispatch, where that is taken: they have passes of their own */
  #encode(dispatches: readonly Dispatch[]): (() => Promise<number[]>) | undefined {
    const { stride } = this.#pipelines;
    const uniforms = new Int32Array((dispatches.length * stride) / 4);
    const encoder = this.gpu.createCommandEncoder();
    const timestamps = this.#profiles === undefined ? undefined : new Timestamps(this.gpu, dispatches.length);
    let pass = timestamps === undefined ? encoder.beginComputePass() : undefined;
    const most = this.gpu.limits.maxComputeWorkgroupsPerDimension;
    for (const [i, { grids, words }] of dispatches.entries()) {
      uniforms.set(words, (i * stride) / 4);
      if (timestamps !== undefined) {
        pass?.end();
        pass = encoder.beginComputePass({ timestampWrites: timestamps.of(i) });
      }
      pass!.setBindGroup(0, this.#group!, [i * stride]);
      for (const { need, groups } of grids) {
        if (groups === 0) continue;
        pass!.setPipeline(this.#pipelines.get(need));
        const y = Math.ceil(groups / most);
        pass!.dispatchWorkgroups(Math.ceil(groups / y), y);
      }
    }
    pass?.end();
    const timed = timestamps?.resolve(encoder);
    this.gpu.queue.writeBuffer(this.#uniforms, 0, uniforms);
    this.gpu.queue.submit([encoder.finish()]);
    return timed;
  }

  /** Copies of parts of a buffer, one after the other in one transfer. */
  async #readBack(from: GPUBuffer, parts: readonly { at: number; words: number }[]): Promise<Uint32Array[]> {
    const total = parts.reduce((sum, { words }) => sum + words, 0);
    if (total === 0) {
      await this.#watch.of(this.gpu.queue.onSubmittedWorkDone());
      return parts.map(() => new Uint32Array(0));
    }
    const staging = this.gpu.createBuffer({
      size: total * 4,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    const encoder = this.gpu.createCommandEncoder();
    let at = 0;
    for (const part of parts) {
      if (part.words > 0) encoder.copyBufferToBuffer(from, part.at * 4, staging, at * 4, part.words * 4);
      at += part.words;
    }
    this.gpu.queue.submit([encoder.finish()]);
    await this.#watch.of(staging.mapAsync(GPUMapMode.READ));
    const all = new Uint32Array(staging.getMappedRange().slice(0));
    staging.destroy();
    at = 0;
    return parts.map(({ words }) => all.subarray(at, (at += words)));
  }
}
