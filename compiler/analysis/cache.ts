import { storesOf } from "../model-ir/places.ts";
import type { Module } from "../model-ir/types.ts";
import { bytesOf, elementsOf } from "./bytes.ts";

export interface CacheFacts {
  readonly valuesPerToken: number;
  readonly bytesPerToken: number;
}

/** What a token leaves in the caches of all layers; of look-ahead modules as well when they are counted. */
export function cacheFacts({ root, dims }: Module, ahead = false): CacheFacts {
  let [valuesPerToken, bytesPerToken] = [0, 0];
  for (const { store, type, place } of storesOf(root)) {
    if (store.kind !== "cache" || (place.ahead && !ahead)) continue;
    const values = elementsOf(type, dims);
    valuesPerToken += values;
    bytesPerToken += values * bytesOf(type.dtype);
  }
  return { valuesPerToken, bytesPerToken };
}
