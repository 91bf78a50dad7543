import type { DimLabel, TensorType } from "../tensor-ir/types.ts";
import type { Block, Module, Store } from "./types.ts";

/** One place where a block stands in a model. */
export interface Place {
  /** `trunk.7.mixer`; empty for the root. */
  readonly path: string;
  readonly block: Block;
  /** Dims of the copies that the place is inside of, outermost first. */
  readonly copies: readonly DimLabel[];
  /** Inside a look-ahead module: not part of the model that scores and generates. */
  readonly ahead: boolean;
}

/** A store at its place, with the dims of the copies in front. */
export interface PlacedStore {
  /** `trunk.7.ffn.experts.gate` */
  readonly path: string;
  readonly store: Store;
  readonly type: TensorType;
  readonly place: Place;
}

export function joinPath(path: string, name: string | number): string {
  return path === "" ? `${name}` : `${path}.${name}`;
}

/** The root and every place below it, in the order of the text. */
export function placesOf(root: Block): Place[] {
  const places: Place[] = [];
  visit({ path: "", block: root, copies: [], ahead: false }, places);
  return places;
}

function visit(place: Place, places: Place[]): void {
  places.push(place);
  const { path, copies } = place;
  for (const [name, use] of place.block.uses) {
    const inner = joinPath(path, name);
    if (use.kind === "block") {
      const over = use.over === undefined ? copies : [...copies, use.over];
      visit({ ...place, path: inner, block: use.block, copies: over }, places);
    } else if (use.kind === "stack") {
      let index = 0;
      for (const { count, block } of use.layers) {
        for (let i = 0; i < count; i++) visit({ ...place, path: joinPath(inner, index++), block }, places);
      }
    } else if (use.kind === "ahead") {
      for (let k = 0; k < use.depth; k++) {
        visit({ ...place, path: joinPath(inner, k), block: use.block, ahead: true }, places);
      }
    }
  }
}

/** All stores of a model with their paths. */
export function storesOf(root: Block): PlacedStore[] {
  return placesOf(root).flatMap((place) =>
    [...place.block.stores.values()].map((store) => ({
      path: joinPath(place.path, store.name),
      store,
      type: { dtype: store.type.dtype, dims: [...place.copies, ...store.type.dims] },
      place,
    })),
  );
}

/** A param or a state, as checkpoints hold it. */
export interface Weight extends PlacedStore {
  /** With the dims of the copies in front. */
  readonly shape: readonly number[];
  /** Names of the block that it belongs to and of what that extends. */
  readonly blocks: readonly string[];
}

/** What is kept of a model when it does not run: params and states, those of look-ahead modules too. */
export function weightsOf({ root, dims }: Pick<Module, "root" | "dims">): Weight[] {
  return storesOf(root)
    .filter(({ store }) => store.kind !== "cache")
    .map((placed) => ({
      ...placed,
      shape: placed.type.dims.map((label) => dims.get(label)!),
      blocks: placed.place.block.names,
    }));
}
