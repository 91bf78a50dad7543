import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CudaAddon } from "./cuda.ts";

/** What the addon (`src/`, C++) offers. Arguments are checked there: nothing wrong in them ends the process. */
export interface Addon extends CudaAddon {
  readonly Session: new (options: NativeOptions) => NativeSession;
  /** The best variant of kernels that this processor runs (runtime/program/variants.ts); empty when there is none. */
  isa(): string;
  /** Bytes that sessions of this process reserved and nobody touched: the system counts them as available. */
  untouchedBytes(): number;
}

export interface NativeOptions {
  /** A library of kernels (templates/cpu/abi.h). */
  readonly library: string;
  /** Of type `LaunchProgram`; the kernels that they name must be in the library and take what they give. */
  readonly programs: readonly object[];
  /** Params and states that lie in files: mapped, copied when they are written. */
  readonly mappings: readonly { readonly store: string; readonly file: string; readonly offset: number }[];
  /** Physical rows of each cache. */
  readonly cacheRows: number;
  /** How many threads share a launch. */
  readonly threads: number;
  /** Takes the time of every launch. */
  readonly profile: boolean;
}

/** Tokens to be chosen when the launches of a call are over. */
export interface NativeChoices {
  /**
   * The output that has the logits f32[B, V], below which number tokens can be chosen, and by choice: row, temperature, topK, topP,
   * ln(minP), frequencyPenalty, presencePenalty, repetitionPenalty, the two words of the noise, how many alternatives are told (-1
   * for no log-probabilities), how many tokens penalties are about, how many biases there are; then those tokens, how often each
   * was generated, the tokens that have biases, and these.
   */
  readonly wanted: Float64Array;
  /**
   * Written before the promise settles. By choice: the token, or -1 when logits are no numbers; when alternatives are told, the
   * log-probability of the token and those of the alternatives, each behind its token.
   */
  readonly chosen: Float64Array;
}

/** A package in memory. Calls run one after the other on a thread of the session, helped by the threads of the process. */
export interface NativeSession {
  /**
   * Runs all launches of a program. Inputs are copied at once, outputs are written before the promise settles; arrays
   * belong to the buffers of the same index. `sizes` are the run-time dims in the program's order, `offsets` where each
   * temp lies in the arena. The promise says false when the call was cancelled.
   */
  run(
    id: number,
    program: number,
    sizes: Float64Array,
    offsets: Float64Array,
    arenaBytes: number,
    inputBuffers: Float64Array,
    inputs: readonly ArrayBufferView[],
    outputBuffers: Float64Array,
    outputs: readonly ArrayBufferView[],
    wanted?: Float64Array,
    chosen?: Float64Array,
  ): Promise<boolean>;
  /** Ends a call before its next launch. */
  cancel(id: number): void;
  /** Bytes of scratch memory of all threads in a call with such sizes, which chooses among so many tokens (0: it does not). */
  scratchBytes(program: number, sizes: Float64Array, tokens: number): number;
  /** Fills an array of exactly its size with a param or state. @throws Error while a call is under way */
  read(store: string, into: ArrayBufferView): void;
  /** Overwrites a param or state. @throws Error while a call is under way */
  write(store: string, elements: ArrayBufferView): void;
  /** The index of the first element of a param or state that is NaN or infinite, -1 when there is none. @throws Error while a call is under way */
  firstNonFinite(store: string, dtype: string): number;
  memory(): Readonly<
    Record<
      "arenaBytes" | "arenaHighWater" | "scratchBytes" | "transferBytes" | "storeBytes" | "mappedBytes" | "cacheBytes",
      number
    >
  >;
  /** By program: calls, work items and nanoseconds of every launch, one after the other. */
  profile(): Float64Array[];
  /** Ends all calls; memory goes when the launch that runs is over. */
  close(): void;
}

let loaded: Addon | undefined;

/** The addon, loaded at first use. @throws Error that says how to build it */
export function addon(): Addon {
  loaded ??= load();
  return loaded;
}

function load(): Addon {
  const path = find();
  if (path === undefined) {
    throw new Error(
      "the native addon is not built: run `npm run build` where dskc is installed, which says what it lacks (a C++ compiler: `apt install g++`)",
    );
  }
  return createRequire(import.meta.url)(path) as Addon;
}

/** `dist/dskc.node`, from the sources and from the bundle alike. */
function find(): string | undefined {
  for (let directory = dirname(fileURLToPath(import.meta.url)); ; directory = dirname(directory)) {
    const path = join(directory, "dist", "dskc.node");
    if (existsSync(path)) return path;
    if (directory === dirname(directory)) return undefined;
  }
}
