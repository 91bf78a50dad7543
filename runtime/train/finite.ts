import type { Elements, Session } from "../device/session.ts";
import type { StorageType } from "../program/launch.ts";

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

/** The index of the first element that is NaN or infinite. */
export function firstNonFinite(elements: Elements, dtype: StorageType): number | undefined {
  const isBad = TESTS[dtype];
  if (isBad === undefined) return undefined;
  for (let i = 0; i < elements.length; i++) if (isBad(elements[i]!)) return i;
  return undefined;
}

/** Of stored elements: those of the 16-bit types are bits, with an exponent of ones for NaN and infinity. */
const TESTS: Readonly<Partial<Record<StorageType, (element: number) => boolean>>> = {
  f64: (x) => !Number.isFinite(x),
  f32: (x) => !Number.isFinite(x),
  bf16: (bits) => (bits & 0x7f80) === 0x7f80,
  f16: (bits) => (bits & 0x7c00) === 0x7c00,
  f8e4m3: (bits) => (bits & 0x7f) === 0x7f,
};

/** The first store of a session with a value that is not finite. */
export function nonFiniteStore(session: Session): NonFiniteError | undefined {
  for (const { name, dtype } of session.stores) {
    const index = firstNonFinite(session.read(name), dtype);
    if (index !== undefined) return new NonFiniteError(name, index);
  }
  return undefined;
}
