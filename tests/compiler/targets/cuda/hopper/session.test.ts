/** A program whose products are for tensor cores, those of Hopper and those of all GPUs, through package, session and harness. */
import { afterEach, expect, test } from "vitest";
import { lowerPrograms } from "../../../../../compiler/lower/lower.ts";
import { runProgram } from "../../../../../compiler/reference/run.ts";
import { parseProgram } from "../../../../../compiler/tensor-ir/parse.ts";
import { printCuda } from "../../../../../compiler/targets/cuda/print.ts";
import { entriesFor } from "../../../../../runtime/device/cuda/launches.ts";
import { decoded, encoded } from "../../../../../runtime/device/elements.ts";
import { inOrder, type SimtKernels } from "../../../../../runtime/program/grids.ts";
import { onCuda } from "../../../../support/on-cuda.ts";

const PROGRAM = parseProgram(`program @score
dims { T = ?, D = 72, F = 200, E = 136 }
{
  %0 x: bf16[T, D] = program.input {name = "x"}
  %1 gate: bf16[D, F] = program.input {name = "gate"}
  %2 up: bf16[D, F] = program.input {name = "up"}
  %3 down: bf16[F, E] = program.input {name = "down"}
  %4 g: bf16[T, F] = tensor.contract %0, %1
  %5 u: bf16[T, F] = tensor.contract %0, %2
  %6 s: bf16[T, F] = math.silu %4
  %7 h: bf16[T, F] = math.mul %6, %5
  %8 y: bf16[T, E] = tensor.contract %7, %3
  program.output %8 {name = "y"}
}`);

/** Different numbers between -0.5 and 0.5. */
function drawn(size: number, seed: number): Float64Array {
  return Float64Array.from({ length: size }, (_, i) => ((Math.imul(i + seed, 0x9e3779b1) >>> 20) % 256) / 256 - 0.5);
}

afterEach(() => {
  delete process.env["DSK_CAPABILITY"];
});

test.each(["9.0", "8.0"])(
  "a feed-forward network on a GPU of capability %s",
  async (capability) => {
    process.env["DSK_CAPABILITY"] = capability;
    const T = 70;
    const given = { x: drawn(T * 72, 1), gate: drawn(72 * 200, 2), up: drawn(72 * 200, 3), down: drawn(200 * 136, 4) };
    const values = new Map(Object.entries(given).map(([name, data]) => [name, { data: [...data] }]));
    const want = runProgram(PROGRAM, { sizes: { T }, values }, { precision: "f64" }).outputs.get("y")!.data;
    const session = await onCuda([PROGRAM]);
    const inputs = Object.fromEntries(Object.entries(given).map(([name, data]) => [name, encoded(data, "bf16")]));
    const { y } = await session.run({ program: "score", sizes: { T }, inputs });
    expect(session.gpu.capability).toBe(capability);
    session.close();
    const got = decoded(y!, "bf16");
    const largest = Math.max(...Array.from(want, Math.abs));
    const worst = Math.max(...Array.from(want, (value, i) => Math.abs(got[i]! - value)));
    expect(worst / largest).toBeLessThan(2 ** -7);
  },
  120_000,
);

/** Of the weights of `gate`, from no or some tokens. */
const GRADIENT = parseProgram(`program @gradient
dims { T = ?, D = 72, F = 200 }
{
  %0 x: bf16[T, D] = program.input {name = "x"}
  %1 dg: bf16[T, F] = program.input {name = "dg"}
  %2 dgate: bf16[D, F] = tensor.contract %0, %1
  program.output %2 {name = "dgate"}
}`);

test("a call without tokens: sums of no terms are zeros, and there are no rows", async () => {
  const session = await onCuda([GRADIENT, PROGRAM]);
  const [x, dg] = [encoded(drawn(3 * 72, 1), "bf16"), encoded(drawn(3 * 200, 2), "bf16")];
  const some = await session.run({ program: "gradient", sizes: { T: 3 }, inputs: { x, dg } });
  expect(Array.from(decoded(some["dgate"]!, "bf16")).some((value) => value !== 0)).toBe(true);
  const empty = new Uint16Array(0);
  const none = await session.run({ program: "gradient", sizes: { T: 0 }, inputs: { x: empty, dg: empty } });
  expect(Array.from(decoded(none["dgate"]!, "bf16"))).toEqual(Array.from({ length: 72 * 200 }, () => 0));
  const weights = { gate: drawn(72 * 200, 2), up: drawn(72 * 200, 3), down: drawn(200 * 136, 4) };
  const inputs = Object.fromEntries(Object.entries(weights).map(([name, data]) => [name, encoded(data, "bf16")]));
  const { y } = await session.run({ program: "score", sizes: { T: 0 }, inputs: { ...inputs, x: empty } });
  expect(y!.length).toBe(0);
  session.close();
}, 120_000);

/** A step of generation, whose name makes graphs of it: few columns and many terms, that clusters share. */
const NARROW = parseProgram(`program @decode
dims { T = ?, D = 2120, F = 72 }
{
  %0 x: bf16[T, D] = program.input {name = "x"}
  %1 w: bf16[D, F] = program.input {name = "w"}
  %2 y: bf16[T, F] = tensor.contract %0, %1
  program.output %2 {name = "y"}
}`);

