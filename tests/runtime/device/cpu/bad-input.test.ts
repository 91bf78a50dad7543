import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compileLibrary } from "../../../../compiler/targets/cpu/compile.ts";
import { type CpuSession, openCpuSession } from "../../../../runtime/device/cpu/session.ts";
import type { Elements } from "../../../../runtime/device/session.ts";
import { addon, type NativeOptions } from "../../../../runtime/native/addon.ts";
import type { LaunchProgram } from "../../../../runtime/program/launch.ts";
import { type CpuVariant, libraryOf } from "../../../../runtime/program/variants.ts";
import { buffer, kernelPackage, writePrograms } from "../../../support/kernels.ts";
import { KERNELS } from "./kernels.ts";

let directory: string;
let library: string;

beforeAll(async () => {
  directory = await kernelPackage(KERNELS);
  library = join(directory, libraryOf(addon().isa() as CpuVariant));
});
afterAll(() => rmSync(directory, { recursive: true }));

const PROGRAM: LaunchProgram = {
  name: "p",
  dims: ["T"],
  buffers: [
    buffer("input", "a", "f32", 1),
    buffer("input", "x", "f32", "T"),
    buffer("temp", "t", "f32", "T"),
    buffer("output", "out", "f32", "T"),
    buffer("param", "w", "f32", 2, 3),
  ],
  launches: [
    { kernel: "axpy", args: [0, 1, 1, 2], extents: ["T"] },
    { kernel: "axpy", args: [0, 2, 1, 3], extents: ["T"] },
  ],
};

/** A copy in which the value at a path is another one. */
function changed(path: readonly (string | number)[], value: unknown): LaunchProgram {
  const copy = structuredClone(PROGRAM);
  let at = copy as unknown as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as typeof at;
  at[path.at(-1)!] = value;
  return copy;
}

function options(program: unknown): NativeOptions {
  return { library, programs: [program as object], mappings: [], cacheRows: 1, threads: 1, profile: false };
}

