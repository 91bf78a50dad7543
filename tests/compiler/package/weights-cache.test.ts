/** Packed weights are found again as long as nobody touches the files that they were made from. */
import {
  closeSync,
  copyFileSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { tableOf } from "../../../compiler/cli/name-table.ts";
import { modelFile } from "../../../compiler/package/model.ts";
import { loweredSource } from "../../../compiler/package/package.ts";
import { servingPrograms } from "../../../compiler/package/programs.ts";
import { weightsInCache } from "../../../compiler/package/weights-cache.ts";
import { keptBy } from "../../../runtime/device/stores.ts";
import { CheckpointError } from "../../../runtime/io/safetensors/format.ts";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { tinyV3 } from "../../support/tiny-v3.ts";

const folder = mkdtempSync(join(tmpdir(), "dskc-packed-"));
const [checkpoint, file] = [join(folder, "checkpoint"), join(folder, "checkpoint", "model.safetensors")];
const { module } = tinyV3();
const model = modelFile(module, tableOf(module));
const programs = loweredSource({ programs: servingPrograms(module, false), store: { kind: "int8", group: 16 } });
const { stores } = keptBy(programs.programs);

/** The folder, and how many tensors were written for it. */
function packed(): { readonly at: string; readonly written: number } {
  let written = 0;
  const at = weightsInCache(checkpoint, model, stores, () => written++);
  return { at, written };
}

/** The first value of the embedding, without what codes lose of it. */
function embedding(at: string): number {
  return Math.round(new Checkpoint(at).tensor("embed.weight").read()[0]!);
}

/** Writes a float over one of the embedding where it stands. */
function patch(path: string, value: number): void {
  const { place } = new Checkpoint(path).tensor("model.embed_tokens.weight");
  const fd = openSync(path, "r+");
  writeSync(fd, new Uint8Array(Float32Array.of(value).buffer), 0, 4, place.offset);
  closeSync(fd);
}

beforeAll(() => {
  vi.stubEnv("DSKC_CACHE", join(folder, "cache"));
  cpSync("tests/fixtures/models/a1_v3_plain", checkpoint, { recursive: true });
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

test("made once, and again for another form", () => {
  const first = packed();
  expect(first.written).toBeGreaterThan(20);
  expect(packed()).toEqual({ at: first.at, written: 0 });
  const other = stores.map((spec) => (spec.name === "norm.weight" ? { ...spec, dtype: "bf16" as const } : spec));
  expect(weightsInCache(checkpoint, model, other)).not.toBe(first.at);
});

test("a file that is written over, whose times are set back, or that another one replaces, is another file", () => {
  const before = packed();
  const { atime, mtime } = statSync(file);
  patch(file, 1000);
  utimesSync(file, atime, mtime);
  const written = packed();
  expect(written.written).toBeGreaterThan(20);
  expect(embedding(written.at)).toBe(1000);
  expect(embedding(before.at)).not.toBe(1000);

  // Of the same size, with the same header and times.
  copyFileSync(file, join(folder, "other"));
  patch(join(folder, "other"), 500);
  utimesSync(join(folder, "other"), atime, mtime);
  renameSync(join(folder, "other"), file);
  expect(embedding(packed().at)).toBe(500);

  // As fast as it goes, many times: clocks of file systems are coarse.
  for (let i = 1; i <= 20; i++) {
    patch(file, i);
    expect(embedding(packed().at)).toBe(i);
  }
});

test("a file that changes while it is read leaves nothing behind", () => {
  patch(file, 7);
  const change = (): string => weightsInCache(checkpoint, model, stores, (_, done) => done === 5 && patch(file, 8));
  expect(change).toThrow(CheckpointError);
  expect(change).toThrow("a file was changed while it was read");
  const left = readdirSync(join(folder, "cache", "cpu")).filter((name) => !/^[0-9a-f]{40}\.weights$/.test(name));
  expect(left).toEqual([]);
  expect(embedding(packed().at)).toBe(8);
});
