import { expect, test } from "vitest";
import { firstNonFinite, newElements } from "../../../runtime/device/elements.ts";
import type { Elements } from "../../../runtime/device/session.ts";
import { encode } from "../../../runtime/io/safetensors/encode.ts";
import type { StorageType } from "../../../runtime/program/launch.ts";

/** Values in a storage type, as sessions give them. */
function stored(values: readonly number[], dtype: "f64" | "f32" | "bf16" | "f16"): Elements {
  const bytes = encode(Float32Array.from(values), dtype.toUpperCase() as "F64" | "F32" | "BF16" | "F16");
  const into = newElements(dtype, values.length);
  new Uint8Array(into.buffer).set(bytes);
  return into;
}

test.each(["f64", "f32", "bf16", "f16"] as const)("the first element of %s that is not finite", (dtype) => {
  const finite = [0, -0, 1, -65504, 6e-8, 1e-30];
  expect(firstNonFinite(stored(finite, dtype), dtype)).toBe(-1);
  for (const bad of [NaN, Infinity, -Infinity])
    expect(firstNonFinite(stored([...finite, bad, NaN], dtype), dtype)).toBe(finite.length);
});

test("E4M3 has NaN alone; what is no float is finite", () => {
  expect(firstNonFinite(Uint8Array.of(0, 0x7e, 0xfe, 0x7f), "f8e4m3")).toBe(3);
  expect(firstNonFinite(Uint8Array.of(0xff), "f8e4m3")).toBe(0);
  expect(firstNonFinite(Int32Array.of(-1, 0x7fffffff), "i32")).toBe(-1);
  expect(firstNonFinite(Uint8Array.of(1, 0xff), "bool")).toBe(-1);
});

test.each([
  ["f64", Float64Array],
  ["bf16", Uint16Array],
  ["f8e4m3", Uint8Array],
] as [StorageType, new (n: number) => Elements][])("%s lies in a %o", (dtype, wanted) => {
  expect(newElements(dtype, 3)).toEqual(new wanted(3));
  expect(() => newElements(dtype, 2 ** 40)).toThrow(`no array can have 1099511627776 elements of ${dtype}`);
});
