import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointError } from "../../../runtime/io/safetensors/format.ts";
import { decode } from "../../../runtime/io/safetensors/numbers.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { writeSafetensors } from "../../../runtime/io/safetensors/write.ts";
import { f32, type WrittenTensor } from "../../../runtime/io/safetensors/written.ts";

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
      "x.safetensors: tensor `a` has 8 bytes, its shape [9007199254740991,1024] of F32 needs more than 2^53",
    ],
    [`{"a":${tensor("[0,8]", "[2]", "F99")}}`, 8, 'x.safetensors: tensor `a` has the unknown dtype "F99"'],
    [`{"a":${tensor("[0]")}}`, 8, "x.safetensors: tensor `a` has the offsets [0]"],
    [`{"a":3}`, 0, "x.safetensors: tensor `a` has no description"],
    [`{"a":[]}`, 0, "x.safetensors: tensor `a` has no description"],
    [`{"a":{"shape":[0]}}`, 0, "x.safetensors: tensor `a` has the unknown dtype undefined"],
    [`{"a":${tensor("[0,8]", "[1.5]")}}`, 8, "x.safetensors: tensor `a` has the shape [1.5]"],
    [`{"a":${tensor("[0,8]", "[1e400]")}}`, 8, "x.safetensors: tensor `a` has the shape [null]"],
    [`{"a":${tensor("[0,8]", "null")}}`, 8, "x.safetensors: tensor `a` has the shape null"],
    [`{"a":${tensor("[-4,4]")}}`, 8, "x.safetensors: tensor `a` has the offsets [-4,4]"],
    [
      `{"a":${tensor("[0,1152921504606846976]")}}`,
      8,
      "x.safetensors: tensor `a` has the offsets [0,1152921504606847000]",
    ],
    [`{"a":${tensor("[0,0]", "[9007199254740991,9007199254740991,0]")}}`, 0, "fine"],
    ["[1]", 0, "x.safetensors: the header is not an object"],
    ["{", 0, "x.safetensors: the header is not JSON"],
    ["", 0, "x.safetensors: the header is not JSON"],
    [` {"a":${tensor("[0,8]")}}`, 8, "x.safetensors: the header does not begin with {"],
    [`\ufeff{"a":${tensor("[0,8]")}}`, 8, "x.safetensors: the header is not JSON"],
    [`{"__metadata__":{"format":3}}`, 0, "x.safetensors: the metadata is no object of texts"],
  ])("%s with %i bytes", (header, bytes, wanted) => expect(message(file(header, bytes))).toBe(wanted));

  const twice = "x.safetensors: tensor `a` is described twice";
  test.each([
    [`{"a":${tensor("[0,8]")},"a":{"note":1,"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, twice],
    [`{"a":${tensor("[0,8]")},"\\u0061":${tensor("[0,8]")}}`, twice],
    [`{"a":{},"a":${tensor("[0,8]")}}`, twice],
    [
      `{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,8],"shape":[2]}}`,
      "x.safetensors: tensor `a` has `shape` twice",
    ],
    // Text that only looks like a second description.
    [`{"a":${tensor("[0,8]")},"b\\":{\\"a":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}`, "fine"],
  ])("%s", (header, wanted) => expect(message(file(header, 8))).toBe(wanted));

  test("is cut at any byte", () => {
    const path = join(dir, "whole");
    writeSafetensors(path, [f32("a", [2], [1, 2]), f32("b", [3], [3, 4, 5])]);
    const bytes = readFileSync(path);
    expect(message(path)).toBe("fine");
    const header = bytes.length - 20;
    for (let size = 0; size < bytes.length; size++) {
      writeFileSync(join(dir, "cut"), bytes.subarray(0, size));
      const wanted =
        size < 8
          ? "cut: too short for a header"
          : size < header
            ? `cut: the header claims ${header - 8} bytes, the file has ${size}`
            : size < header + 8
              ? `cut: tensor \`a\` lies at bytes 0 to 8 of ${size - header}`
              : `cut: tensor \`b\` lies at bytes 8 to 20 of ${size - header}`;
      expect(message(join(dir, "cut"))).toBe(wanted);
    }
  });

  test("has names and values that no line has room for", () => {
    const long = "n".repeat(1_000_000);
    expect(message(file(`{"${long}":3}`))).toBe(`x.safetensors: tensor \`${"n".repeat(197)}...\` has no description`);
    expect(message(file(`{"a\\nb\\u001b[31m":3}`))).toBe("x.safetensors: tensor `a\\nb\\u001b[31m` has no description");
    const deep = `${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}`;
    expect(message(file(`{"a":${tensor("[0,8]", deep)}}`))).toBe("x.safetensors: tensor `a` has the shape [...]");
  });

  test("is no file", () => {
    mkdirSync(join(dir, "model.safetensors"));
    expect(message(dir)).toBe("model.safetensors: it is a directory");
    symlinkSync("/dev/zero", join(dir, "zero"));
    expect(message(join(dir, "zero"))).toBe("zero: it is no file");
    symlinkSync("circle", join(dir, "circle"));
    expect(message(join(dir, "circle"))).toBe("DIR/circle: there is no such file or directory");
  });

  test("headers longer than the file, or than any", () => {
    expect(message(file("{}", 0, 1_000))).toBe("x.safetensors: the header claims 1000 bytes, the file has 10");
    expect(message(file("{}", 0, 2 ** 63))).toBe(
      "x.safetensors: the header claims 9223372036854775808 bytes, more than 100000000",
    );
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

  test("that are not what the index says", () => {
    writeSafetensors(join(dir, "a.safetensors"), [f32("x", [2], [1, 2]), f32("z", [1], [1])]);
    writeSafetensors(join(dir, "b.safetensors"), [f32("y", [1], [3])]);
    index({ x: "b.safetensors", y: "b.safetensors", w: "a.safetensors" });
    expect(message(dir)).toBe(
      [
        "b.safetensors: tensor `x` is in a.safetensors, the index says here",
        "a.safetensors: there is no tensor `w`, which the index says it has",
        "a.safetensors: tensor `z` is not in the index",
      ].join("\n"),
    );
    writeSafetensors(join(dir, "b.safetensors"), [f32("z", [1], [3])]);
    index({ x: "a.safetensors", z: "b.safetensors" });
    expect(message(dir)).toBe("b.safetensors: tensor `z` is in a.safetensors as well");
    index({ x: "c.safetensors", z: "d.safetensors" });
    expect(message(dir)).toBe(
      [
        "model.safetensors.index.json: the shard `c.safetensors` is missing",
        "model.safetensors.index.json: the shard `d.safetensors` is missing",
      ].join("\n"),
    );
  });

  test("whose index is no index", () => {
    const path = join(dir, "model.safetensors.index.json");
    writeFileSync(path, "{");
    expect(message(dir)).toBe("model.safetensors.index.json: not JSON");
    writeFileSync(path, Buffer.from('{"weight_map":{"\xff":"a"}}', "latin1"));
    expect(message(dir)).toBe("model.safetensors.index.json: not JSON");
    writeFileSync(path, '{"weight_map":{"x":"a","x":"b"}}');
    expect(message(dir)).toBe('model.safetensors.index.json: the key "weight_map.x" stands twice');
    rmSync(path);
    mkdirSync(path);
    expect(message(dir)).toBe("model.safetensors.index.json: it is a directory");
  });

  test("that are links to files elsewhere, as in the cache of a hub, are read", () => {
    mkdirSync(join(dir, "blobs"));
    writeSafetensors(join(dir, "blobs", "1f"), [f32("x", [1], [1])]);
    symlinkSync(join("blobs", "1f"), join(dir, "a.safetensors"));
    index({ x: "a.safetensors" });
    expect(message(dir)).toBe("fine");
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
    ...["/etc/passwd", "a/b", "a\\b", "", ".", "a\0", null, 3].map((shard): [object, string] => [
      { x: shard },
      `model.safetensors.index.json: tensor \`x\` is said to be in ${JSON.stringify(shard)}, which is not a file of the directory`,
    ]),
    [{ x: "gone.safetensors" }, "model.safetensors.index.json: the shard `gone.safetensors` is missing"],
    [3, "model.safetensors.index.json: there is no weight_map"],
    [[], "model.safetensors.index.json: there is no weight_map"],
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
  });

  test("factors that do not fit, or that a weight does not need, are refused", () => {
    const plain = f32("w", [2, 2], [1, 2, 3, 4]);
    const fp8: WrittenTensor = { ...plain, dtype: "F8_E4M3", bytes: () => new Uint8Array(4) };
    const told = (...tensors: WrittenTensor[]): string | undefined => {
      writeSafetensors(join(dir, "b"), tensors);
      return new Checkpoint(join(dir, "b")).problemOf("w", [2, 2]);
    };
    const one = f32("w_scale_inv", [1, 1], [1]);
    expect(told(fp8, one)).toBe(undefined);
    expect(told(plain)).toBe(undefined);
    expect(told(fp8)).toBe("tensor `w` is F8_E4M3 and has no scales `w_scale_inv`");
    expect(told(fp8, f32("w_scale_inv", [1, 2], [1, 2]))).toBe(
      "b: tensor `w_scale_inv` has the shape [1, 2], blocks of 128 x 128 need [1, 1]",
    );
    expect(told(plain, one)).toBe("b: tensor `w_scale_inv` scales `w`, which is F32: only fp8 weights are scaled");
    expect(told(fp8, { ...one, dtype: "I32" })).toBe("b: tensor `w_scale_inv` is I32; factors are F32, BF16, F16, F64");
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
