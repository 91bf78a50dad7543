/** The time of every launch, by timestamp queries: each has a pass of its own for that. */
import { DeviceError } from "../session.ts";

/** WebGPU, section Query sets: `maxQueryCount` of every device. */
const MOST = 4096;

/** Begins and ends of passes of one call. */
export class Timestamps {
  readonly #device: GPUDevice;
  readonly #sets: readonly GPUQuerySet[];
  readonly #count: number;

  /** @throws DeviceError without the feature */
  constructor(device: GPUDevice, passes: number) {
    if (!device.features.has("timestamp-query"))
      throw new DeviceError("this adapter has no timestamp-query: kernels cannot be timed one by one");
    this.#device = device;
    this.#count = 2 * passes;
    this.#sets = Array.from({ length: Math.ceil(this.#count / MOST) }, (_, i) =>
      device.createQuerySet({ type: "timestamp", count: Math.min(MOST, this.#count - i * MOST) }),
    );
  }

  /** What a pass is begun with. */
  of(pass: number): GPUComputePassTimestampWrites {
    return {
      querySet: this.#sets[Math.floor((2 * pass) / MOST)]!,
      beginningOfPassWriteIndex: (2 * pass) % MOST,
      endOfPassWriteIndex: (2 * pass + 1) % MOST,
    };
  }

  /** Copies them behind the passes. The result gives the nanoseconds of each, once its commands were submitted. */
  resolve(encoder: GPUCommandEncoder): () => Promise<number[]> {
    const bytes = 8 * this.#count;
    const resolved = this.#device.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    const read = this.#device.createBuffer({ size: bytes, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    for (const [i, set] of this.#sets.entries()) encoder.resolveQuerySet(set, 0, set.count, resolved, 8 * MOST * i);
    encoder.copyBufferToBuffer(resolved, 0, read, 0, bytes);
    return async () => {
      await read.mapAsync(GPUMapMode.READ);
      const times = new BigUint64Array(read.getMappedRange().slice(0));
      for (const buffer of [read, resolved]) buffer.destroy();
      for (const set of this.#sets) set.destroy();
      return Array.from({ length: this.#count / 2 }, (_, i) => Number(times[2 * i + 1]! - times[2 * i]!));
    };
  }
}
