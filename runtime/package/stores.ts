/** Params and states of one session for another one, which may store them in other dtypes. */
import { decoded, encoded } from "../device/elements.ts";
import type { Elements, Session } from "../device/session.ts";
import type { StorageType } from "../program/launch.ts";

/** Copies by name. */
export type Stores = ReadonlyMap<string, { readonly dtype: StorageType; readonly elements: Elements }>;

export function readStores(session: Session): Stores {
  return new Map(session.stores.map(({ name, dtype }) => [name, { dtype, elements: session.read(name) }]));
}

/** Writes those that the session has, as it stores them. */
export function writeStores(session: Session, stores: Stores): void {
  for (const { name, dtype } of session.stores) {
    const store = stores.get(name);
    if (store === undefined) continue;
    const { elements } = store;
    session.write(name, store.dtype === dtype ? elements : encoded(decoded(elements, store.dtype), dtype));
  }
}
