/** What an NVIDIA GPU can do at best, measured by two kernels as short as they can be: a package of its own. */
import { gpuOf } from "../../../runtime/device/cuda/gpu.ts";
import { openCudaSession } from "../../../runtime/device/cuda/session.ts";
import type { SimtKernel, SimtKernels } from "../../../runtime/program/grids.ts";
import type { LaunchProgram, PackagePrograms } from "../../../runtime/program/launch.ts";
import { cudaInCache } from "../open-session.ts";
import type { Machine } from "./machine.ts";

const THREADS = 256;
/** Multiply-adds of a thread: eight chains side by side. */
const STEPS = 4096;
const BLOCKS = 1024;
const ROUNDS = 5;
/** Far more than the cache of a GPU holds. */
const LEAST_BYTES = 1 << 28;
const MOST_BYTES = 1 << 31;

const FLOPS = `extern "C" __global__ void __launch_bounds__(${THREADS})
peak_flops_main(int items, int items_before, const float* __restrict__ data, float* __restrict__ out) {
  const float a = data[0], b = data[1];
  float x[8];
  for (int i = 0; i < 8; ++i) x[i] = threadIdx.x + i;
  for (int step = 0; step < ${STEPS / 8}; ++step) {
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = fmaf(x[i], a, b);
  }
  float sum = 0;
  for (int i = 0; i < 8; ++i) sum += x[i];
  if (sum == -1.0f) out[0] = sum;
}
`;

const READ = `extern "C" __global__ void __launch_bounds__(${THREADS})
peak_read_main(int items, int items_before, int N, const float4* __restrict__ data, float* __restrict__ out) {
  float sum = 0;
  for (long long i = (long long)blockIdx.x * ${THREADS} + threadIdx.x; i < N / 4; i += (long long)gridDim.x * ${THREADS}) {
    const float4 x = data[i];
    sum += x.x + x.y + x.z + x.w;
  }
  if (sum == -1.0f) out[0] = sum;
}
`;

function files(elements: number): Map<string, string> {
  const entries = [{ name: "main", workgroupSize: THREADS, workgroups: [{ of: [BLOCKS] }] }];
  const kernel = (name: string, extents: readonly string[]): SimtKernel => ({
    name,
    args: ["data", "out"],
    writes: ["out"],
    extents,
    scratch: [],
    entries,
  });
  const table: SimtKernels = { format: 1, kernels: [kernel("peak_flops", []), kernel("peak_read", ["N"])] };
  const program = (name: string, extents: readonly number[]): LaunchProgram => ({
    name,
    dims: [],
    buffers: [
      { kind: "param", name: "data", dtype: "f32", shape: [elements] },
      { kind: "temp", name: "out", dtype: "f32", shape: [1] },
    ],
    launches: [{ kernel: name, args: [0, 1], extents }],
  });
  const programs: PackagePrograms = {
    format: 1,
    programs: [program("peak_flops", []), program("peak_read", [elements])],
  };
  return new Map([
    ["program.json", JSON.stringify(programs)],
    ["kernels/cuda/cuda.json", JSON.stringify(table)],
    ["kernels/cuda/peak_flops.cu", FLOPS],
    ["kernels/cuda/peak_read.cu", READ],
  ]);
}

/**
 * @param bytes how many the model has: their bandwidth is what its kernels can have at best
 * @throws NoCudaError
 */
export async function measureCuda(bytes: number): Promise<Machine> {
  const gpu = gpuOf();
  const elements = Math.ceil(Math.min(MOST_BYTES, Math.max(LEAST_BYTES, bytes)) / 4096) * 1024;
  const session = await openCudaSession(await cudaInCache(files(elements), gpu), { profile: true });
  try {
    const best = async (program: string, work: number): Promise<number> => {
      const rates: number[] = [];
      let before = 0;
      for (let round = 0; round <= ROUNDS; round++) {
        await session.run({ program, sizes: {}, inputs: {} });
        const nanoseconds = session.profile().find((one) => one.program === program)!.nanoseconds;
        // The first round wakes clocks and caches.
        if (round > 0) rates.push((1e9 * work) / Math.max(1, nanoseconds - before));
        before = nanoseconds;
      }
      return Math.max(...rates);
    };
    return {
      variant: gpu.name,
      flops: await best("peak_flops", 2 * STEPS * THREADS * BLOCKS),
      read: { bytes: elements * 4, bytesPerSecond: await best("peak_read", elements * 4) },
    };
  } finally {
    session.close();
  }
}
