import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { CheckpointError } from "../../../runtime/io/safetensors/format.ts";
import { decode } from "../../../runtime/io/safetensors/numbers.ts";
import { type CodeType, dequantize, NotFiniteError, quantize } from "../../../runtime/io/safetensors/quantize.ts";
import { quantizedMetadata } from "../../../runtime/io/safetensors/quantized-metadata.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { writeCheckpoint } from "../../../runtime/io/safetensors/shards.ts";

const folder = mkdtempSync(join(tmpdir(), "dskc-codes-"));
afterAll(() => rmSync(folder, { recursive: true }));

const bytes = (array: Int8Array | Uint8Array | Uint16Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const RANGES: Readonly<Record<CodeType, readonly [number, number]>> = { i8: [-127, 127], i4: [-8, 7] };

test("ties go to the even code, and the scale is the largest value over 127", () => {
  const values = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.4999);
  const { codes, scales } = quantize(values, [8], "i8", { dim: 0, group: 8 });
  expect([...codes]).toEqual([127, 0, 2, 2, 0, -2, -2, 2]);
  expect([...decode(bytes(scales), "BF16")]).toEqual([1]);
});

test("of four bits all sixteen codes are used: the value that is farthest from 0 is -8, two codes lie in a byte", () => {
  const values = Float32Array.of(4, 3.5, -3.5, 0.25, -4, 0.75, 0);
  const { codes, scales } = quantize(values, [7], "i4", { dim: 0, group: 7 });
  expect([...decode(bytes(scales), "BF16")]).toEqual([-0.5]);
  // Codes -8, -7, 7, 0, 7 (8 would be needed), -2, 0.
  expect([...codes]).toEqual([0x98, 0x07, 0xe7, 0x00]);
});

describe.each(["i8", "i4"] as const)("%s", (dtype) => {
  test("each code is the nearest one, groups run along any dim, and the last one may be shorter", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 });
    const value = fc.float({ noNaN: true, min: -1000, max: 1000 });
    fc.assert(
      fc.property(
        sizes,
        fc.nat(),
        fc.integer({ min: 1, max: 10 }),
        fc.infiniteStream(value),
        (shape, at, group, draw) => {
          const dim = at % shape.length;
          const values = Float32Array.from(
            { length: shape.reduce((a, b) => a * b, 1) },
            () => draw.next().value as number,
          );
          const made = quantize(values, shape, dtype, { dim, group });
          const read = dequantize(made, shape, dtype, { dim, group });
          const scales = decode(bytes(made.scales), "BF16");
          const inner = shape.slice(dim + 1).reduce((a, b) => a * b, 1);
          const groups = Math.ceil(shape[dim]! / group);
          const [least, most] = RANGES[dtype];
          for (const [i, wanted] of values.entries()) {
            const along = Math.floor(i / inner) % shape[dim]!;
            const outer = Math.floor(i / inner / shape[dim]!);
            const scale = scales[(outer * groups + Math.floor(along / group)) * inner + (i % inner)]!;
            let nearest = Infinity;
            for (let code = least; code <= most; code++) nearest = Math.min(nearest, Math.abs(code * scale - wanted));
            expect(Math.abs(read[i]! - wanted)).toBe(nearest);
          }
        },
      ),
    );
  });

  test("what is not finite has no code", () => {
    for (const wrong of [NaN, Infinity, -Infinity]) {
      const values = Float32Array.of(1, 2, wrong, 3);
      expect(() => quantize(values, [2, 2], dtype, { dim: 0, group: 2 })).toThrow(new NotFiniteError(2));
    }
    const { codes } = quantize(new Float32Array(4), [4], dtype, { dim: 0, group: 2 });
    expect(codes.every((code) => code === 0)).toBe(true);
  });

  test("a checkpoint with codes is read as the floats that they stand for", () => {
    const values = Float32Array.from({ length: 30 }, (_, i) => Math.sin(i));
    const shape = [5, 6];
    const { codes, scales } = quantize(values, shape, dtype, { dim: 0, group: 2 });
    const metadata = quantizedMetadata(new Map([["w", { dtype, shape, scales: "w.scale", dim: 0, group: 2 }]]));
    const own = dtype === "i8" ? { dtype: "I8" as const, shape } : { dtype: "U8" as const, shape: [15] };
    const tensors = [
      { name: "w", ...own, bytes: () => bytes(codes) },
      { name: "w.scale", dtype: "BF16" as const, shape: [3, 6], bytes: () => bytes(scales) },
    ];
    writeCheckpoint(join(folder, dtype), tensors, undefined, metadata);
    const checkpoint = new Checkpoint(join(folder, dtype));
    expect(checkpoint.names).toEqual(["w"]);
    expect(checkpoint.tensor("w").shape).toEqual(shape);
    expect(checkpoint.tensor("w").read()).toEqual(dequantize({ codes, scales }, shape, dtype, { dim: 0, group: 2 }));

    writeCheckpoint(join(folder, `${dtype}-cut`), tensors.slice(0, 1), undefined, metadata);
    expect(() => new Checkpoint(join(folder, `${dtype}-cut`))).toThrow("tensor `w.scale` is missing");
    writeCheckpoint(join(folder, `${dtype}-bad`), tensors, undefined, { quantized: '{"w": {"dtype": "i2"}}' });
    expect(() => new Checkpoint(join(folder, `${dtype}-bad`))).toThrow(CheckpointError);
  });
});