test("clusters in calls and in graphs: rows have the same bits again and again", async () => {
  const session = await onCuda([NARROW]);
  const x = drawn(70 * 2120, 1);
  const w = drawn(2120 * 72, 2);
  const [inputs, weights] = [encoded(x, "bf16"), encoded(w, "bf16")];
  const run = async (T: number): Promise<number[]> => {
    const given = { x: inputs.slice(0, T * 2120), w: weights };
    const { y } = await session.run({ program: "decode", sizes: { T }, inputs: given });
    return Array.from(decoded(y!, "bf16"));
  };
  const first = await run(70);
  const values = new Map(Object.entries({ x, w }).map(([name, data]) => [name, { data: [...data] }]));
  const want = runProgram(NARROW, { sizes: { T: 70 }, values }, { precision: "f64" }).outputs.get("y")!.data;
  const largest = Math.max(...Array.from(want, Math.abs));
  expect(Math.max(...Array.from(want, (value, i) => Math.abs(first[i]! - value))) / largest).toBeLessThan(2 ** -7);
  for (const T of [70, 20, 20, 20, 70, 70]) expect(await run(T)).toEqual(first.slice(0, T * 72));
  expect(session.memory().graphs.launched).toBeGreaterThan(0);
  session.close();
}, 120_000);

/** Weights in f32, and their gradient: three numbers of bf16 for each lie in the arena behind what other entry points have there. */
const ROUTER = parseProgram(`program @router
dims { T = ?, D = 72, E = 64 }
{
  %0 x: bf16[T, D] = program.input {name = "x"}
  %1 gate: f32[D, E] = program.input {name = "gate"}
  %2 y: f32[T, E] = tensor.contract %0, %1
  %3 dgate: f32[D, E] = tensor.contract %0, %2
  program.output %2 {name = "y"}
  program.output %3 {name = "dgate"}
}`);

test("a router and the gradient of its weights are as exact as in f32", async () => {
  const T = 130;
  const given = { x: drawn(T * 72, 1), gate: drawn(72 * 64, 2).map((value) => value + value ** 3 / 3) };
  const gate = Float32Array.from(given.gate);
  const values = new Map(Object.entries({ ...given, gate }).map(([name, data]) => [name, { data: [...data] }]));
  const { outputs } = runProgram(ROUTER, { sizes: { T }, values }, { precision: "f64" });
  const session = await onCuda([ROUTER]);
  const found = await session.run({ program: "router", sizes: { T }, inputs: { x: encoded(given.x, "bf16"), gate } });
  session.close();
  for (const name of ["y", "dgate"]) {
    const want = outputs.get(name)!.data;
    const largest = Math.max(...Array.from(want, Math.abs));
    const worst = Math.max(...Array.from(want, (value, i) => Math.abs((found[name]! as Float32Array)[i]! - value)));
    expect(worst / largest).toBeLessThan(2 ** -19);
  }
  const { kernels: table } = JSON.parse(printCuda(lowerPrograms([ROUTER]).kernels).get("cuda.json")!) as SimtKernels;
  const before = table.flatMap(({ entries }) => entries.map((entry) => entry.before?.name));
  expect(before.filter((name) => name === "tensor_thirds").length).toBeGreaterThan(0);
}, 120_000);

/** So wide that sorted terms are written to the arena before. */
const EXPERTS = parseProgram(`program @experts
dims { T = ?, K = 2, E = 2, D = 2048, F = 2048 }
{
  %0 x: bf16[T, K, D] = program.input {name = "x"}
  %1 dy: bf16[T, K, F] = program.input {name = "dy"}
  %2 chosen: i32[T, K] = program.input {name = "chosen"}
  %3 w: bf16[E, D, F] = moe.contract_weight %0, %1, %2 {experts = "E", slot = "K"}
  program.output %3 {name = "w"}
}`);

test("gradients of wide experts' weights: terms are sorted, written out, and multiplied", async () => {
  const [D, F, chosen] = [2048, 2048, Int32Array.of(1, 0, -1, 1, 1, -1)];
  const [x, dy] = [drawn(6 * D, 1), drawn(6 * F, 2)];
  const session = await onCuda([EXPERTS]);
  const inputs = { x: encoded(x, "bf16"), dy: encoded(dy, "bf16"), chosen };
  const { w } = await session.run({ program: "experts", sizes: { T: 3 }, inputs });
  session.close();
  const got = decoded(w!, "bf16");
  // bf16 keeps eight bits of sums of at most three products of halves.
  let worst = 0;
  for (let e = 0; e < 2; e++)
    for (let d = 0; d < D; d++)
      for (let f = 0; f < F; f++) {
        let want = 0;
        for (const [row, expert] of chosen.entries()) if (expert === e) want += x[row * D + d]! * dy[row * F + f]!;
        worst = Math.max(worst, Math.abs(got[(e * D + d) * F + f]! - want));
      }
  expect(worst).toBeLessThan(0.75 * 2 ** -8);
  const { kernels: table } = JSON.parse(printCuda(lowerPrograms([EXPERTS]).kernels).get("cuda.json")!) as SimtKernels;
  const [entry] = table[0]!.entries.filter(({ name }) => name === "tensor");
  expect(inOrder(entry!).map(({ name }) => name)).toEqual(["tensor_sort", "tensor_pack", "tensor"]);
}, 240_000);

test("each GPU takes the entry points that it has", () => {
  const { kernels } = lowerPrograms([PROGRAM]);
  const { kernels: table } = JSON.parse(printCuda(kernels).get("cuda.json")!) as SimtKernels;
  const names = (architecture: string): string[][] =>
    table.map((kernel) => entriesFor(kernel, [architecture]).entries.map(({ name }) => name));
  expect(names("sm_90a")).toEqual([
    ["few", "tensor", "tile"],
    ["few", "tensor", "tile"],
  ]);
  expect(names("sm_80")).toEqual([
    ["few", "tile"],
    ["few", "tile"],
  ]);
});
