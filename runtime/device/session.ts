import type { Quantized, Sizes, StorageType } from "../program/launch.ts";
import type { Asked, Choice, Sampled, Shortlist } from "./choice.ts";

/**
 * Elements in memory order: Float32Array for f32, Int32Array for i32, Uint16Array for the bits of bf16 and f16, Uint8Array for
 * bool, Int8Array for i8, Uint8Array with two elements in each byte for i4.
 */
export type Elements = Float32Array | Float64Array | Int32Array | Int8Array | Uint16Array | Uint8Array;

/** What a device cannot do for what it was asked: there is none, it is too small, it is gone. The message says what helps. */
export class DeviceError extends Error {}

/** More memory is needed than there is. Nothing was allocated. */
export class MemoryError extends DeviceError {}

/** The device is gone, and with it all that was in its memory: params, states, caches. Only opening it anew helps. */
export class DeviceLostError extends DeviceError {}

export interface Call {
  readonly program: string;
  /** The run-time dims: `T`, `S`, `B`. */
  readonly sizes: Sizes;
  readonly inputs: Readonly<Record<string, Elements>>;
  /** Outputs that are wanted; all of them when not given. */
  readonly outputs?: readonly string[];
}

export interface Outcome {
  readonly outputs: Readonly<Record<string, Elements>>;
  /** What was chosen, in the order of the choices; undefined where a logit is NaN, or none is finite. */
  readonly chosen: readonly (Sampled | undefined)[];
}

export interface Shortlists {
  readonly outputs: Readonly<Record<string, Elements>>;
  /** In the order in which they were asked for. */
  readonly lists: readonly Shortlist[];
}

/** A param or a state of a package. */
export interface StoreSpec {
  readonly name: string;
  readonly kind: "param" | "state";
  readonly dtype: StorageType;
  readonly shape: readonly number[];
  /** Of codes: where their scales are. */
  readonly quantized?: Quantized;
}

export interface MemoryUse {
  /** The plan's figure for the largest call so far. */
  readonly arenaBytes: number;
  /** The highest byte of the arena that a launch was given, plus one. */
  readonly arenaHighWater: number;
  readonly storeBytes: number;
  readonly cacheBytes: number;
}

/**
 * A package that is loaded on a device: its programs, and the params, states and caches that they share. Trainer and server
 * know a device by this only. Calls run one after the other, in the order in which they were made.
 *
 * Inputs of a training or scoring program: `tokens`, `pos`, `seq` (i32[T]; whole sequences one after the other), `target.k`
 * and `ahead.k` (i32[T], -1 for none), scalars (`lr`, `step`, `seed`, `train.x`; arrays of one element). `score` gives
 * `logits` f32[T, V] and `loss.next_token`, the mean.
 *
 * Inputs of `prefill` and `decode`: `tokens`, `pos`, `seq` of the T new tokens; `key.pos`, `key.seq` (i32[S]) of all positions
 * that they may see, the new ones among them, in any order (kept together by sequence and in order of position, sums are the
 * same whatever else is in the call); `cache.slot` (i32[S]), the physical row in the caches of each of these; `cache.row`
 * (i32[T]), the physical row that each new token is written to; `rows` (i32[B]), the tokens whose logits are wanted.
 * Outputs: `logits` f32[B, V], and where the model has look-ahead modules `hidden` f32[T, D].
 *
 * `draft.k` is look-ahead module k: inputs as for `decode`, but `tokens` are those k ahead of `pos`, and `hidden` f32[T, D] is
 * what the model, or the module before, gave at `pos`. Outputs `logits` f32[B, V] of the tokens k + 1 ahead, and `hidden` when
 * there is another module.
 */
export interface Session {
  /** `cpu`, `webgpu`, `cuda`, `reference` */
  readonly device: string;
  readonly programs: readonly string[];
  readonly stores: readonly StoreSpec[];
  /** Bytes of one row of all caches together. */
  readonly cacheRowBytes: number;
  /** Physical rows that each cache has. */
  readonly cacheRows: number;
  /**
   * Inputs that the program does not use are ignored, and inputs may be changed once this has returned.
   * @throws Error when an input is missing or has a wrong size, or there is too little memory; the signal's reason when it is
   * aborted between launches: what the call updates may then be half updated
   */
  run(call: Call, signal?: AbortSignal): Promise<Readonly<Record<string, Elements>>>;
  /**
   * Makes sure that there is memory for calls of these sizes. Devices without it tell when a call is made.
   * @throws MemoryError
   */
  reserve?(program: string, sizes: Sizes): void;
  /**
   * Runs a call and chooses tokens by its `logits`, which only leave the device when they are among its outputs. Devices without it
   * are helped by runtime/serve/sampling/choose.ts, which says what is chosen, to the last bit.
   * @param known tokens below this number can be chosen; all when not given
   * @throws as `run`
   */
  choose?(call: Call, choices: readonly Choice[], known?: number): Promise<Outcome>;
  /**
   * Runs a call and tells enough of its `logits` that tokens can nearly always be chosen without them: what devices without `choose`
   * can do. Outputs are those that the call names.
   * @throws as `run`
   */
  shortlist?(call: Call, asked: readonly Asked[], known?: number): Promise<Shortlists>;
  /**
   * A copy of a param or a state, at once where the device's memory can be reached. Devices may refuse to read and write while
   * a call is under way.
   */
  read(store: string): Elements | Promise<Elements>;
  write(store: string, elements: Elements): void;
  /** The index of the first element of a param or state that is NaN or infinite, -1 when there is none: without a copy. */
  firstNonFinite?(store: string): number;
  memory(): MemoryUse;
  close(): void;
}

/** A session whose memory can be reached at once. */
export interface HostSession extends Session {
  read(store: string): Elements;
}

/** The time of a launch, summed over calls. Of launches that run at once, the first one has the time of all, and the others no calls. */
export interface LaunchProfile {
  readonly program: string;
  readonly kernel: string;
  readonly note?: string;
  readonly calls: number;
  /** Work items. */
  readonly items: number;
  readonly nanoseconds: number;
}

/** A session that takes the time of launches. */
export interface ProfilingSession extends Session {
  /** In the order of programs and launches; all zero unless it was opened for that. */
  profile(): LaunchProfile[];
}
