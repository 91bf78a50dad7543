/** The buffers of a package on WebGPU: params and states, caches, the arena of a call, the uniforms of its launches. */
import type { Kept } from "./kept.ts";
import { count, largestBinding, tooLarge } from "./limits.ts";
import type { DeviceWatch } from "./loss.ts";
import { PARTS, type Pipelines } from "./pipelines.ts";

/** A part of a buffer, in words. */
export interface Part {
  readonly at: number;
  readonly words: number;
}

export class Buffers {
  /** Of params and states: so many as there are parts. */
  readonly stores: readonly GPUBuffer[];
  readonly caches: GPUBuffer;
  readonly #gpu: GPUDevice;
  readonly #watch: DeviceWatch;
  readonly #pipelines: Pipelines;
  #arena: GPUBuffer;
  #uniforms: GPUBuffer;
  #group: GPUBindGroup | undefined;

  /**
   * @param cacheWords of all caches together
   * @throws LimitError for a param that no buffer has room for, and for a model that is too large for all of them
   */
  constructor(gpu: GPUDevice, watch: DeviceWatch, pipelines: Pipelines, kept: readonly Kept[], cacheWords: number) {
    this.#gpu = gpu;
    this.#watch = watch;
    this.#pipelines = pipelines;
    this.stores = wordsOfStores(gpu, kept).map((words, part) => this.#buffer(`params and states ${part}`, words * 4));
    this.caches = this.#buffer("caches", cacheWords * 4);
    this.#arena = this.#buffer("arena", 4);
    this.#uniforms = this.#buffer("uniforms", 256, GPUBufferUsage.UNIFORM);
  }

  get arena(): GPUBuffer {
    return this.#arena;
  }

  get uniforms(): GPUBuffer {
    return this.#uniforms;
  }

  /** What all launches of a call are bound to. */
  get group(): GPUBindGroup {
    return (this.#group ??= this.#pipelines.group(this.#uniforms, this.#arena, this.caches, this.stores));
  }

  /** Makes room for a call. What was in the arena may be gone. */
  reserve(words: number, dispatches: number): void {
    if (words * 4 > this.#arena.size) {
      this.#arena.destroy();
      this.#arena = this.#buffer("arena", words * 4);
      this.#group = undefined;
    }
    const bytes = dispatches * this.#pipelines.stride + this.#pipelines.uniformBytes;
    if (bytes > this.#uniforms.size) {
      this.#uniforms.destroy();
      this.#uniforms = this.#buffer("uniforms", bytes, GPUBufferUsage.UNIFORM);
      this.#group = undefined;
    }
  }

  /** Copies of parts of a buffer, one after the other in one transfer. */
  async read(from: GPUBuffer, parts: readonly Part[]): Promise<Uint32Array[]> {
    const total = parts.reduce((sum, { words }) => sum + words, 0);
    if (total === 0) {
      await this.#watch.of(this.#gpu.queue.onSubmittedWorkDone());
      return parts.map(() => new Uint32Array(0));
    }
    const staging = this.#gpu.createBuffer({
      size: total * 4,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    const encoder = this.#gpu.createCommandEncoder();
    let at = 0;
    for (const part of parts) {
      if (part.words > 0) encoder.copyBufferToBuffer(from, part.at * 4, staging, at * 4, part.words * 4);
      at += part.words;
    }
    this.#gpu.queue.submit([encoder.finish()]);
    await this.#watch.of(staging.mapAsync(GPUMapMode.READ));
    const all = new Uint32Array(staging.getMappedRange().slice(0));
    staging.destroy();
    at = 0;
    return parts.map(({ words }) => all.subarray(at, (at += words)));
  }

  destroy(): void {
    for (const buffer of [this.#arena, ...this.stores, this.caches, this.#uniforms]) buffer.destroy();
  }

  #buffer(what: string, bytes: number, usage = GPUBufferUsage.STORAGE): GPUBuffer {
    return this.#gpu.createBuffer({
      label: what,
      size: Math.max(4, bytes),
      usage: usage | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    });
  }
}

/** @throws LimitError when a buffer cannot have so many bytes; `told` says what needs them, and what would fit */
export function checkBytes(
  gpu: GPUDevice,
  bytes: number,
  told: (most: number) => readonly [needs: string, fits: string],
): void {
  const { bytes: most, limit } = largestBinding(gpu);
  if (bytes <= most) return;
  const [needs, fits] = told(most);
  throw tooLarge(needs, bytes, most, limit, fits);
}

/** The words of each buffer of params and states. @throws LimitError as `Buffers` does */
function wordsOfStores(gpu: GPUDevice, kept: readonly Kept[]): number[] {
  const { bytes: most, limit } = largestBinding(gpu);
  const largest = kept.reduce((a, b) => (b.words > a.words ? b : a), kept[0] ?? { words: 0, spec: { name: "" } });
  if (largest.words * 4 > most)
    throw tooLarge(`\`${largest.spec.name}\` needs`, largest.words * 4, most, limit, "a param of that size fits");
  const parts = Math.max(PARTS, ...kept.map(({ part }) => part + 1));
  if (parts > PARTS) {
    const bytes = kept.reduce((sum, { words }) => sum + words * 4, 0);
    const fits = `a model with ${count(Math.floor((PARTS * most) / 4))} params in f32, or more of them as codes, fits`;
    throw tooLarge("params and states need", bytes, PARTS * most, `${PARTS} times ${limit}`, fits);
  }
  return Array.from({ length: PARTS }, (_, part) =>
    kept.filter((one) => one.part === part).reduce((end, one) => Math.max(end, one.at + one.words), 0),
  );
}
