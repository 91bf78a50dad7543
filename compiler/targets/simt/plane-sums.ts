/** Sums of a plane: in f32, or f64 where its values are. */
import type { ScalarType } from "../../kernel-ir/types.ts";
import type { Frame } from "./frame.ts";

/** What the values of a local are computed in. */
export function dtypeIn({ dialect, names }: Frame, local: string): ScalarType {
  return dialect.wide(names.store(local).dtype);
}

/** A sum of nothing. */
export function zeroed({ dialect, language }: Frame, sum: string, dtype: ScalarType): string {
  return dialect.variable(sum, dtype, language.literal(0, dtype));
}
