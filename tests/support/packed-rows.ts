import type { Call } from "../../runtime/device/session.ts";
import { packRows } from "../../compiler/reference/score-rows.ts";
import type { FixtureTensor } from "./fixture.ts";

/** Rows [B, T] of a fixture as a session takes them: whole sequences one after the other, two tokens ahead known. */
export function packedRows({ data, shape }: FixtureTensor): Pick<Call, "sizes" | "inputs"> {
  const [sequences, length] = shape as [number, number];
  const rows = Array.from({ length: sequences }, (_, i) => data.slice(i * length, (i + 1) * length));
  const ahead = (by: number): Int32Array =>
    Int32Array.from(rows.flatMap((row) => row.map((_, i) => row[i + by] ?? -1)));
  const packed = [...packRows(rows)].map(([name, given]) => [name, Int32Array.from(given.data)] as const);
  return {
    sizes: { T: data.length, S: data.length, B: sequences },
    inputs: { ...Object.fromEntries(packed), "target.2": ahead(2), "ahead.1": ahead(1) },
  };
}
