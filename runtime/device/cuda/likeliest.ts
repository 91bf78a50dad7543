/** The likeliest token of each row of logits, so that logits need not leave the GPU for greedy answers: part of every package. */
import type { SimtKernel } from "../../program/grids.ts";

const THREADS = 256;

/** Logits f32[ROWS, V]; i32[ROWS] for the tokens. */
export const LIKELIEST_CUDA: SimtKernel = {
  name: "dskc_likeliest",
  args: ["logits", "chosen"],
  writes: ["chosen"],
  extents: ["ROWS", "V", "KNOWN"],
  scratch: [],
  entries: [{ name: "main", workgroupSize: THREADS, workgroups: [{ of: ["ROWS"] }] }],
};

/** The lowest of equal tokens below KNOWN; -1 where a logit is NaN, or none is finite, as runtime/serve/sampling/choose.ts. */
export const LIKELIEST_CUDA_TEXT = `// The likeliest token of each row of logits: the lowest of equal ones, -1 where a logit is NaN or none is finite.
#include "dsk.cuh"

// Larger floats have larger keys; NaN, whatever its sign, has the largest.
DSK_INLINE unsigned key_of(float logit) {
  const unsigned bits = float_bits(logit);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0xffffffffu;
  if (bits == 0x80000000u) return 0x80000000u;  // 0 and -0 are equal
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

extern "C" __global__ void __launch_bounds__(${THREADS})
dskc_likeliest_main(int items, int items_before, int ROWS, int V, int KNOWN, const float* __restrict__ logits,
                    int* __restrict__ chosen) {
  constexpr unsigned minus_infinity = 0x007fffffu, infinity = 0xff800000u;
  __shared__ unsigned bests[${THREADS}];
  __shared__ int tokens[${THREADS}];
  const int lane = threadIdx.x;
  const float* const row = logits + (long long)blockIdx.x * V;
  unsigned best = 0;
  int token = -1;
  for (int i = lane; i < KNOWN; i += ${THREADS}) {
    const unsigned key = key_of(row[i]);
    if (key > best) {
      best = key;
      token = i;
    }
  }
  bests[lane] = best;
  tokens[lane] = token;
  for (int step = ${THREADS / 2}; step > 0; step /= 2) {
    __syncthreads();
    if (lane < step) {
      const int other = lane + step;
      if (bests[other] > bests[lane] || (bests[other] == bests[lane] && tokens[other] < tokens[lane])) {
        bests[lane] = bests[other];
        tokens[lane] = tokens[other];
      }
    }
  }
  if (lane == 0) chosen[blockIdx.x] = bests[0] > minus_infinity && bests[0] < infinity ? tokens[0] : -1;
}
`;
