/** Sums of a plane: in f32, or f64 where its values are. */
import type { PlaneKernel, PlaneStmt, ScalarType } from "../../kernel-ir/types.ts";
import { extentsOf } from "./axes.ts";
import type { Frame } from "./frame.ts";

export type LeaveColumns = PlaneStmt & { readonly kind: "leave_columns" };

/** What the values of a local are computed in. */
export function dtypeIn({ dialect, names }: Frame, local: string): ScalarType {
  return dialect.wide(names.store(local).dtype);
}

/** A sum of nothing. */
export function zeroed({ dialect, language }: Frame, sum: string, dtype: ScalarType): string {
  return dialect.variable(sum, dtype, language.literal(0, dtype));
}

/**
 * Sums over tokens that lead to narrower results, and the same into arrays of what they are made in: rounded whenever a row is added,
 * their error would grow with the number of rows.
 */
export function unrounded(
  frame: Frame,
  { column, body }: PlaneKernel,
): Map<LeaveColumns, LeaveColumns & { readonly dtype: ScalarType }> {
  const found = new Map<LeaveColumns, LeaveColumns & { readonly dtype: ScalarType }>();
  for (const stmt of body) {
    if (stmt.kind !== "leave_columns") continue;
    const dtype = dtypeIn(frame, stmt.local);
    if (frame.dialect.wide(frame.names.store(stmt.to).dtype) === frame.names.store(stmt.to).dtype) continue;
    const to = frame.temp("sums");
    const shape = [column.extent, ...extentsOf(stmt.n)];
    frame.names.declare([{ name: to, dtype, shape }]);
    frame.array(to, dtype, shape);
    const at = [column, ...stmt.n].map(({ name }) => ({ kind: "axis", axis: name }) as const);
    found.set(stmt, { ...stmt, to, at, dtype });
  }
  return found;
}
