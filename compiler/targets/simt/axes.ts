/** Sizes of axes. */
import type { Axis } from "../../kernel-ir/types.ts";

/** The number of their elements, where a call does not change it. */
export function knownSize(axes: readonly Axis[]): number | undefined {
  return axes.reduce<number | undefined>(
    (n, { extent }) => (n !== undefined && typeof extent === "number" ? n * extent : undefined),
    1,
  );
}

/** The number of their elements, as WGSL. */
export function sizeText(axes: readonly Axis[]): string {
  return axes.length === 0 ? "1" : axes.map(({ extent }) => String(extent)).join(" * ");
}

export function extentsOf(axes: readonly Axis[]): Axis["extent"][] {
  return axes.map(({ extent }) => extent);
}
