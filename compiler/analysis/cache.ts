import { storesOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import { type DType, isFloat } from "../tensor-ir/types.ts";
import { bytesOf, elementsOf } from "./bytes.ts";

export interface CacheFacts {
  readonly valuesPerToken: number;
  readonly bytesPerToken: number;
}

/**
 * What a token leaves in the caches of all layers.
 * @param ahead whether those of look-ahead modules count as well
 * @param floats what floats are stored in; as the model declares them when not given
 */
export function cacheFacts({ root, dims }: Module, ahead = false, floats?: DType): CacheFacts {
  let [valuesPerToken, bytesPerToken] = [0, 0];
  for (const { store, type, place } of storesOf(root)) {
    if (store.kind !== "cache" || (place.ahead && !ahead)) continue;
    const values = elementsOf(type, dims);
    valuesPerToken += values;
    bytesPerToken += values * bytesOf(isFloat(type.dtype) ? (floats ?? type.dtype) : type.dtype);
  }
  return { valuesPerToken, bytesPerToken };
}