describe("tables that are wrong", () => {
  test.each([
    [["launches", 1, "args", 3], 5, "program p, launch 1 (axpy): there is no buffer 5"],
    [["launches", 1, "args", 3], -1, "program p, launch 1 (axpy): there is no buffer -1"],
    [["launches", 1, "args", 3], 0.5, "programs[0].launches[1].args[3]: a whole number is needed"],
    [["launches", 1, "args", 3], 2 ** 60, "programs[0].launches[1].args[3]: a whole number is needed"],
    [["launches", 1, "args"], [0, 1], "program p, launch 1 (axpy): the kernel takes 4 buffers, not 2"],
    [["launches", 1, "args"], { length: 4 }, "programs[0].launches[1].args: an array is needed"],
    [["launches", 0, "extents"], [], "program p, launch 0 (axpy): the kernel takes 1 extents, not 0"],
    [["launches", 0, "extents", 0], "S", "programs[0].launches[0].extents[0]: the program has no run-time dim S"],
    [["launches", 0, "extents", 0], "S/4", "programs[0].launches[0].extents[0]: the program has no run-time dim S"],
    [["launches", 0, "extents", 0], "T/0", "program p, launch 0 (axpy): tiles of 0, with 1 of each and 0 more"],
    [
      ["launches", 0, "extents", 0],
      "T/4*8+1048577",
      "program p, launch 0 (axpy): tiles of 4, with 8 of each and 1048577 more",
    ],
    [
      ["buffers", 4, "shape", 0],
      "T/4",
      "program p, buffer 4 (w): what is kept between calls cannot have the run-time dim T",
    ],
    [["launches", 0, "extents", 0], -7, "program p, launch 0 (axpy): the extent -7"],
    [["launches", 0, "kernel"], "gemm", "program p, launch 0 (gemm): there is no such kernel"],
    [["launches", 0], null, "programs[0].launches[0]: an object is needed"],
    [["buffers", 2, "kind"], "tmp", "programs[0].buffers[2].kind: there is no kind tmp"],
    [["buffers", 2, "dtype"], "f31", "there is no storage type f31"],
    [["buffers", 2, "shape"], "T", "programs[0].buffers[2].shape: an array is needed"],
    [["buffers", 2, "shape", 0], NaN, "programs[0].buffers[2].shape[0]: a whole number is needed"],
    [["buffers", 1, "name"], "a", "program p, buffer 1 (a): another buffer of its kind has the same name"],
    [
      ["buffers", 4, "shape", 0],
      "T",
      "program p, buffer 4 (w): what is kept between calls cannot have the run-time dim T",
    ],
    [["buffers", 4, "shape"], [2 ** 30, 2 ** 30, 2 ** 30], "program p: buffer w would have more than 2^48 bytes"],
    [["dims"], undefined, "programs[0].dims: an array is needed"],
    [["name"], 3, "programs[0].name: a string is needed"],
  ])("%j = %j", (path, value, message) => {
    expect(() => new (addon().Session)(options(changed(path, value)))).toThrow(message);
  });

  test("whatever a program is, the addon survives it", () => {
    const paths: (readonly (string | number)[])[] = [];
    const collect = (value: unknown, path: readonly (string | number)[]): void => {
      if (path.length > 0) paths.push(path);
      if (typeof value === "object" && value !== null)
        for (const [key, inner] of Object.entries(value))
          collect(inner, [...path, Array.isArray(value) ? Number(key) : key]);
    };
    collect(PROGRAM, []);
    const values = fc.oneof(
      fc.anything(),
      fc.double(),
      fc.maxSafeInteger(),
      fc.integer({ min: -3, max: 9 }),
      fc.constantFrom("T", "f32", "param", "temp", "cache", "axpy", "sleep"),
    );
    let accepted = 0;
    const odd: unknown[] = [];
    fc.assert(
      fc.property(fc.constantFrom(...paths), values, (path, value) => {
        try {
          new (addon().Session)(options(changed(path, value))).close();
          accepted += 1;
        } catch (error) {
          if (!(error instanceof Error)) odd.push(error);
        }
      }),
      { seed: 1, numRuns: 3000 },
    );
    expect(odd).toEqual([]);
    // Other names, numbers that fit: most are refused, not all.
    expect(accepted).toBeGreaterThan(30);
    expect(accepted).toBeLessThan(1500);
  });

  test("programs that mean different things by a name", () => {
    const other = { ...changed(["buffers", 4, "shape"], [3, 2]), name: "q" };
    writePrograms(directory, PROGRAM, other);
    expect(() => openCpuSession(directory)).toThrow("w is a param f32[2, 3], but a param f32[3, 2] in program q");
    const larger = { ...changed(["buffers", 4, "shape"], [3, 3]), name: "q" };
    expect(() => new (addon().Session)({ ...options(PROGRAM), programs: [PROGRAM, larger] })).toThrow(
      "program q: w has another kind or size in another program",
    );
  });
});

