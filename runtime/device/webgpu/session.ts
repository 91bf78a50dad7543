/** A package on WebGPU: one arena for what a call needs, one buffer of params and states, one of caches; words of 32 bits. */
import { elementsOf, type LaunchProgram, type Sizes, sizeOf } from "../../program/launch.ts";
import { SHORTLIST } from "../../program/shortlist.ts";
import type { Asked, Shortlist } from "../choice.ts";
import { type Logits, planShortlists, shortlistsOf } from "../shortlist.ts";
import { borderOf, checkElements, dimsOf, inputsOf, outputsOf } from "../elements.ts";
import { Plans } from "../plans.ts";
import type { Call, Elements, LaunchProfile, MemoryUse, ProfilingSession, Shortlists, StoreSpec } from "../session.ts";
import { keptBy } from "../stores.ts";
import { Buffers, checkBytes } from "./buffers.ts";
import { type Dispatch, dispatchesOf, type Loaded } from "./dispatches.ts";
import { checkWorkgroups, count, largestBinding } from "./limits.ts";
import { DeviceWatch } from "./loss.ts";
import { type Layout, planWords } from "./layout.ts";
import { isKept, type Kept, keptElements, keptWords, placesOf } from "./kept.ts";
import { isFloat16, PACKED, Pipelines, type Sources, spaceOf } from "./pipelines.ts";

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
  readonly #buffers: Buffers;
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
    this.#pipelines = new Pipelines({ ...options, kernels: [...kernels, SHORTLIST] });
    const { stores, cacheRowBytes } = keptBy(programs);
    this.programs = programs.map(({ name }) => name);
    this.stores = stores;
    this.cacheRowBytes = cacheRowBytes;
    this.cacheRows = cacheRows;
    const named = new Map(kernels.map((kernel) => [kernel.name, kernel]));
    this.#kept = placesOf(stores, programs, named, (options.partBytes ?? largestBinding(device).bytes) / 4);
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
    checkBytes(device, cacheWords * 4, (most) => {
      const rows = Math.floor((most / (cacheWords * 4)) * cacheRows);
      return [`${count(cacheRows)} rows of caches need`, `${count(rows)} rows fit`];
    });
    this.#buffers = new Buffers(device, this.#watch, this.#pipelines, [...this.#kept.values()], cacheWords);
    this.#profiles = options.profile
      ? new Map(
          programs.map(({ name, launches }) => [name, launches.map(() => ({ calls: 0, items: 0, nanoseconds: 0 }))]),
        )
      : undefined;
  }

  async run(call: Call, signal?: AbortSignal): Promise<Readonly<Record<string, Elements>>> {
    const { outputs } = await this.#call(call, undefined, signal);
    return outputs;
  }

  async shortlist(call: Call, asked: readonly Asked[], known?: number): Promise<Shortlists> {
    const { outputs, lists } = await this.#call({ outputs: [], ...call }, { asked, known });
    return { outputs, lists: lists! };
  }

  /** @param wanted asks for shortlists of the logits: what they need follows the scratch arrays in the arena */
  async #call(
    call: Call,
    wanted: { readonly asked: readonly Asked[]; readonly known: number | undefined } | undefined,
    signal?: AbortSignal,
  ): Promise<{ outputs: Readonly<Record<string, Elements>>; lists: readonly Shortlist[] | undefined }> {
    signal?.throwIfAborted();
    const loaded = this.#program(call.program);
    const { program, border } = loaded;
    dimsOf(program, call.sizes);
    const inputs = inputsOf(border, call.sizes, call.inputs);
    const outputs = outputsOf(border, call.sizes, call.outputs);
    const layout = this.#layout(loaded, call.sizes);
    const logits = wanted === undefined ? undefined : logitsOf(loaded, call.sizes, layout, wanted.known);
    const plan = logits === undefined ? undefined : planShortlists(wanted!.asked, logits, layout.words);
    const words = plan?.words ?? layout.words;
    checkBytes(this.gpu, words * 4, () => ["the arena of the call needs", this.#thatFits(loaded, call.sizes)]);
    const dispatches = dispatchesOf(loaded, call.sizes, layout);
    const parts = outputs.map(({ buffer, elements }) => ({ at: layout.offsets[buffer]!, words: elements.length }));
    if (plan !== undefined) {
      const need = { kernel: SHORTLIST.name, entry: "main", spaces: [] };
      dispatches.push({ grids: [{ need, groups: wanted!.asked.length }], words: plan.launch });
      parts.push(plan.answers);
    }
    // Whoever called may change the inputs while this waits for its turn.
    const written = inputs.map(({ buffer, elements }) => ({
      at: layout.offsets[buffer]!,
      words: asWords(elements.slice(), program.buffers[buffer]!.dtype),
    }));
    if (plan !== undefined) written.push({ at: plan.at, words: plan.written });
    const handedOver = this.#turn.then(async () => {
      await this.#watch.of(this.#pipelines.make(dispatches.flatMap(({ grids }) => grids.map(({ need }) => need))));
      signal?.throwIfAborted();
      this.#highWater = Math.max(this.#highWater, words * 4);
      this.#buffers.reserve(words, dispatches.length);
      const { arena } = this.#buffers;
      for (const { at, words: own } of written) this.gpu.queue.writeBuffer(arena, at * 4, own);
      const timed = this.#encode(dispatches);
      const given = this.#buffers.read(arena, parts);
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
      lists: plan === undefined ? undefined : shortlistsOf(wanted!.asked, given.at(-1)!, logits!.known),
    };
  }

  async read(store: string): Promise<Elements> {
    const kept = this.#store(store);
    const [words] = await this.#buffers.read(this.#buffers.stores[kept.part]!, [kept]);
    return keptElements(kept, words!);
  }

  write(store: string, elements: Elements): void {
    this.#watch.check();
    const kept = this.#store(store);
    checkElements(store, kept.spec.dtype, elementsOf(kept.spec, {}), elements);
    if (elements.length > 0)
      this.gpu.queue.writeBuffer(this.#buffers.stores[kept.part]!, kept.at * 4, keptWords(kept, elements));
  }

  memory(): MemoryUse {
    return {
      arenaBytes: this.#buffers.arena.size,
      arenaHighWater: this.#highWater,
      storeBytes: [...this.#kept.values()].reduce((sum, { words }) => sum + words * 4, 0),
      cacheBytes: this.#buffers.caches.size,
    };
  }

  close(): void {
    this.#watch.close();
    this.#buffers.destroy();
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
      pass!.setBindGroup(0, this.#buffers.group, [i * stride]);
      for (const { need, groups } of grids) {
        if (groups === 0) continue;
        pass!.setPipeline(this.#pipelines.get(need));
        const y = Math.ceil(groups / most);
        pass!.dispatchWorkgroups(Math.ceil(groups / y), y);
      }
    }
    pass?.end();
    const timed = timestamps?.resolve(encoder);
    this.gpu.queue.writeBuffer(this.#buffers.uniforms, 0, uniforms);
    this.gpu.queue.submit([encoder.finish()]);
    return timed;
  }
}

/** @throws Error for a program that gives none */
function logitsOf({ program }: Loaded, sizes: Sizes, layout: Layout, known = Infinity): Logits {
  const buffer = program.buffers.findIndex(({ kind, name }) => kind === "output" && name === "logits");
  if (buffer < 0) throw new Error(`the program ${program.name} gives no logits`);
  const vocabulary = sizeOf(program.buffers[buffer]!.shape[1]!, sizes);
  return { at: layout.offsets[buffer]!, vocabulary, known: Math.min(known, vocabulary) };
}
