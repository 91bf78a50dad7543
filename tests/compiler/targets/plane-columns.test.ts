/** Blocks of columns compute again what their sums are made of, and nothing that only rows need: nvcc warns of what nobody reads. */
import { expect, test } from "vitest";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import { printCuda } from "../../../compiler/targets/cuda/print.ts";

/** `x` and `peak` are there for what rows have one of; sums over rows are made of `y` and `whole`. */
const TEXT = `kernel @sums plane extents [S, T] {
  read queries: f32[T, 4]
  read keys: f32[S, 4]
  read values: f32[S, 4]
  write most: f32[T]
  write out: f32[S, 4]
  local x: f32[S]
  local y: f32[S]
  local peak: f32[]
  local whole: f32[]
  batch () rows (T) column (S)
  enter x = sum (N < 4) queries[T, N] @ keys[S, N]
  enter y = sum (N < 4) queries[T, N] @ values[S, N]
  peak[] = max over (S) x[S]
  whole[] = sum over (S) y[S]
  most[T] = peak[]
  for (S) y[S] = (y[S] / whole[])
  leave (N < 4) out[S, N] = sum over rows y @ queries[T, N]
}
`;

test("values that sums over rows do not need are not computed again", () => {
  const text = printCuda(parseKernels(TEXT).kernels).get("sums.cu")!;
  const columns = text.slice(text.indexOf("sums_columns("));
  expect(columns).toContain("float y;");
  expect(columns).not.toContain("float x;");
  expect(columns).toContain("values[");
  expect(columns).not.toContain("keys[");
  expect(text).toContain("saved_whole[");
  expect(text).not.toContain("saved_peak");
});
