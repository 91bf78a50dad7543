import { existsSync } from "node:fs";
import { join } from "node:path";
import { addon, type NativeChoices, type NativeSession } from "../../native/addon.ts";
import { ALIGNMENT, type ArenaPlan, planArena } from "../../program/arena.ts";
import { elementsOf, type LaunchProgram, sizeOf, type Sizes, STORAGE_BYTES } from "../../program/launch.ts";
import { readPrograms } from "../../program/read.ts";
import { selectPrograms } from "../../program/select.ts";
import { type CpuVariant, libraryOf, variantsFor } from "../../program/variants.ts";
import {
  type Border,
  borderOf,
  checkElements,
  dimsOf,
  type Given,
  inputsOf,
  newElements,
  outputsOf,
} from "../elements.ts";
import { Plans } from "../plans.ts";
import type { Choice } from "../choice.ts";
import {
  type Call,
  type Elements,
  type HostSession,
  type LaunchProfile,
  MemoryError,
  type MemoryUse,
  type Outcome,
  type ProfilingSession,
  type StoreSpec,
} from "../session.ts";
import { bytesOf, keptBy } from "../stores.ts";
import type { FilePlace } from "../place-tensors.ts";
import { nativeChoices, sampledBy } from "./choices.ts";
import { availableMemory, availableThreads } from "./limits.ts";

export interface CpuOptions {
  /** The programs to load: those of the package by the names that calls use. All of them by their own when not given. */
  readonly programs?: Readonly<Record<string, string>>;
  /** Physical rows of each cache; 1024 when not given. */
  readonly cacheRows?: number;
  /** Threads that share a launch; as many as the process may use processors when not given. Results do not depend on it. */
  readonly threads?: number;
  /**
   * Params and states whose values are in files: nothing is copied, and the files never change. They must stay as they are
   * while the session is open. What training writes needs memory that is not reserved here.
   */
  readonly mapped?: Readonly<Record<string, FilePlace>>;
  /** Bytes that the session may allocate. */
  readonly memoryLimit?: number;
  /** Takes the time of every launch. */
  readonly profile?: boolean;
  /** Kernels of another instruction set than the best that the machine has. */
  readonly variant?: CpuVariant;
}

export interface CpuMemoryUse extends MemoryUse {
  /** Scratch memory of all threads. */
  readonly scratchBytes: number;
  /** Inputs and outputs of the largest call. */
  readonly transferBytes: number;
  /** Of mapped stores; not part of `storeBytes`. */
  readonly mappedBytes: number;
}

export interface CpuSession extends HostSession, ProfilingSession {
  read(store: string): Elements;
  memory(): CpuMemoryUse;
  /** The index of the first element of a param or state that is NaN or infinite; -1 when there is none. */
  firstNonFinite(store: string): number;
}

/**
 * Loads the package of a directory: `program.json` and `kernels/*.so`. Params and states that are not mapped, and caches, are
 * zero.
 * @throws Error for a package that is broken or not for this machine; MemoryError
 */
export function openCpuSession(directory: string, options: CpuOptions = {}): CpuSession {
  return new PackageOnCpu(directory, options);
}

interface Loaded {
  readonly index: number;
  readonly program: LaunchProgram;
  readonly border: Border;
  readonly plans: Plans<ArenaPlan>;
}

class PackageOnCpu implements CpuSession {
  readonly device = "cpu";
  readonly programs: readonly string[];
  readonly stores: readonly StoreSpec[];
  readonly cacheRowBytes: number;
  readonly cacheRows: number;
  readonly #programs: ReadonlyMap<string, Loaded>;
  readonly #native: NativeSession;
  readonly #memoryLimit: number;
  /** What calls so far were promised: it is allocated when it is their turn. */
  readonly #promised = { arena: 0, scratch: 0, outputs: 0 };
  /** Arena offsets as the addon takes them. */
  readonly #offsets = new WeakMap<ArenaPlan, Float64Array>();
  #kept = 0;
  #calls = 0;

