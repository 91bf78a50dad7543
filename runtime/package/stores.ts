/** Params and states of one session for another one, which may store them in other dtypes. */
import { decoded } from "../device/elements.ts";
import type { Elements, Session, StoreSpec } from "../device/session.ts";
import { codeType, storedElements } from "../device/stored-elements.ts";
import { dequantize } from "../io/safetensors/quantize.ts";
import type { StorageType } from "../program/launch.ts";

/** Copies by name. */
export type Stores = ReadonlyMap<string, { readonly dtype: StorageType; readonly elements: Elements }>;

export async function readStores(session: Session): Promise<Stores> {
  const scales = new Set(session.stores.map(({ quantized }) => quantized?.scales));
  const own = session.stores.filter(({ name }) => !scales.has(name));
  const read = new Map<string, Awaited<ReturnType<typeof readStore>>>();
  for (const spec of own) read.set(spec.name, await readStore(session, spec));
  return read;
}

/** The elements of a store; of codes the floats that they stand for. */
export async function readStore(
  session: Session,
  spec: StoreSpec,
): Promise<{ readonly dtype: StorageType; readonly elements: Elements }> {
  const { name, dtype, shape, quantized } = spec;
  const elements = await session.read(name);
  const type = codeType(spec);
  if (quantized === undefined || type === undefined) return { dtype, elements };
  const scales = (await session.read(quantized.scales)) as Uint16Array;
  const codes = { codes: elements as Int8Array | Uint8Array, scales };
  return { dtype: "f32", elements: dequantize(codes, shape, type, quantized) };
}

/** Writes those that the session has, as it stores them. */
export function writeStores(session: Session, stores: Stores): void {
  for (const spec of session.stores) {
    const store = stores.get(spec.name);
    if (store === undefined) continue;
    const { dtype, elements } = store;
    if (dtype === spec.dtype) session.write(spec.name, elements);
    else for (const [name, own] of storedElements(spec, decoded(elements, dtype))) session.write(name, own);
  }
}
