import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Checkpoint, CheckpointError, encodeSafetensors } from "../../../runtime/io/safetensors.ts";

const folder = (): string => mkdtempSync(join(tmpdir(), "safetensors-"));

function file(dir: string, name: string, header: unknown, data: Uint8Array): string {
  const head = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  const path = join(dir, name);
  writeFileSync(path, Buffer.concat([length, head, data]));
  return path;
}

test("what is written reads back", () => {
  const tensor = fc.array(fc.float({ noNaN: true }), { maxLength: 8 });
  fc.assert(
    fc.property(fc.dictionary(fc.string({ minLength: 1 }), tensor, { maxKeys: 5 }), (tensors) => {
      const wanted = new Map(Object.entries(tensors).filter(([name]) => name !== "__metadata__"));
      const bytes = encodeSafetensors(
        new Map([...wanted].map(([name, data]) => [name, { shape: [data.length], data }])),
      );
      const path = join(folder(), "x.safetensors");
      writeFileSync(path, bytes);
      const checkpoint = new Checkpoint(path);
      expect(new Set(checkpoint.names)).toEqual(new Set(wanted.keys()));
      for (const [name, data] of wanted) expect(Array.from(checkpoint.read(name).data)).toEqual(data);
    }),
    { numRuns: 40 },
  );
});

test.each([
  ["BF16", [0x80, 0x3f, 0x20, 0xc0], [1, -2.5]],
  ["F16", [0x00, 0x3c, 0x01, 0x00, 0x00, 0xfc], [1, 2 ** -24, -Infinity]],
  ["F64", [0, 0, 0, 0, 0, 0, 0xf8, 0x3f], [1.5]],
  ["I64", [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [-2]],
])("%s is read", (dtype, bytes, values) => {
  const header = { x: { dtype, shape: [values.length], data_offsets: [0, bytes.length] } };
  const path = file(folder(), "x.safetensors", header, Uint8Array.from(bytes));
  expect(Array.from(new Checkpoint(path).read("x").data)).toEqual(values);
});

describe("a folder", () => {
  const entry = { dtype: "F32", shape: [1], data_offsets: [0, 4] };

  test("with an index is read through it", () => {
    const dir = folder();
    file(dir, "a.safetensors", { a: entry }, new Uint8Array(4));
    file(dir, "b.safetensors", { b: entry }, new Uint8Array(4));
    file(dir, "c.safetensors", { c: entry }, new Uint8Array(4));
    writeFileSync(
      join(dir, "model.safetensors.index.json"),
      JSON.stringify({ weight_map: { a: "a.safetensors", b: "b.safetensors" } }),
    );
    expect(new Checkpoint(dir).names).toEqual(["a", "b"]);
  });

  test("without one is its model.safetensors, or else all of it", () => {
    const dir = folder();
    file(dir, "b.safetensors", { b: entry }, new Uint8Array(4));
    expect(new Checkpoint(dir).names).toEqual(["b"]);
    file(dir, "model.safetensors", { a: entry }, new Uint8Array(4));
    expect(new Checkpoint(dir).names).toEqual(["a"]);
  });
});

test.each([
  [
    "too short",
    (dir: string) => {
      writeFileSync(join(dir, "x.safetensors"), "abc");
    },
  ],
  [
    "no JSON",
    (dir: string) => {
      writeFileSync(
        join(dir, "x.safetensors"),
        Buffer.concat([Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]), Buffer.from("oops")]),
      );
    },
  ],
  [
    "data beyond the end",
    (dir: string) => {
      file(dir, "x.safetensors", { x: { dtype: "F32", shape: [2], data_offsets: [0, 8] } }, new Uint8Array(4));
    },
  ],
  ["nothing there", () => {}],
])("%s is an error", (_, prepare) => {
  const dir = folder();
  prepare(dir);
  expect(() => new Checkpoint(dir)).toThrow(CheckpointError);
});

test("a dtype that is not known is told when the tensor is read", () => {
  const path = file(
    folder(),
    "x.safetensors",
    { x: { dtype: "F8_E4M3", shape: [1], data_offsets: [0, 1] } },
    new Uint8Array(1),
  );
  expect(() => new Checkpoint(path).read("x")).toThrow(/`x` is F8_E4M3/);
});
