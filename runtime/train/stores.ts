import { firstNonFinite, newElements, STORED } from "../device/elements.ts";
import type { Elements, Session, StoreSpec } from "../device/session.ts";
import { CheckpointError, type DType, DTYPES } from "../io/safetensors/format.ts";
import type { Checkpoint } from "../io/safetensors/read.ts";
import type { WrittenTensor } from "../io/safetensors/written.ts";
import type { StorageType } from "../program/launch.ts";
import { NonFiniteError } from "./finite.ts";

/**
 * A store as a tensor of a checkpoint, bit for bit; read from the device when it is written.
 * @throws NonFiniteError when it is written and a value is NaN or infinite: such a checkpoint is no use
 */
export function storedTensor(session: Session, spec: StoreSpec): WrittenTensor {
  return {
    name: spec.name,
    dtype: STORED[spec.dtype],
    shape: spec.shape,
    bytes: () => {
      const elements = session.read(spec.name);
      const bad = firstNonFinite(elements, spec.dtype);
      if (bad >= 0) throw new NonFiniteError(spec.name, bad);
      return new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
    },
  };
}

/**
 * Reads stores from a checkpoint that was made of them.
 * @throws CheckpointError that names all tensors that are missing or have another shape or dtype
 */
export function restoreStores(session: Session, specs: readonly StoreSpec[], checkpoint: Checkpoint): void {
  const wrong = specs.flatMap((spec) => {
    if (!checkpoint.has(spec.name)) return [`\`${spec.name}\` is missing`];
    const { dtype, shape } = checkpoint.tensor(spec.name);
    const fits = dtype === STORED[spec.dtype] && shape.join() === spec.shape.join();
    return fits
      ? []
      : [`\`${spec.name}\` is ${typeText(dtype, shape)}, not ${typeText(STORED[spec.dtype], spec.shape)}`];
  });
  if (wrong.length > 0) throw new CheckpointError(`${checkpoint.path}: ${wrong.join("; ")}`);
  for (const { name, dtype } of specs) session.write(name, elementsOf(checkpoint.tensor(name).bytes(), dtype));
}

function typeText(dtype: DType, shape: readonly number[]): string {
  return `${dtype} [${shape.join(", ")}]`;
}

function elementsOf(bytes: Uint8Array, dtype: StorageType): Elements {
  const elements = newElements(dtype, bytes.byteLength / DTYPES[STORED[dtype]]);
  new Uint8Array(elements.buffer).set(bytes);
  return elements;
}