  constructor(directory: string, options: CpuOptions) {
    const { cacheRows = 1024, threads = availableThreads(), mapped = {}, memoryLimit = Infinity } = options;
    const library = libraryFor(directory, options.variant);
    const all = readPrograms(join(directory, "program.json"));
    const programs = options.programs === undefined ? all : selectPrograms(all, options.programs);
    const { stores, cacheRowBytes } = keptBy(programs);
    this.programs = programs.map(({ name }) => name);
    this.stores = stores;
    this.cacheRowBytes = cacheRowBytes;
    this.cacheRows = cacheRows;
    this.#memoryLimit = memoryLimit;
    this.#programs = new Map(
      programs.map((program, index) => [
        program.name,
        { index, program, border: borderOf(program), plans: new Plans(program, (sizes) => planArena(program, sizes)) },
      ]),
    );
    const own = stores.filter(({ name }) => !Object.hasOwn(mapped, name)).map((spec) => aligned(bytesOf(spec)));
    this.#reserve(`params, states and ${cacheRows} rows of caches`, sum(own) + cacheRows * cacheRowBytes);
    this.#native = new (addon().Session)({
      library,
      programs,
      mappings: Object.entries(mapped).map(([store, { file, offset }]) => ({ store, file, offset })),
      cacheRows,
      threads,
      profile: options.profile ?? false,
    });
  }

  async run(call: Call, signal?: AbortSignal): Promise<Readonly<Record<string, Elements>>> {
    return this.#run(call, undefined, signal);
  }

  reserve(program: string, sizes: Sizes): void {
    const { index, program: launched, border, plans } = this.#program(program);
    const scratch = this.#native.scratchBytes(index, Float64Array.from(dimsOf(launched, sizes)), 0);
    this.#promise(border, sizes, plans.of(sizes), scratch);
  }

  async choose(call: Call, choices: readonly Choice[], known?: number): Promise<Outcome> {
    if (choices.length === 0) return { outputs: await this.#run(call), chosen: [] };
    const { program, border } = this.#program(call.program);
    const logits = border.outputs.find(({ spec }) => spec.name === "logits");
    if (logits === undefined) throw new Error(`program ${program.name}: there is no output logits`);
    const vocabulary = sizeOf(logits.spec.shape[1]!, call.sizes);
    const tokens = Math.min(known ?? vocabulary, vocabulary);
    const native = nativeChoices(logits.buffer, tokens, choices);
    const outputs = await this.#run(call, { ...native, tokens });
    return { outputs, chosen: sampledBy(native.chosen, tokens, choices) };
  }

  async #run(
    call: Call,
    choices?: NativeChoices & { readonly tokens: number },
    signal?: AbortSignal,
  ): Promise<Readonly<Record<string, Elements>>> {
    signal?.throwIfAborted();
    const { index, program, border, plans } = this.#program(call.program);
    const dims = Float64Array.from(dimsOf(program, call.sizes));
    const inputs = inputsOf(border, call.sizes, call.inputs);
    const plan = plans.of(call.sizes);
    const scratch = this.#native.scratchBytes(index, dims, choices?.tokens ?? 0);
    const outputs = outputsOf(border, call.sizes, call.outputs);
    this.#promise(border, call.sizes, plan, scratch);
    const id = this.#calls++;
    const done = this.#native.run(
      id,
      index,
      dims,
      this.#offsetsOf(plan),
      plan.bytes,
      ...columns(inputs),
      ...columns(outputs),
      choices?.wanted,
      choices?.chosen,
    );
    const cancel = (): void => this.#native.cancel(id);
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      if (!(await done)) throw signal?.reason;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
    return Object.fromEntries(outputs.map(({ name, elements }) => [name, elements]));
  }

  read(store: string): Elements {
    const { dtype, shape } = this.#store(store);
    const elements = newElements(dtype, product(shape));
    this.#native.read(store, elements);
    return elements;
  }

  write(store: string, elements: Elements): void {
    const { dtype, shape } = this.#store(store);
    checkElements(store, dtype, product(shape), elements);
    this.#native.write(store, elements);
  }

  firstNonFinite(store: string): number {
    return this.#native.firstNonFinite(store, this.#store(store).dtype);
  }

  memory(): CpuMemoryUse {
    return this.#native.memory();
  }

  profile(): LaunchProfile[] {
    const timings = this.#native.profile();
    return [...this.#programs.values()].flatMap(({ index, program }) =>
      program.launches.map(({ kernel, note }, i) => ({
        program: program.name,
        kernel,
        ...(note === undefined ? {} : { note }),
        calls: timings[index]![3 * i]!,
        items: timings[index]![3 * i + 1]!,
        nanoseconds: timings[index]![3 * i + 2]!,
      })),
    );
  }

  close(): void {
    this.#native.close();
  }

  #program(name: string): Loaded {
    const loaded = this.#programs.get(name);
    if (loaded === undefined) throw new Error(`there is no program ${name}`);
    return loaded;
  }

  #store(name: string): StoreSpec {
    const store = this.stores.find((spec) => spec.name === name);
    if (store === undefined) throw new Error(`there is no param or state ${name}`);
    return store;
  }

  #offsetsOf(plan: ArenaPlan): Float64Array {
    let offsets = this.#offsets.get(plan);
    if (offsets === undefined) this.#offsets.set(plan, (offsets = Float64Array.from(plan.offsets)));
    return offsets;
  }

  /** Makes sure that what a call needs beyond the calls before it is there. */
  #promise({ program, outputs }: Border, sizes: Sizes, plan: ArenaPlan, scratch: number): void {
    const bytes = outputs.map(({ spec }) => aligned(elementsOf(spec, sizes) * STORAGE_BYTES[spec.dtype]));
    const wanted = { arena: plan.bytes, scratch, outputs: sum(bytes) };
    const more = (["arena", "scratch", "outputs"] as const).map((of) => Math.max(0, wanted[of] - this.#promised[of]));
    if (sum(more) === 0) return;
    const bound = program.dims.map((dim) => `${dim} = ${sizes[dim]}`).join(", ");
    this.#reserve(`program ${program.name}${bound === "" ? "" : ` with ${bound}`}`, sum(more));
    for (const of of ["arena", "scratch", "outputs"] as const)
      this.#promised[of] = Math.max(this.#promised[of], wanted[of]);
  }

  /** @throws MemoryError when there is not so much */
  #reserve(what: string, bytes: number): void {
    const machine = availableMemory();
    const free = machine.bytes - addon().untouchedBytes();
    const left = this.#memoryLimit - this.#kept;
    const [available, bound] = left < free ? [left, "under the session's memory limit"] : [free, machine.bound];
    if (bytes > available) {
      throw new MemoryError(
        `${what} need${what.startsWith("program") ? "s" : ""} ${count(bytes)} bytes of memory, only ${count(Math.max(0, available))} are available ${bound}`,
      );
    }
    this.#kept += bytes;
  }
}

function libraryFor(directory: string, chosen?: CpuVariant): string {
  const isa = addon().isa() as CpuVariant | "";
  if (isa === "") throw new Error("this processor is too old: kernels need x86-64-v2 or arm64");
  const usable = chosen === undefined ? variantsFor(isa) : [chosen];
  if (chosen !== undefined && !variantsFor(isa).includes(chosen))
    throw new Error(`kernels for ${chosen} do not run on this processor, which is ${isa}`);
  const found = usable.map((variant) => join(directory, libraryOf(variant))).find((path) => existsSync(path));
  if (found === undefined) {
    throw new Error(
      `${directory} has no kernels for this processor (${usable.map(libraryOf).join(" or ")}): build the package here, or for ${isa}`,
    );
  }
  return found;
}

function columns(given: readonly Given[]): [Float64Array, Elements[]] {
  return [Float64Array.from(given, ({ buffer }) => buffer), given.map(({ elements }) => elements)];
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

function count(bytes: number): string {
  return bytes.toLocaleString("en-US");
}
