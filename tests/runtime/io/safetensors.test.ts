import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointError } from "../../../runtime/io/safetensors/format.ts";
import { decode } from "../../../runtime/io/safetensors/numbers.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { f32, writeSafetensors, type WrittenTensor } from "../../../runtime/io/safetensors/write.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dskc-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A file with this header, whatever it claims, and so many bytes behind it. */
function file(header: string, bytes = 0, length = Buffer.byteLength(header)): string {
  const path = join(dir, "x.safetensors");
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(length));
  writeFileSync(path, Buffer.concat([size, Buffer.from(header), Buffer.alloc(bytes)]));
  return path;
}

function message(path: string): string {
  try {
    new Checkpoint(path);
  } catch (error) {
    if (error instanceof CheckpointError) return error.message.replace(dir, "DIR");
    throw error;
  }
  return "fine";
}

const tensor = (offsets: string, shape = "[2]", dtype = "F32"): string =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

describe("a file that lies", () => {
  test.each([
    [`{"a":${tensor("[0,8]")}}`, 8, "fine"],
    [`{"a":${tensor("[0,8]")}}`, 4, "x.safetensors: tensor `a` lies at bytes 0 to 8 of 4"],
    [`{"a":${tensor("[0,8]")}}`, 12, "x.safetensors: 4 bytes at the end belong to no tensor"],
    [`{"a":${tensor("[4,12]")}}`, 12, "x.safetensors: 4 bytes before tensor `a` belong to no tensor"],
    [`{"a":${tensor("[0,8]")},"b":${tensor("[4,12]")}}`, 12, "x.safetensors: tensor `b` overlaps the one before it"],
    [`{"a":${tensor("[0,8]")},"a":${tensor("[0,8]")}}`, 8, "x.safetensors: tensor `a` is described twice"],
    [`{"a":${tensor("[8,0]")}}`, 8, "x.safetensors: tensor `a` lies at bytes 8 to 0 of 8"],
    [`{"a":${tensor("[0,8]", "[3]")}}`, 8, "x.safetensors: tensor `a` has 8 bytes, its shape [3] of F32 needs 12"],
    [`{"a":${tensor("[0,8]", "[-2]")}}`, 8, "x.safetensors: tensor `a` has the shape [-2]"],
    [
      `{"a":${tensor("[0,8]", "[9007199254740991,1024]")}}`,
      8,
      "x.safetensors: tensor `a` has 8 bytes, its shape [9007199254740991,1024] of F32 needs 36893488147419100000",
    ],
    [`{"a":${tensor("[0,8]", "[2]", "F99")}}`, 8, 'x.safetensors: tensor `a` has the unknown dtype "F99"'],
    [`{"a":${tensor("[0]")}}`, 8, "x.safetensors: tensor `a` has the offsets [0]"],
    [`{"a":3}`, 0, "x.safetensors: tensor `a` has no description"],
    ["[1]", 0, "x.safetensors: the header is not an object"],
    ["{", 0, "x.safetensors: the header is not JSON"],
  ])("%s with %i bytes", (header, bytes, wanted) => expect(message(file(header, bytes))).toBe(wanted));

  test("headers longer than the file, or than any", () => {
    expect(message(file("{}", 0, 1_000))).toBe("x.safetensors: the header claims 1000 bytes, the file has 10");
    expect(message(file("{}", 0, 2 ** 40))).toBe(
      "x.safetensors: the header claims 1099511627776 bytes, more than 100000000",
    );
    writeFileSync(join(dir, "y"), "abc");
    expect(message(join(dir, "y"))).toBe("y: too short for a header");
  });

  test("any bytes whatever", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        writeFileSync(join(dir, "x.safetensors"), bytes);
        message(join(dir, "x.safetensors"));
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});

describe("shards", () => {
  const index = (map: unknown): void =>
    writeFileSync(join(dir, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));

  test("are read together", () => {
    writeSafetensors(join(dir, "a.safetensors"), [f32("x", [2], [1, 2])]);
    writeSafetensors(join(dir, "b.safetensors"), [f32("y", [1], [3])]);
    index({ x: "a.safetensors", y: "b.safetensors" });
    const checkpoint = new Checkpoint(dir);
    expect(checkpoint.names).toEqual(["x", "y"]);
    expect([...checkpoint.tensor("y").read()]).toEqual([3]);
  });

  test.each([
    [
      { x: "../../etc/passwd" },
      'model.safetensors.index.json: tensor `x` is said to be in "../../etc/passwd", which is not a file of the directory',
    ],
    [
      { x: ".." },
      'model.safetensors.index.json: tensor `x` is said to be in "..", which is not a file of the directory',
    ],
    [{ x: "gone.safetensors" }, "model.safetensors.index.json: the shard `gone.safetensors` is missing"],
    [3, "model.safetensors.index.json: there is no weight_map"],
  ])("%j", (map, wanted) => {
    index(map);
    expect(message(dir)).toBe(wanted);
  });

  test("an empty directory", () =>
    expect(message(dir)).toBe("DIR: there is no model.safetensors and no model.safetensors.index.json"));
});

describe("values", () => {
  test("what is written is read bit for bit, and written the same again", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.string({ minLength: 1, maxLength: 8 }), fc.array(fc.float({ noNaN: true }), { maxLength: 9 })),
          { maxLength: 5 },
        ),
        (list) => {
          const tensors = [...new Map(list.filter(([n]) => n !== "__metadata__" && n !== "__proto__"))].map(
            ([name, data]) => f32(name, [data.length], data),
          );
          writeSafetensors(join(dir, "a"), tensors);
          const read = new Checkpoint(join(dir, "a"));
          const again = tensors.map(({ name, shape }) => f32(name, shape, read.tensor(name).read()));
          writeSafetensors(join(dir, "b"), again);
          expect(readFileSync(join(dir, "b")).equals(readFileSync(join(dir, "a")))).toBe(true);
        },
      ),
      { numRuns: 100, seed: 2 },
    );
    expect(readdirSync(dir).toSorted()).toEqual(["a", "b"]);
  });

  test("halves and bytes", () => {
    const halves = new Uint8Array(new Uint16Array([0x3c00, 0xc000, 0x0001, 0x7c00]).buffer);
    expect([...decode(halves, "F16")]).toEqual([1, -2, 2 ** -24, Infinity]);
    expect([...decode(new Uint8Array(new Uint16Array([0x3f80, 0xc000]).buffer), "BF16")]).toEqual([1, -2]);
    expect([...decode(Uint8Array.from([0x38, 0x7e, 0x01, 0xb8, 0x7f]), "F8_E4M3")]).toEqual([1, 448, 2 ** -9, -1, NaN]);
    expect([...decode(new Uint8Array(new BigInt64Array([-3n]).buffer), "I64")]).toEqual([-3]);
  });

  test("fp8 weights with one factor per block of 128 x 128, the last blocks smaller", () => {
    const bytes = new Uint8Array(130 * 129).fill(0x38);
    const weight: WrittenTensor = { name: "w", dtype: "F8_E4M3", shape: [130, 129], bytes: () => bytes };
    writeSafetensors(join(dir, "a"), [weight, f32("w_scale_inv", [2, 2], [1, 2, 3, 4])]);
    const checkpoint = new Checkpoint(join(dir, "a"));
    expect(checkpoint.names).toEqual(["w"]);
    const values = checkpoint.tensor("w").read();
    expect([values[0], values[128], values[128 * 129], values[129 * 129 + 128]]).toEqual([1, 2, 3, 4]);
    writeSafetensors(join(dir, "b"), [weight, f32("w_scale_inv", [1, 2], [1, 2])]);
    expect(() => new Checkpoint(join(dir, "b")).tensor("w").read()).toThrow(
      "tensor `w_scale_inv` has the shape [1, 2], blocks of 128 x 128 need [2, 2]",
    );
  });

  test("a cut leaves the old file", () => {
    const path = join(dir, "a");
    writeSafetensors(path, [f32("x", [1], [1])]);
    const broken: WrittenTensor = { name: "x", dtype: "F32", shape: [2], bytes: () => new Uint8Array(4) };
    expect(() => writeSafetensors(path, [broken])).toThrow("tensor x has 4 bytes, not 8");
    expect([...new Checkpoint(path).tensor("x").read()]).toEqual([1]);
    expect(readdirSync(dir)).toEqual(["a"]);
    mkdirSync(join(dir, "sub"));
  });
});
