import type { BufferKind, StorageType } from "../../program/launch.ts";
import type { SimtKernel } from "../../program/grids.ts";

/**
 * The buffer that an argument lies in: the arena, one of the buffers of params and states, that of caches; `PACKED` more for params
 * of which two elements share a word.
 */
export type Space = number;

/** Buffers that params and states may be split over: a device binds 8 for storage at least. */
export const PARTS = 4;
export const PACKED = 8;

/** @param part of params and states */
export function spaceOf(kind: BufferKind, part: number): Space {
  if (kind === "param" || kind === "state") return 1 + part;
  return kind === "cache" ? 1 + PARTS : 0;
}

/** Arena, params and states, caches, further parts of params and states. */
const BINDINGS = Array.from({ length: 2 + PARTS }, (_, i) => 1 + i);

/** Elements that may lie two in a word or one in a word: kernels read both. */
export function isFloat16(dtype: StorageType): boolean {
  return dtype === "bf16" || dtype === "f16";
}

/** An entry point of a kernel with its arguments in certain buffers. */
export interface Need {
  readonly kernel: string;
  readonly entry: string;
  readonly spaces: readonly Space[];
}

export interface Sources {
  readonly device: GPUDevice;
  readonly kernels: readonly SimtKernel[];
  /** The WGSL of a kernel. */
  readonly source: (kernel: string) => string | Promise<string>;
  /** Called as pipelines are made. */
  readonly onProgress?: (done: number, all: number) => void;
}

/** The compute pipelines of a package: each is made once, when a call first needs it, all that a call needs at the same time. */
export class Pipelines {
  /** Bytes from the uniforms of a launch to those of the next one. */
  readonly stride: number;
  readonly uniformBytes: number;
  readonly #sources: Sources;
  readonly #group: GPUBindGroupLayout;
  readonly #layout: GPUPipelineLayout;
  readonly #kernels: ReadonlyMap<string, SimtKernel>;
  readonly #modules = new Map<string, Promise<GPUShaderModule>>();
  readonly #made = new Map<string, GPUComputePipeline>();
  readonly #pending = new Map<string, Promise<void>>();

  constructor(sources: Sources) {
    const { device, kernels } = sources;
    this.#sources = sources;
    this.#kernels = new Map(kernels.map((kernel) => [kernel.name, kernel]));
    const words = kernels.map(
      ({ args, extents, scratch, parts }) => 2 * (parts?.length ?? 1) + args.length + extents.length + scratch.length,
    );
    this.uniformBytes = Math.max(16, Math.ceil(Math.max(0, ...words) / 4) * 16);
    const align = device.limits.minUniformBufferOffsetAlignment;
    this.stride = Math.ceil(this.uniformBytes / align) * align;
    const visibility = GPUShaderStage.COMPUTE;
    const uniforms = { type: "uniform", hasDynamicOffset: true, minBindingSize: this.uniformBytes } as const;
    this.#group = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility, buffer: uniforms },
        ...BINDINGS.map((binding) => ({ binding, visibility, buffer: { type: "storage" as const } })),
      ],
    });
    this.#layout = device.createPipelineLayout({ bindGroupLayouts: [this.#group] });
  }

  /** Makes what is not made yet. @throws Error that names a kernel that the device refuses */
  async make(needs: Iterable<Need>): Promise<void> {
    const pending = new Set<Promise<void>>();
    for (const need of needs) {
      const id = key(need);
      if (this.#made.has(id)) continue;
      if (!this.#pending.has(id)) this.#pending.set(id, this.#create(need, id));
      pending.add(this.#pending.get(id)!);
    }
    await Promise.all(pending);
  }

  get(need: Need): GPUComputePipeline {
    return this.#made.get(key(need))!;
  }

  /** The bind group of all launches. @param stores so many as there are parts */
  group(uniforms: GPUBuffer, arena: GPUBuffer, caches: GPUBuffer, stores: readonly GPUBuffer[]): GPUBindGroup {
    const [first, ...others] = stores;
    const buffers = [arena, first!, caches, ...others];
    return this.#sources.device.createBindGroup({
      layout: this.#group,
      entries: [
        { binding: 0, resource: { buffer: uniforms, size: this.uniformBytes } },
        ...BINDINGS.map((binding, i) => ({ binding, resource: { buffer: buffers[i]! } })),
      ],
    });
  }

  #module(name: string): Promise<GPUShaderModule> {
    const known = this.#modules.get(name);
    if (known !== undefined) return known;
    const { device, source } = this.#sources;
    const made = Promise.resolve(source(name)).then((code) => device.createShaderModule({ label: name, code }));
    this.#modules.set(name, made);
    return made;
  }

  async #create({ kernel: name, entry, spaces }: Need, id: string): Promise<void> {
    const { device, onProgress } = this.#sources;
    const kernel = this.#kernels.get(name);
    if (kernel === undefined) throw new Error(`the package has no kernel ${name} for WebGPU`);
    let module: GPUShaderModule;
    try {
      module = await this.#module(name);
    } catch (error) {
      // What could not be fetched now may be there later.
      this.#modules.delete(name);
      this.#pending.delete(id);
      throw error;
    }
    const constants = Object.fromEntries(kernel.args.map((arg, i) => [`${arg}_space`, spaces[i]!]));
    try {
      const compute = { module, entryPoint: entry, constants };
      this.#made.set(id, await device.createComputePipelineAsync({ label: name, layout: this.#layout, compute }));
      this.#pending.delete(id);
      onProgress?.(this.#made.size, this.#made.size + this.#pending.size);
    } catch (error) {
      const { messages } = await module.getCompilationInfo();
      const first = messages.find(({ type }) => type === "error");
      const why = first === undefined ? (error as Error).message : `${first.lineNum}:${first.linePos} ${first.message}`;
      throw new Error(`the kernel ${name}: ${why}`, { cause: error });
    }
  }
}

function key({ kernel, entry, spaces }: Need): string {
  return `${kernel} ${entry} ${spaces.join()}`;
}
