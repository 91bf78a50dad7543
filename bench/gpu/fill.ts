/** Numbers that are as good as normal ones, made on the GPU, the same as bench/peers/torch_gpu.py makes. */
import type { StorageType } from "../../runtime/program/launch.ts";
import type { SimtKernel } from "../../runtime/program/grids.ts";

const THREADS = 256;
/** Elements of a block. */
const BLOCK = 8 * THREADS;

/** The deviation of the sum of four bytes: its distribution is close to a normal one. */
const DEVIATION = Math.sqrt((4 * (256 ** 2 - 1)) / 12);

/** Two codes of four bits are a byte like any other. */
const TYPES = { bf16: "bf16", f32: "float", f8e4m3: "f8e4m3", i8: "signed char", i4: "signed char" } as const;
type Filled = keyof typeof TYPES;

export const FILLED = new Set<StorageType>(Object.keys(TYPES) as Filled[]);

export function fillName(dtype: StorageType): string {
  return `dskc_fill_${dtype}`;
}

/** The bits of what sums of bytes are multiplied with, for numbers of a deviation: an extent of the launch. */
export function factorBits(deviation: number): number {
  return new Int32Array(Float32Array.of(deviation / DEVIATION).buffer)[0]!;
}

export function fillKernels(): { readonly kernel: SimtKernel; readonly text: string }[] {
  return (Object.keys(TYPES) as Filled[]).map((dtype) => ({
    kernel: {
      name: fillName(dtype),
      args: ["out"],
      writes: ["out"],
      extents: ["N", "SEED", "FACTOR"],
      scratch: [],
      entries: [{ name: "main", workgroupSize: THREADS, workgroups: [{ of: ["N"], by: BLOCK }] }],
    },
    text: `#include "dsk.cuh"

// Four bytes of a hash of the element's number (lowbias32 of Wellons) are added up: integers, so that others find the same numbers.
extern "C" __global__ void __launch_bounds__(${THREADS})
${fillName(dtype)}_main(int items, int items_before, int N, int SEED, int FACTOR, ${TYPES[dtype]}* out) {
  const float factor = bits_float((unsigned)FACTOR);
  for (int part = 0; part < 8; ++part) {
    const long long i = (long long)blockIdx.x * ${BLOCK} + part * ${THREADS} + threadIdx.x;
    if (i >= N) return;
    unsigned h = (unsigned)i + (unsigned)SEED * 0x9e3779b1u;
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu;
    h ^= h >> 16;
    const int sum = (int)(h & 255u) + (int)(h >> 8 & 255u) + (int)(h >> 16 & 255u) + (int)(h >> 24);
    out[i] = static_cast<${TYPES[dtype]}>((float)(sum - 510) * factor);
  }
}
`,
  }));
}
