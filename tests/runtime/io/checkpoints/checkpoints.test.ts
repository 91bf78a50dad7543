import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { latestCheckpoint, listCheckpoints } from "../../../../runtime/io/checkpoints/find.ts";
import { clearAside, pruneCheckpoints, saveCheckpoint } from "../../../../runtime/io/checkpoints/save.ts";
import { verifyCheckpoint } from "../../../../runtime/io/checkpoints/state.ts";
import { Checkpoint } from "../../../../runtime/io/safetensors/read.ts";
import { f32 } from "../../../../runtime/io/safetensors/written.ts";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "dskc-checkpoints-"))));
afterEach(() => rmSync(folder, { recursive: true }));

const weights = (value: number) => ({ "model.safetensors": [f32("w", [2], [value, 2 * value])] });
const save = (step: number): string => saveCheckpoint(folder, step, weights(step), { tokens: 10 * step }).path;
const latest = (): { step: number | undefined; damaged: string[] } => {
  const damaged: string[] = [];
  const found = latestCheckpoint(folder, (why) => damaged.push(why.replace(`${folder}/`, "")));
  return { step: found?.state.step, damaged };
};

/** Flips one bit of a file. */
function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 4;
  writeFileSync(path, bytes);
}

describe("saving", () => {
  test("keeps tensors and state", () => {
    const path = save(3);
    expect(path).toBe(join(folder, "00000003"));
    expect([...new Checkpoint(path).tensor("w").read()]).toEqual([3, 6]);
    expect(verifyCheckpoint(path)).toMatchObject({ step: 3, training: { tokens: 30 } });
  });

  test("replaces a checkpoint of the same step", () => {
    save(3);
    saveCheckpoint(folder, 3, weights(5), {});
    expect([...new Checkpoint(join(folder, "00000003")).tensor("w").read()]).toEqual([5, 10]);
    expect(readdirSync(folder)).toEqual(["00000003"]);
  });

  test("leaves nothing when a tensor cannot be had", () => {
    save(3);
    const broken = {
      ...f32("x", [1], [0]),
      bytes: () => {
        throw new Error("lost");
      },
    };
    const files = { ...weights(4), "optimizer.safetensors": [broken] };
    expect(() => saveCheckpoint(folder, 4, files, {})).toThrow("lost");
    expect(readdirSync(folder)).toEqual(["00000003"]);
  });

  test("of the newest some are kept", () => {
    for (const step of [1, 2, 3, 10]) save(step);
    pruneCheckpoints(folder, 2, 3);
    expect(readdirSync(folder)).toEqual(["00000002", "00000003", "00000010"]);
  });

  test("what a cut left aside is removed, and nothing else", () => {
    save(3);
    for (const name of [".00000004.77", ".00000003.77.old", ".keep"]) writeFileSync(join(folder, name), "");
    clearAside(folder);
    expect(readdirSync(folder).toSorted()).toEqual([".keep", "00000003"]);
  });
});

describe("the latest checkpoint", () => {
  test("is undefined without any", () => {
    expect(latest()).toEqual({ step: undefined, damaged: [] });
    expect(latestCheckpoint(join(folder, "none"), () => undefined)).toBeUndefined();
  });

  test("is the one with the highest step", () => {
    for (const step of [9, 10, 2]) save(step);
    expect(latest()).toEqual({ step: 10, damaged: [] });
    expect(listCheckpoints(folder).map(({ step }) => step)).toEqual([10, 9, 2]);
  });

  test.for<[string, (path: string) => void, string]>([
    [
      "a flipped bit",
      (path) => flip(join(path, "model.safetensors"), 90),
      "model.safetensors does not match its checksum",
    ],
    [
      "a cut file",
      (path) => truncateSync(join(path, "model.safetensors"), 50),
      "model.safetensors has 50 bytes, not 104",
    ],
    ["a longer file", (path) => appendFileSync(join(path, "model.safetensors"), "x"), "has 105 bytes, not 104"],
    ["a missing file", (path) => rmSync(join(path, "model.safetensors")), "model.safetensors is missing"],
    ["a cut state", (path) => truncateSync(join(path, "state.json"), 40), "state.json is not JSON"],
    ["an empty state", (path) => writeFileSync(join(path, "state.json"), "null"), "state.json is not an object"],
    ["a missing state", (path) => rmSync(join(path, "state.json")), "state.json cannot be read"],
    [
      "another number in the state",
      (path) => {
        const file = join(path, "state.json");
        writeFileSync(file, readFileSync(file, "utf8").replace('"tokens": 20', '"tokens": 30'));
      },
      "state.json does not match its checksum",
    ],
  ])("passes over one with %s, and says so", ([, damage, why]) => {
    save(1);
    damage(save(2));
    const { step, damaged } = latest();
    expect(step).toBe(1);
    expect(damaged).toHaveLength(1);
    expect(damaged[0]).toContain("00000002: ");
    expect(damaged[0]).toContain(why);
  });
});
