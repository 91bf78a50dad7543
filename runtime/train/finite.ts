import { firstNonFinite } from "../device/elements.ts";
import type { Session } from "../device/session.ts";
import type { WeightsListener } from "../io/names/read-params.ts";

/** A param or a state that holds a NaN or an infinity. */
export class NonFiniteError extends Error {
  readonly store: string;
  readonly index: number;

  constructor(store: string, index: number) {
    super(`\`${store}\` has a value that is not finite, at element ${index}`);
    this.store = store;
    this.index = index;
  }
}

/** The first store of a session with a value that is not finite. */
export async function nonFiniteStore(session: Session, listen?: WeightsListener): Promise<NonFiniteError | undefined> {
  for (const [i, { name, dtype }] of session.stores.entries()) {
    const index = session.firstNonFinite?.(name) ?? firstNonFinite(await session.read(name), dtype);
    if (index >= 0) return new NonFiniteError(name, index);
    listen?.("checking weights", i + 1, session.stores.length);
  }
  return undefined;
}