describe("calls that are wrong", () => {
  const inputs = { a: Float32Array.of(1), x: new Float32Array(3) };
  let session: CpuSession;
  beforeAll(() => {
    writePrograms(directory, PROGRAM);
    session = openCpuSession(directory);
  });
  afterAll(() => session.close());

  test.each([
    ["q", { T: 3 }, inputs, "there is no program q"],
    ["p", {}, inputs, "program p: the run-time dim T is not bound"],
    ["p", { T: -1 }, inputs, "program p: T = -1 is no size"],
    ["p", { T: 1.5 }, inputs, "program p: T = 1.5 is no size"],
    ["p", { T: NaN }, inputs, "program p: T = NaN is no size"],
    ["p", { T: 3 }, { a: inputs.a }, "program p: the input x is missing"],
    ["p", { T: 4 }, inputs, "program p: the input x has 4 elements, not 3"],
    [
      "p",
      { T: 3 },
      { ...inputs, x: new Int32Array(3) },
      "program p: the input x needs a Float32Array (f32), not Int32Array",
    ],
    ["p", { T: 3 }, { ...inputs, x: [1, 2, 3] as unknown as Elements }, "needs a Float32Array (f32), not Array"],
    ["p", { T: 3 }, { ...inputs, x: null as unknown as Elements }, "needs a Float32Array (f32), not null"],
  ])("program %s with %j", async (program, sizes, given, message) => {
    await expect(session.run({ program, sizes, inputs: given })).rejects.toThrow(message);
  });

  test("outputs and stores that are not there or do not fit", async () => {
    const call = { program: "p", sizes: { T: 3 }, inputs };
    await expect(session.run({ ...call, outputs: ["t"] })).rejects.toThrow("program p: there is no output t");
    expect(() => session.read("v")).toThrow("there is no param or state v");
    expect(() => session.write("w", new Float32Array(5))).toThrow("w has 6 elements, not 5");
    expect(() => session.write("w", new Uint16Array(6))).toThrow("w needs a Float32Array (f32), not Uint16Array");
    expect(() => session.firstNonFinite("out")).toThrow("there is no param or state out");
    const x = new Float32Array(3);
    structuredClone(x.buffer, { transfer: [x.buffer] });
    await expect(session.run({ ...call, inputs: { ...inputs, x } })).rejects.toThrow("has 3 elements, not 0");
  });

  test("the addon itself checks what it is given", async () => {
    const native = new (addon().Session)(options(PROGRAM));
    const [sizes, offsets] = [Float64Array.of(16), new Float64Array(5)];
    const inputArrays = [new Float32Array(1), new Float32Array(16)];
    const outputArrays = [new Float32Array(16)];
    const good: unknown[] = [
      1,
      0,
      sizes,
      offsets,
      64,
      Float64Array.of(0, 1),
      inputArrays,
      Float64Array.of(3),
      outputArrays,
    ];
    const run = (at?: number, value?: unknown): Promise<boolean> =>
      (native.run as (...args: unknown[]) => Promise<boolean>)(...good.with(at ?? 0, at === undefined ? 1 : value));
    expect(await run()).toBe(true);
    const wrong: readonly [number, unknown, string][] = [
      [0, "1", "id: a number is needed"],
      [1, 1, "there is no program 1"],
      [1, -1, "there is no program"],
      [2, new Float64Array(0), "program p has 1 run-time dims, not 0"],
      [2, Float64Array.of(-1), "the run-time dim T is -1"],
      [2, Float64Array.of(2 ** 50), "would have more than 2^48 bytes"],
      [2, [16], "sizes: a Float64Array is needed"],
      [3, new Float64Array(4), "there must be an offset for each buffer"],
      [3, Float64Array.of(0, 0, 64, 0, 0), "program p: t has 64 bytes at 64 of an arena of 64"],
      [3, Float64Array.of(0, 0, -64, 0, 0), "program p: t has 64 bytes at -64"],
      [3, Float64Array.of(0, 0, 4, 0, 0), "program p: t has 64 bytes at 4"],
      [3, Float64Array.of(0, 0, NaN, 0, 0), "offsets: a whole number is needed"],
      [4, 0, "program p: t has 64 bytes at 0 of an arena of 0"],
      [4, -64, "the arena cannot have -64 bytes"],
      [5, Float64Array.of(0, 2), "buffer 2 is no input"],
      [5, Float64Array.of(0, 99), "buffer 99 is no input"],
      [5, Float64Array.of(0), "inputs: an array for each buffer is needed"],
      [5, Float64Array.of(0, 0), "a needs 4 bytes, not 64"],
      [6, [new Float32Array(1), new Float32Array(15)], "x needs 64 bytes, not 60"],
      [6, [new Float32Array(1), {}], "inputs[1]: a typed array is needed"],
      [7, Float64Array.of(1), "buffer 1 is no output"],
      [8, [new Float32Array(17)], "out needs 64 bytes, not 68"],
      [8, undefined, "outputs: an array is needed"],
    ];
    for (const [at, value, message] of wrong) expect(() => run(at, value)).toThrow(message);
    expect(() => (native.run as unknown as () => void)()).toThrow("id: a number is needed");
    expect(await run()).toBe(true);
    expect(() => native.read("w", new Float32Array(5))).toThrow("the store has 24 bytes, the array 20");
    expect(() => native.firstNonFinite("w", "bf16")).toThrow("elements of 32 bits are not bf16");
    expect(() => native.scratchBytes(7, Float64Array.of(1), 0)).toThrow("there is no program 7");
    native.cancel(12345);
    native.close();
  });

  test("options that are wrong", () => {
    const { Session } = addon();
    const construct = Session as unknown as new (given?: unknown) => object;
    expect(() => new construct()).toThrow("options: an object is needed");
    expect(() => new Session({ ...options(PROGRAM), threads: 0 })).toThrow(
      "threads: a number from 1 to 1024 is needed",
    );
    expect(() => new Session({ ...options(PROGRAM), cacheRows: -1 })).toThrow("cacheRows is -1");
    expect(() => (construct as unknown as () => void)()).toThrow(TypeError);
    expect(() => Session.prototype.memory.call({} as never)).toThrow("Illegal invocation");
  });
});

