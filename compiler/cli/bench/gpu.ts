/** What a GPU device can do at best, measured by two kernels as short as they can be. */
import { Timestamps } from "../../../runtime/device/webgpu/timing.ts";
import type { Machine } from "./machine.ts";

const THREADS = 256;
/** Multiply-adds of a thread: four chains side by side. */
const STEPS = 4096;
const ROUNDS = 5;
const LEAST_BYTES = 1 << 20;
const MOST_BYTES = 1 << 26;

const SOURCE = `
@group(0) @binding(0) var<storage, read_write> data: array<vec4<f32>>;

@compute @workgroup_size(${THREADS})
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
  let a = data[0];
  let b = data[1];
  var x = vec4<f32>(f32(id.x));
  for (var i = 0; i < ${STEPS / 4}; i++) {
    x = fma(x, a, b);
    x = fma(x, a, b);
    x = fma(x, a, b);
    x = fma(x, a, b);
  }
  if (all(x == vec4<f32>(-1.0))) { data[id.x] = x; }
}

@compute @workgroup_size(${THREADS})
fn read(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  var sum = vec4<f32>(0.0);
  for (var i = id.x; i < arrayLength(&data); i += groups.x * ${THREADS}u) { sum += data[i]; }
  if (all(sum == vec4<f32>(-1.0))) { data[id.x] = sum; }
}
`;

/**
 * @param bytes how many the model has: their bandwidth is what its kernels can have at best
 * @throws DeviceError without timestamp queries
 */
export async function measureGpu(device: GPUDevice, bytes: number): Promise<Machine> {
  const size = Math.ceil(Math.min(MOST_BYTES, Math.max(LEAST_BYTES, bytes)) / 4096) * 4096;
  const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(buffer, 0, new Float32Array(size / 4).fill(0.5));
  const module = device.createShaderModule({ code: SOURCE });
  const groups = 64;
  const best = async (entryPoint: string, work: number): Promise<number> => {
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint } });
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }],
    });
    const rates: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const timestamps = new Timestamps(device, 1);
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass({ timestampWrites: timestamps.of(0) });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(groups);
      pass.end();
      const nanoseconds = timestamps.resolve(encoder);
      device.queue.submit([encoder.finish()]);
      const [took] = await nanoseconds();
      // The first round wakes clocks and caches.
      if (round > 0) rates.push((1e9 * work) / Math.max(1, took!));
    }
    return Math.max(...rates);
  };
  try {
    return {
      variant: device.adapterInfo.description || device.adapterInfo.vendor,
      flops: await best("multiply_add", 2 * 4 * STEPS * THREADS * groups),
      read: { bytes: size, bytesPerSecond: await best("read", size) },
    };
  } finally {
    buffer.destroy();
  }
}
