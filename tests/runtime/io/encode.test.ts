import { describe, expect, test } from "vitest";
import { encode } from "../../../runtime/io/safetensors/encode.ts";
import { decode } from "../../../runtime/io/safetensors/numbers.ts";
import { fixtureTensors } from "../../support/fixture.ts";
import { randoms } from "../../support/plain.ts";

/** Halves as IEEE 754 defines them: a sign, an exponent and a fraction, the smallest exponent without the leading one. */
const FORMATS = {
  F16: { fractionBits: 10, bias: 15, infinity: 0x7c00 },
  BF16: { fractionBits: 7, bias: 127, infinity: 0x7f80 },
} as const;
type Half = keyof typeof FORMATS;

/** The value of a code; that of the code of infinity is what it would be if the exponents went on. */
function valueOf(code: number, { fractionBits, bias }: (typeof FORMATS)[Half]): number {
  const exponent = code >> fractionBits;
  const fraction = code & ((1 << fractionBits) - 1);
  const significand = exponent === 0 ? fraction : fraction + (1 << fractionBits);
  return significand * 2 ** (Math.max(exponent, 1) - bias - fractionBits);
}

/** The nearest of all codes, of two that are equally near the even one: by search, so by other means than `encode`. */
function nearest(value: number, format: (typeof FORMATS)[Half]): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === Infinity) return sign | format.infinity;
  let [low, high]: [number, number] = [0, format.infinity];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (valueOf(middle, format) <= size) low = middle;
    else high = middle;
  }
  const [below, above] = [size - valueOf(low, format), valueOf(high, format) - size];
  const up = above < below || (above === below && high % 2 === 0);
  return sign | (up ? high : low);
}

function codes(values: ArrayLike<number>, dtype: Half): number[] {
  return [...new Uint16Array(encode(Float32Array.from(values), dtype).buffer)];
}

describe.each(Object.keys(FORMATS) as Half[])("%s", (dtype) => {
  const format = FORMATS[dtype];
  const finite = Array.from({ length: format.infinity }, (_, code) => code);

  test("decodes every code to its value, and back to the code", () => {
    const signed = [...finite, ...finite.map((code) => code | 0x8000)];
    const values = decode(new Uint8Array(Uint16Array.from(signed).buffer), dtype);
    expect(signed.filter((code, i) => values[i] !== (code & 0x8000 ? -1 : 1) * valueOf(code & 0x7fff, format))).toEqual(
      [],
    );
    expect(codes(values, dtype)).toEqual(signed);
  });

  test("rounds ties between neighbors to the even one, and what is beside them to the nearer one", () => {
    const wrong: string[] = [];
    for (const code of finite) {
      const tie = (valueOf(code, format) + valueOf(code + 1, format)) / 2;
      // The f32 neighbors of the tie.
      const [bits] = new Uint32Array(Float32Array.of(tie).buffer);
      const near = [...new Float32Array(Uint32Array.of(bits! - 1, bits!, bits! + 1).buffer)];
      const got = codes(near, dtype);
      for (const [i, value] of near.entries())
        if (got[i] !== nearest(value, format)) wrong.push(`${value} gives ${got[i]}`);
      const even = code % 2 === 0 ? code : code + 1;
      if (near[1] === tie && got[1] !== even) wrong.push(`the tie ${tie} gives ${got[1]}`);
    }
    expect(wrong).toEqual([]);
  });

  test("random f32 of all sizes", () => {
    const values = randoms(5, 20_000, 1).map((x, i) => Math.fround(x * 2 ** ((i % 300) - 150)));
    expect(codes(values, dtype)).toEqual(values.map((value) => nearest(value, format)));
  });

  test("zeros, infinities, the largest f32, NaN", () => {
    const infinity: number = format.infinity;
    const largest = (2 - 2 ** -23) * 2 ** 127;
    expect(codes([0, -0, Infinity, -Infinity, largest, -largest], dtype)).toEqual([
      0,
      0x8000,
      infinity,
      infinity | 0x8000,
      infinity,
      infinity | 0x8000,
    ]);
    // NaNs with a payload in the bits that are cut off as well.
    const nans = new Float32Array(Uint32Array.of(0x7fc0_0000, 0x7f80_0001, 0xff80_0001, 0x7fff_ffff).buffer);
    const decoded = decode(encode(nans, dtype), dtype);
    expect([...decoded].every(Number.isNaN)).toBe(true);
  });
});

test("BF16 as another implementation rounds", () => {
  const tensor = fixtureTensors("j1_fp8_table", "fp8_table.safetensors");
  const wanted = tensor("bf16").data;
  const values = tensor("x").data.map((x) => (Number.isNaN(x) ? 0 : x));
  expect([...decode(encode(Float32Array.from(values), "BF16"), "BF16")]).toEqual(wanted);
});

test.each([
  ["F8_E4M3", "e4m3.decode"],
  ["F8_E5M2", "e5m2.decode"],
] as const)("every code of %s as another implementation decodes it", (dtype, name) => {
  const wanted = fixtureTensors("j1_fp8_table", "fp8_table.safetensors")(name).data;
  const all = Uint8Array.from({ length: 256 }, (_, code) => code);
  expect([...decode(all, dtype)]).toEqual(wanted);
});

test("F32 and F64 are kept as they are", () => {
  const values = Float32Array.of(1.1, -0, NaN, 1e-45, -Infinity);
  for (const dtype of ["F32", "F64"] as const) {
    expect([...decode(encode(values, dtype), dtype)]).toEqual([...values]);
  }
});
