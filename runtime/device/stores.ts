import { elementsOf, type BufferSpec, type LaunchProgram, STORAGE_BYTES } from "../program/launch.ts";
import type { StoreSpec } from "./session.ts";

/** What a package keeps between calls. */
export interface Kept {
  readonly stores: readonly StoreSpec[];
  /** Bytes of one row of all caches together. */
  readonly cacheRowBytes: number;
}

/**
 * The params, states and caches that the programs of a package share.
 * @throws Error when two programs mean different things by a name
 */
export function keptBy(programs: readonly LaunchProgram[]): Kept {
  const stores = new Map<string, BufferSpec>();
  const caches = new Map<string, BufferSpec>();
  for (const { name: program, buffers } of programs) {
    for (const spec of buffers) {
      if (spec.kind !== "param" && spec.kind !== "state" && spec.kind !== "cache") continue;
      const dim = spec.shape.find((extent) => typeof extent === "string");
      if (dim !== undefined)
        throw new Error(`program ${program}: ${spec.name} is kept between calls and has the run-time dim ${dim}`);
      const known = spec.kind === "cache" ? caches : stores;
      const other = known.get(spec.name) ?? spec;
      if (described(other) !== described(spec))
        throw new Error(`${spec.name} is ${described(other)}, but ${described(spec)} in program ${program}`);
      known.set(spec.name, spec);
    }
  }
  return {
    stores: [...stores.values()].map(({ name, kind, dtype, shape, quantized }) => ({
      name,
      kind: kind as StoreSpec["kind"],
      dtype,
      shape: shape as readonly number[],
      ...(quantized === undefined ? {} : { quantized }),
    })),
    cacheRowBytes: [...caches.values()].reduce((sum, spec) => sum + bytesOf(spec), 0),
  };
}

/** Of what has no run-time dims; of a cache, of one row. */
export function bytesOf(spec: Pick<BufferSpec, "dtype" | "shape">): number {
  return Math.ceil(elementsOf(spec, {}) * STORAGE_BYTES[spec.dtype]);
}

function described({ kind, dtype, shape, quantized }: BufferSpec): string {
  const groups = quantized === undefined ? "" : ` in groups of ${quantized.group} along dim ${quantized.dim}`;
  return `a ${kind} ${dtype}[${shape.join(", ")}]${groups}`;
}
