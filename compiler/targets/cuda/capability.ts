import { STORAGE_BYTES, type StorageType } from "../../../runtime/program/launch.ts";
import type { Capability } from "../../kernel-ir/capability.ts";

/**
 * What kernels for Hopper may ask for (CUDA C++ Programming Guide, compute capability 9.0). Arguments are pointers, so the arena
 * is many buffers and nothing has to lie anywhere.
 */
export const CUDA: Capability = {
  target: "cuda",
  families: ["rows", "gemm", "columns", "plane", "serial", "parts"],
  vectors: [1],
  threads: 1024,
  // What has no room in shared memory lies in the arena.
  itemBytes: Infinity,
  subgroup: { least: 32, most: 32 },
  runTimeLocals: true,
  // Parameters of a kernel take at most 4 KiB (32 764 bytes from compute capability 7.0 on).
  bindings: 480,
  arenaIsOne: false,
  largestBuffer: Infinity,
  largestBinding: Infinity,
  alignment: 16,
  // Two of i4 lie in a byte.
  stored: (Object.keys(STORAGE_BYTES) as StorageType[]).filter((dtype) => dtype !== "i4"),
  computed: ["f64", "f32", "i32", "bool", "index"],
  // There are some on floats, but results must not depend on an order.
  atomics: ["i32"],
  timestamps: true,
};