test.runIf(addon().isa() === "x86-64-v3" || addon().isa() === "x86-64-v4")(
  "kernels for less than the machine has will do",
  () => {
    writePrograms(directory, PROGRAM);
    const older = join(directory, libraryOf("x86-64-v2"));
    renameSync(library, older);
    openCpuSession(directory).close();
    openCpuSession(directory, { variant: "x86-64-v2" }).close();
    expect(() => openCpuSession(directory, { variant: "x86-64-v3" })).toThrow(
      /has no kernels for this processor \(kernels\/x86-64-v3\.so\)/,
    );
    renameSync(older, library);
  },
);

describe("packages that are wrong", () => {
  test("program.json", () => {
    const file = join(directory, "program.json");
    const message = (json: string): string => {
      writeFileSync(file, json);
      try {
        openCpuSession(directory).close();
      } catch (error) {
        return (error as Error).message;
      }
      return "";
    };
    expect(message("{")).toContain(`${file}: `);
    expect(message('{"format":2,"programs":[]}')).toBe(`${file}: format: Invalid input: expected 1`);
    const text = (program: unknown): string => JSON.stringify({ format: 1, programs: [program] });
    expect(message(text(changed(["buffers", 1, "kind"], "x")))).toMatch(
      /: programs\[0\]\.buffers\[1\]\.kind: Invalid option/,
    );
    expect(message(text(changed(["launches", 0, "args", 2], -1)))).toMatch(
      /: programs\[0\]\.launches\[0\]\.args\[2\]: Too small/,
    );
    expect(message(JSON.stringify({ format: 1, programs: [PROGRAM, PROGRAM] }))).toBe(
      `${file}: there are two programs p`,
    );
    rmSync(file);
    expect(() => openCpuSession(directory)).toThrow(/program\.json: ENOENT/);
  });

  test("kernels that are missing, of another machine, or no kernels at all", async () => {
    expect(() => openCpuSession(join(directory, "nowhere"))).toThrow(
      /nowhere has no kernels for this processor \(kernels\//,
    );
    const other = process.arch === "x64" ? "arm64" : "x86-64-v3";
    expect(() => openCpuSession(directory, { variant: other })).toThrow(
      `kernels for ${other} do not run on this processor`,
    );
    const broken = join(directory, "broken.so");
    writeFileSync(broken, "no library");
    expect(() => new (addon().Session)({ ...options(PROGRAM), library: broken })).toThrow(
      /cannot load kernels: .*broken\.so/,
    );

    const compiled = async (source: string): Promise<string> => {
      const sources = join(directory, "sources");
      writeFileSync(join(sources, "kernels.cc"), source);
      const path = join(directory, `other${source.length}.so`);
      await compileLibrary({ directory: sources, library: path, include: [resolve("templates/cpu")] });
      return path;
    };
    const load = (path: string) => () => new (addon().Session)({ ...options(PROGRAM), library: path });
    expect(load(await compiled("int nothing;"))).toThrow("is no library of kernels: it lacks dsk_kernels");
    const table = (body: string): string =>
      `#include "abi.h"\nextern "C" const dsk_kernel* dsk_kernels(int32_t, int32_t* count) { ${body} }`;
    expect(load(await compiled(table("return nullptr;")))).toThrow("was made for another version of dskc");
    expect(load(await compiled(table("static dsk_kernel k{}; *count = 1; return &k;")))).toThrow(
      "kernel 0 is incomplete",
    );
  });
});
