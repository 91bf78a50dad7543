import { firstNonFinite } from "../device/elements.ts";
import type { Session } from "../device/session.ts";

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
export function nonFiniteStore(session: Session): NonFiniteError | undefined {
  for (const { name, dtype } of session.stores) {
    const index = session.firstNonFinite?.(name) ?? firstNonFinite(session.read(name), dtype);
    if (index >= 0) return new NonFiniteError(name, index);
  }
  return undefined;
}
