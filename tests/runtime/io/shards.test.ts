import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { writeCheckpoint } from "../../../runtime/io/safetensors/shards.ts";
import { f32, type WrittenTensor } from "../../../runtime/io/safetensors/written.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dskc-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const shard = (i: number, of: number): string => `model-0000${i}-of-0000${of}.safetensors`;

/** Of 8, 8, 40 and 4 bytes, not in the order of their names. */
const tensors: readonly WrittenTensor[] = [
  f32("d", [1], [7]),
  f32("a", [2], [1, 2]),
  f32("c", [10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
  f32("b", [2, 1], [3, 4]),
];

function expectRead(): void {
  const checkpoint = new Checkpoint(dir);
  expect(checkpoint.names.toSorted()).toEqual(["a", "b", "c", "d"]);
  for (const { name, shape, bytes } of tensors) {
    expect(checkpoint.tensor(name).shape).toEqual(shape);
    expect(Buffer.from(checkpoint.tensor(name).bytes()).equals(bytes())).toBe(true);
  }
}

test("what fits is one file", () => {
  writeCheckpoint(dir, tensors, 60);
  expect(readdirSync(dir)).toEqual([SINGLE]);
  expectRead();
});

test("shards hold neighbors by name up to the limit; a larger tensor has one of its own", () => {
  writeCheckpoint(dir, tensors, 16);
  expect(readdirSync(dir).toSorted()).toEqual([shard(1, 3), shard(2, 3), shard(3, 3), INDEX]);
  expect(JSON.parse(readFileSync(join(dir, INDEX), "utf8"))).toEqual({
    metadata: { total_size: 60 },
    weight_map: { a: shard(1, 3), b: shard(1, 3), c: shard(2, 3), d: shard(3, 3) },
  });
  expectRead();
});

test("equal tensors give equal files, in whatever order they come", () => {
  writeCheckpoint(dir, tensors, 16);
  const files = readdirSync(dir).map((name) => readFileSync(join(dir, name)));
  writeCheckpoint(dir, tensors.toReversed(), 16);
  expect(readdirSync(dir).map((name) => readFileSync(join(dir, name)))).toEqual(files);
});

test("a new checkpoint takes the place of an old one, whatever the shards were", () => {
  for (const [limit, files] of [
    [16, [shard(1, 3), shard(2, 3), shard(3, 3), INDEX]],
    [60, [SINGLE]],
    [1, [shard(1, 4), shard(2, 4), shard(3, 4), shard(4, 4), INDEX]],
    [56, [shard(1, 2), shard(2, 2), INDEX]],
  ] as const) {
    writeCheckpoint(dir, tensors, limit);
    expect(readdirSync(dir).toSorted()).toEqual(files);
    expectRead();
  }
});

test("a cut leaves the old checkpoint readable, and no file aside", () => {
  writeCheckpoint(dir, tensors, 60);
  const before = statSync(join(dir, SINGLE)).ino;
  const broken: WrittenTensor = { name: "e", dtype: "F32", shape: [2], bytes: () => new Uint8Array(4) };
  expect(() => writeCheckpoint(dir, [...tensors, broken], 16)).toThrow("tensor e has 4 bytes, not 8");
  expect(readdirSync(dir)).not.toContain(INDEX);
  expect(readdirSync(dir).filter((name) => name.startsWith("."))).toEqual([]);
  expect(statSync(join(dir, SINGLE)).ino).toBe(before);
  expectRead();
});
