/** What the addon offers of CUDA (`src/cuda`). Arguments are checked there. */

export interface CudaAddon {
  readonly CudaSession: new (options: NativeCudaOptions) => NativeCudaSession;
  /** The driver and its GPUs. @throws NativeCudaError with the code `none` where there is no driver */
  cudaDevices(): { readonly driverVersion: number; readonly devices: readonly CudaDevice[] };
  /** NVRTC, or what was looked for. */
  nvrtc(): { readonly name: string; readonly major: number; readonly minor: number } | { readonly problem: string };
  /** Compiles CUDA C++ to a cubin on a thread of the pool. @throws Error with what the compiler says */
  compileCuda(source: string, name: string, options: readonly string[]): Promise<Uint8Array>;
}

/** A failure that the driver told: `none` there is no driver, `memory`, `lost` nothing works any more, `device` all others. */
export interface NativeCudaError extends Error {
  readonly code: "none" | "memory" | "lost" | "device";
}

export interface CudaDevice {
  readonly name: string;
  readonly memoryBytes: number;
  /** Compute capability. */
  readonly major: number;
  readonly minor: number;
  /** Streaming multiprocessors. */
  readonly processors: number;
  /** The most shared memory of a block. */
  readonly sharedBytes: number;
}

export interface NativeCudaOptions {
  /** The ordinal of the GPU. */
  readonly device: number;
  /** Cubins. */
  readonly images: readonly { readonly name: string; readonly data: Uint8Array }[];
  readonly entries: readonly NativeCudaEntry[];
  /** What errors call each launch. */
  readonly programs: readonly { readonly name: string; readonly launches: readonly string[] }[];
  /** Places in the memory of params and states. */
  readonly stores: readonly { readonly name: string; readonly offset: number; readonly bytes: number }[];
  readonly storeBytes: number;
  readonly cacheBytes: number;
  /** Takes the time of every launch. */
  readonly profile: boolean;
  /** Waits for every launch, so that an error names the one that made it. */
  readonly check: boolean;
}

/** An entry point of a module. */
export interface NativeCudaEntry {
  /** Of the images. */
  readonly module: number;
  readonly symbol: string;
  /** Of a block. */
  readonly threads: number;
  /** Bytes of dynamic shared memory. */
  readonly shared: number;
  /** Parameters: ints first, then pointers, then tensor maps, then a table of lists. */
  readonly ints: number;
  readonly pointers: number;
  readonly maps: readonly NativeTensorMap[];
  readonly lists?: NativeLists;
}

/** A table of lists (`Lists` in templates/cuda/dsk.cuh): how many it has room for, and pointers of each. */
export interface NativeLists {
  readonly most: number;
  readonly args: number;
}

/** What a tensor map has whatever the launch; type and swizzle are numbers of the driver API (src/cuda/api.h). */
export interface NativeTensorMap {
  /** Which pointer says where it lies. */
  readonly pointer: number;
  readonly type: number;
  readonly swizzle: number;
  readonly box: readonly number[];
}

/** A package on a GPU. Calls run one after the other, handed to the driver by a thread of the session. */
export interface NativeCudaSession {
  /**
   * Runs launches: of each its index in the program (-1 for none), the entry, the blocks, the ints, a memory (0 arena, 1 params and
   * states, 2 caches) and an offset for each pointer, and of each tensor map the sizes of its dims and the strides in bytes; of a table of
   * lists how many there are and how many blocks they have, and of each its first block, its elements, and its pointers as above. Inputs
   * are copied at once, outputs are written before the promise settles; both lie in the arena at the offsets of the same index.
   * @param graph whether calls with the same entries become a graph
   * @returns false when the call was cancelled
   * @throws NativeCudaError
   */
  run(
    id: number,
    program: number,
    launches: Float64Array,
    arenaBytes: number,
    graph: boolean,
    inputOffsets: Float64Array,
    inputs: readonly ArrayBufferView[],
    outputOffsets: Float64Array,
    outputs: readonly ArrayBufferView[],
  ): Promise<boolean>;
  /** Ends a call before its next launch; a graph runs to its end. */
  cancel(id: number): void;
  /** Fills an array of exactly its size with a param or state. @throws Error while a call is under way */
  read(store: string, into: ArrayBufferView): void;
  /** @throws Error while a call is under way */
  write(store: string, elements: ArrayBufferView): void;
  /** The index of the first element that is NaN or infinite, -1 for none. @throws Error while a call is under way */
  firstNonFinite(store: string, dtype: string): number;
  /** Bytes of the GPU that nobody has, and all of them. */
  freeMemory(): readonly [free: number, total: number];
  usage(): Readonly<
    Record<"arenaBytes" | "storeBytes" | "cacheBytes" | "graphsMade" | "graphsLaunched" | "graphsChanged", number>
  >;
  /** By program: calls and nanoseconds of every launch, one after the other. */
  profile(): Float64Array[];
  /** Ends all calls; memory goes when what runs is over. */
  close(): void;
}
