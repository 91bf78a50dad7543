import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCpuSession } from "../../../../runtime/device/cpu/session.ts";
import type { LaunchProgram, StorageType } from "../../../../runtime/program/launch.ts";
import { buffer, kernelPackage, writePrograms } from "../../../support/kernels.ts";
import { KERNELS } from "./kernels.ts";

let directory: string;
beforeAll(async () => {
  directory = await kernelPackage(KERNELS);
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("a profile", () => {
  const program: LaunchProgram = {
    name: "p",
    dims: ["T"],
    buffers: [
      buffer("input", "ms", "i32", 1),
      buffer("output", "out", "f32", 1),
      buffer("input", "x", "f32", "T", 3),
      buffer("output", "sums", "f32", "T"),
    ],
    launches: [
      { kernel: "sleep", args: [0, 1], extents: [], note: "small.dsk:3" },
      { kernel: "row_sum", args: [2, 3], extents: ["T", 3] },
    ],
  };
  const call = { program: "p", sizes: { T: 5 }, inputs: { ms: Int32Array.of(20), x: new Float32Array(15) } };

  test("has the time, calls and items of every launch", async () => {
    writePrograms(directory, program);
    const session = openCpuSession(directory, { profile: true });
    await session.run(call);
    await session.run(call);
    const [sleep, sums] = session.profile();
    session.close();
    expect(sleep).toMatchObject({ program: "p", kernel: "sleep", note: "small.dsk:3", calls: 2, items: 2 });
    expect(sums).toMatchObject({ program: "p", kernel: "row_sum", calls: 2, items: 10 });
    expect(sleep!.nanoseconds).toBeGreaterThan(40e6);
    expect(sums!.nanoseconds).toBeGreaterThan(0);
    expect(sums!.nanoseconds).toBeLessThan(sleep!.nanoseconds);
  });

  test("is empty when it was not asked for", async () => {
    writePrograms(directory, program);
    const session = openCpuSession(directory);
    await session.run(call);
    expect(session.profile().map(({ calls, nanoseconds }) => [calls, nanoseconds])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    session.close();
  });
});

test("stores that hold something that is not finite say where", () => {
  const dtypes: StorageType[] = ["f64", "f32", "bf16", "f16", "f8e4m3", "i32", "bool"];
  const buffers = dtypes.map((dtype) => buffer("param", dtype, dtype, 3000));
  writePrograms(directory, { name: "p", dims: [], buffers, launches: [] });
  const session = openCpuSession(directory);
  const bits: readonly [StorageType, number][] = [
    ["bf16", 0x7f80],
    ["f16", 0xfc00],
    ["f8e4m3", 0xff],
  ];
  for (const dtype of dtypes) expect([dtype, session.firstNonFinite(dtype)]).toEqual([dtype, -1]);
  for (const at of [0, 1023, 1024, 2999]) {
    for (const [dtype, code] of [...bits, ["f32", NaN], ["f64", -Infinity]] as [StorageType, number][]) {
      const elements = session.read(dtype);
      elements[at] = code;
      session.write(dtype, elements);
      expect([dtype, session.firstNonFinite(dtype)]).toEqual([dtype, at]);
      elements[at] = 1;
      session.write(dtype, elements);
      expect([dtype, session.firstNonFinite(dtype)]).toEqual([dtype, -1]);
    }
  }
  session.close();
});
