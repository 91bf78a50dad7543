/** Tiles of a run-time dim: in the text, in the verifier, and in programs on every device against plain loops. */
import { expect, test } from "vitest";
import { runProgram } from "../../../compiler/reference/run.ts";
import { parseProgram } from "../../../compiler/tensor-ir/parse.ts";
import { printProgram } from "../../../compiler/tensor-ir/print.ts";
import { verifyProgram } from "../../../compiler/tensor-ir/verify.ts";
import { parseKernels } from "../../../compiler/kernel-ir/parse.ts";
import { printKernels } from "../../../compiler/kernel-ir/print.ts";
import { verifyKernels } from "../../../compiler/kernel-ir/verify.ts";
import { lowerPrograms } from "../../../compiler/lower/lower.ts";
import type { Session } from "../../../runtime/device/session.ts";
import { sizeOf } from "../../../runtime/program/launch.ts";
import { onCpu } from "../../support/on-cpu.ts";
import { onCuda } from "../../support/on-cuda.ts";
import { HAS_WEBGPU, onWebGpu } from "../../support/on-webgpu.ts";

/** The sums of tiles of 4 rows; each element times its tile's sum, and what of it are rows again, times a matrix. */
const TEXT = `program @tiles
dims { T = ?, T/4 = ?, T/4*4 = ?, T.in.4 = 4, C = 3, D = 5 }
{
  %0 x: f32[T, C] = program.input {name = "x"}
  %1 y: f32[T, D] = program.input {name = "y"}
  %2 whole: f32[T/4*4, C] = tensor.pad %0 {dim = "T", start = 0, to = "T/4*4"}
  %3: f32[T/4, T.in.4, C] = tensor.split_dim %2 {dim = "T/4*4", into = ["T/4", "T.in.4"]}
  %4 sums: f32[T/4, C] = tensor.reduce %3 {kind = "sum"}
  %5 tiles: f32[T/4, C, T.in.4] = math.mul %3, %4
  %6: f32[T/4*4, C] = tensor.merge_dims %5 {dims = ["T/4", "T.in.4"], to = "T/4*4"}
  %7: f32[T, C] = tensor.slice %6 {dim = "T/4*4", start = 0, to = "T"}
  %8 product: f32[C, D] = tensor.contract %7, %1
  program.output %2 {name = "whole"}
  program.output %4 {name = "sums"}
  program.output %5 {name = "tiles"}
  program.output %7 {name = "rows"}
  program.output %8 {name = "product"}
}
`;

const program = parseProgram(TEXT);
const [C, D] = [3, 5];
const SIZES = [1, 3, 4, 5, 13];

function inputs(T: number): { readonly x: Float32Array; readonly y: Float32Array } {
  const drawn = (length: number, factor: number): Float32Array =>
    Float32Array.from({ length }, (_, i) => ((i * factor) % 11) - 5);
  return { x: drawn(T * C, 7), y: drawn(T * D, 4) };
}

function wanted(T: number): Record<string, number[]> {
  const { x, y } = inputs(T);
  const count = Math.ceil(T / 4);
  const at = (t: number, c: number): number => (t < T ? x[t * C + c]! : 0);
  const whole = Array.from({ length: count * 4 * C }, (_, i) => at(Math.floor(i / C), i % C));
  const sums = Array.from({ length: count * C }, (_, i) => {
    const [tile, c] = [Math.floor(i / C), i % C];
    return [0, 1, 2, 3].reduce((sum, j) => sum + at(tile * 4 + j, c), 0);
  });
  const scaled = (t: number, c: number): number => at(t, c) * sums[Math.floor(t / 4) * C + c]!;
  const tiles = Array.from({ length: count * C * 4 }, (_, i) =>
    scaled(Math.floor(i / (4 * C)) * 4 + (i % 4), Math.floor(i / 4) % C),
  );
  const rows = Array.from({ length: T * C }, (_, i) => scaled(Math.floor(i / C), i % C));
  const product = Array.from({ length: C * D }, (_, i) => {
    let sum = 0;
    for (let t = 0; t < T; t++) sum += rows[t * C + Math.floor(i / D)]! * y[t * D + (i % D)]!;
    return sum;
  });
  return { whole, sums, tiles, rows, product };
}

/** -0 is 0: what is beyond the end is multiplied, too. */
function plain(outputs: Readonly<Record<string, ArrayLike<number>>>): Record<string, number[]> {
  return Object.fromEntries(Object.entries(outputs).map(([name, data]) => [name, Array.from(data, (x) => x + 0)]));
}

async function check(session: Session): Promise<void> {
  for (const T of SIZES) {
    const got = await session.run({ program: "tiles", sizes: { T }, inputs: { ...inputs(T) } });
    expect(plain(got as Record<string, Float32Array>)).toEqual(plain(wanted(T)));
  }
  session.close();
}

test("text", () => {
  expect(printProgram(program)).toBe(TEXT);
  expect(verifyProgram(program)).toEqual([]);
  const module = lowerPrograms([program]);
  expect(verifyKernels(module)).toEqual([]);
  expect(printKernels(parseKernels(printKernels(module)))).toBe(printKernels(module));
  expect(module.programs[0]!.dims).toEqual(["T"]);
});

test.each([
  [["T = ?", "T = 9"], "dim T/4 counts tiles of T, which is no run-time dim"],
  [["T/4 = ?", "T/4 = ?, U/4 = ?"], "dim U/4 counts tiles of U, which is no run-time dim"],
  [["T/4 = ?", "T/4 = ?, T/0 = ?"], "dim T/0 has tiles of no elements"],
  [["T.in.4 = 4", "T.in.4 = 3"], "T/4 * T.in.4 are the elements of T/4*3, not of T/4*4"],
])("the verifier on %j", ([from, to], fault) => {
  expect(verifyProgram(parseProgram(TEXT.replace(from!, to!))).join("\n")).toContain(fault);
});

test("sizes of extents", () => {
  const extents = ["T", "T/128", "T/128*128", "T/128*8+64"];
  expect(extents.map((extent) => sizeOf(extent, { T: 300 }))).toEqual([300, 3, 384, 88]);
  expect(() => sizeOf("S/128", { T: 300 })).toThrow("the run-time dim S is not bound");
});

test("interpreter", () => {
  for (const T of SIZES) {
    const values = new Map(Object.entries(inputs(T)).map(([name, data]) => [name, { data }] as const));
    const { outputs } = runProgram(program, { sizes: { T }, values });
    expect(plain(Object.fromEntries([...outputs].map(([name, { data }]) => [name, data])))).toEqual(plain(wanted(T)));
  }
});

test("cpu", async () => check(await onCpu([program])), 60_000);

test("cuda", async () => check(await onCuda([program])), 300_000);

test.skipIf(!HAS_WEBGPU)("webgpu", async () => check(await onWebGpu([program])), 60_000);
