import type { Session } from "../../runtime/device/session.ts";

/** Biases of routers that are nowhere zero: otherwise nobody would see whether they are used. */
export function biases(session: Session): void {
  for (const { name, kind, shape } of session.stores)
    if (kind === "state")
      session.write(
        name,
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => 0.02 * Math.sin(7 * i)),
      );
}
