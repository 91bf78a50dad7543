import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type CpuOptions, type CpuSession, openCpuSession } from "../../../../runtime/device/cpu/session.ts";
import { Checkpoint } from "../../../../runtime/io/safetensors/read.ts";
import { writeSafetensors } from "../../../../runtime/io/safetensors/write.ts";
import { f32 as tensor } from "../../../../runtime/io/safetensors/written.ts";
import type { LaunchProgram } from "../../../../runtime/program/launch.ts";
import { buffer, kernelPackage, writePrograms } from "../../../support/kernels.ts";
import { KERNELS } from "./kernels.ts";

let directory: string;
const sessions: CpuSession[] = [];

/** out = w + a w, and a training step: w = w + a w. */
const programs: LaunchProgram[] = ["output", "param"].map((kind): LaunchProgram => ({
  name: kind === "output" ? "read" : "train",
  dims: [],
  buffers: [
    buffer("input", "a", "f32", 1),
    buffer("param", "w", "f32", 4),
    ...(kind === "output" ? [buffer("output", "out", "f32", 4)] : []),
  ],
  launches: [{ kernel: "axpy", args: [0, 1, 1, kind === "output" ? 2 : 1], extents: [4] }],
}));

beforeAll(async () => {
  directory = await kernelPackage(KERNELS);
  writePrograms(directory, ...programs);
});
afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});
afterAll(() => rmSync(directory, { recursive: true }));

function open(mapped: NonNullable<CpuOptions["mapped"]>): CpuSession {
  const session = openCpuSession(directory, { mapped });
  sessions.push(session);
  return session;
}

const call = (program: string) => ({ program, sizes: {}, inputs: { a: Float32Array.of(1) } });

describe("weights in files", () => {
  test("beyond 4 GiB: read in place, and training leaves the file as it is", async () => {
    const file = join(directory, "large");
    const offset = 5 * 2 ** 30 + 4;
    const fd = openSync(file, "w+");
    ftruncateSync(fd, offset + 16);
    writeSync(fd, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer), 0, 16, offset);

    const session = open({ w: { file, offset } });
    expect(session.memory()).toMatchObject({ storeBytes: 0, mappedBytes: 16 });
    expect(await session.run(call("read"))).toEqual({ out: Float32Array.of(2, 4, 6, 8) });
    await session.run(call("train"));
    expect(session.read("w")).toEqual(Float32Array.of(2, 4, 6, 8));
    session.write("w", Float32Array.of(5, 5, 5, 5));
    expect(await session.run(call("read"))).toEqual({ out: Float32Array.of(10, 10, 10, 10) });
    const bytes = new Uint8Array(16);
    readSync(fd, bytes, 0, 16, offset);
    closeSync(fd);
    expect(new Float32Array(bytes.buffer)).toEqual(Float32Array.of(1, 2, 3, 4));
    rmSync(file);
    // The file is gone, its bytes are not.
    expect(await session.run(call("read"))).toEqual({ out: Float32Array.of(10, 10, 10, 10) });
  });

  test("a tensor of a checkpoint knows its place", async () => {
    const file = join(directory, "model.safetensors");
    writeSafetensors(file, [tensor("other", [3], [9, 9, 9]), tensor("weight", [4], [1, -1, 0.5, 0])]);
    const session = open({ w: new Checkpoint(file).tensor("weight").place });
    expect(session.read("w")).toEqual(Float32Array.of(1, -1, 0.5, 0));
    expect(session.firstNonFinite("w")).toBe(-1);
  });

  test("a tensor behind one of 5 GiB knows its place", async () => {
    const file = join(directory, "huge.safetensors");
    const before = 5 * 2 ** 30;
    const header = JSON.stringify({
      large: { dtype: "U8", shape: [before], data_offsets: [0, before] },
      weight: { dtype: "F32", shape: [4], data_offsets: [before, before + 16] },
    });
    const text = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const fd = openSync(file, "w");
    const data = 8 + text.length;
    ftruncateSync(fd, data + before + 16);
    writeSync(fd, Buffer.concat([length, text]), 0, data, 0);
    writeSync(fd, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer), 0, 16, data + before);
    closeSync(fd);

    const { place } = new Checkpoint(file).tensor("weight");
    expect(place).toEqual({ file, offset: data + before });
    const session = open({ w: place });
    expect(session.memory()).toMatchObject({ storeBytes: 0, mappedBytes: 16 });
    expect(await session.run(call("read"))).toEqual({ out: Float32Array.of(2, 4, 6, 8) });
    rmSync(file);
  });

  test("places outside of the file and off the elements are refused", () => {
    const file = join(directory, "small");
    writeFileSync(file, new Uint8Array(20));
    expect(open({ w: { file, offset: 4 } }).read("w")).toEqual(new Float32Array(4));
    for (const offset of [8, 20, 24, 2 ** 52])
      expect(() => open({ w: { file, offset } })).toThrow(`w needs 16 bytes at ${offset} of ${file}, which has 20`);
    expect(() => open({ w: { file, offset: -4 } })).toThrow("w needs 16 bytes at -4");
    expect(() => open({ w: { file, offset: 2 } })).toThrow("w cannot be mapped: byte 2");
    expect(() => open({ w: { file, offset: 0.5 } })).toThrow("mappings[0].offset: a whole number is needed");
    expect(() => open({ v: { file, offset: 0 } })).toThrow("there is no param or state v");
    expect(() => open({ w: { file: join(directory, "none"), offset: 0 } })).toThrow(/cannot open .*none: No such file/);
    writeFileSync(file, "");
    expect(() => open({ w: { file, offset: 0 } })).toThrow("small: it is empty");
  });
});
