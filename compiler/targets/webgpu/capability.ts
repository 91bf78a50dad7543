import type { Capability } from "../../kernel-ir/capability.ts";

/** Optional features of an adapter. */
export interface WebGpuFeatures {
  readonly subgroups: boolean;
  readonly f16: boolean;
  readonly timestamps: boolean;
}

/**
 * What kernels for WebGPU may ask for: the limits that every device has (W3C, WebGPU, section Limits), with more storage buffers
 * per stage than those. There is no f64, no 64-bit index, and memory is
 * made of words of 32 bits: small floats and bools that kernels write take one each, codes are only read. Several parts of one buffer may be bound, but not both read-only and writable: so the arena is
 * bound once, as a whole; locals that are large, or of a size of the call, lie in it.
 */
export function webGpu({ subgroups, f16, timestamps }: WebGpuFeatures): Capability {
  return {
    target: "webgpu",
    families: ["rows", "gemm", "columns", "plane", "serial", "parts"],
    vectors: [1],
    threads: 256,
    itemBytes: Infinity,
    ...(subgroups ? { subgroup: { least: 4, most: 128 } } : {}),
    runTimeLocals: true,
    bindings: 12,
    arenaIsOne: true,
    largestBuffer: 256 * 1024 ** 2,
    largestBinding: 128 * 1024 ** 2,
    alignment: 256,
    stored: ["f32", "i32", "bf16", "f16", "bool"],
    computed: f16 ? ["f32", "f16", "i32", "bool", "index"] : ["f32", "i32", "bool", "index"],
    atomics: ["i32"],
    timestamps,
  };
}
