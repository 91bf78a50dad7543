import { firstNonFinite, newElements, STORED } from "../device/elements.ts";
import type { Elements, Session, StoreSpec } from "../device/session.ts";
import { CheckpointError, type DType, DTYPES } from "../io/safetensors/format.ts";
import type { Checkpoint } from "../io/safetensors/read.ts";
import type { WrittenTensor } from "../io/safetensors/written.ts";
import type { StorageType } from "../program/launch.ts";
import { NonFiniteError } from "./finite.ts";

/**
 * Stores as tensors of a checkpoint, bit for bit. They are read from the device when they are written, one after the other; where
 * that takes time, all of them now.
 * @throws NonFiniteError when one is written and a value is NaN or infinite: such a checkpoint is no use
 */
export async function storedTensors(session: Session, specs: readonly StoreSpec[]): Promise<WrittenTensor[]> {
  const tensors: WrittenTensor[] = [];
  for (const spec of specs) {
    const first = session.read(spec.name);
    if (!(first instanceof Promise)) return specs.map((one) => tensorOf(one, () => session.read(one.name) as Elements));
    const elements = await first;
    tensors.push(tensorOf(spec, () => elements));
  }
  return tensors;
}

function tensorOf(spec: StoreSpec, read: () => Elements): WrittenTensor {
  return {
    name: spec.name,
    dtype: STORED[spec.dtype],
    shape: spec.shape,
    bytes: () => {
      const elements = read();
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
