/** What lowering and printing may ask of a target. A target states it in one record; nobody asks for its name. */
import type { StorageType } from "../../runtime/program/launch.ts";
import type { Kernel, ScalarType } from "./types.ts";

export interface Capability {
  /** For messages. */
  readonly target: string;
  /** Families that it prints; without `parts`, every kernel has a launch of its own. */
  readonly families: readonly Kernel["family"][];
  /** f32 that one instruction computes, by instruction set; [1] where vectors are threads. */
  readonly vectors: readonly number[];
  /** Threads that run one work item together; 1 where an item is run by one thread. */
  readonly threads: number;
  /** Bytes that the threads of an item share, for its locals and tiles; Infinity where they are ordinary memory. */
  readonly itemBytes: number;
  /** Threads of a workgroup that exchange values in registers, fewest and most; undefined where they can't. */
  readonly subgroup?: { readonly least: number; readonly most: number };
  /** Whether a local may have a size that only a call knows. Planes are no such locals: a target runs along them as it can. */
  readonly runTimeLocals: boolean;
  /** Buffers that one kernel may read or write. Extents are none. */
  readonly bindings: number;
  /** Whether the arena is one of them, and temps are places in it; else each temp is one. */
  readonly arenaIsOne: boolean;
  /** Bytes of the largest buffer, and of the part of one that a kernel sees. */
  readonly largestBuffer: number;
  readonly largestBinding: number;
  /** What an offset into a buffer is a multiple of, in bytes. */
  readonly alignment: number;
  /** dtypes whose elements a kernel may write one by one. Others lie in words with their neighbors: they can only be read. */
  readonly stored: readonly StorageType[];
  /** dtypes that it computes in. */
  readonly computed: readonly ScalarType[];
  /** dtypes that several items may add to. Without them sums over rows that are not known belong to one item. */
  readonly atomics: readonly StorageType[];
  /** Whether launches can be timed on the device. */
  readonly timestamps: boolean;
}
