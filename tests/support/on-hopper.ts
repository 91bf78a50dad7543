/** Runs a kernel for Hopper in the harness, with the grid and tensor maps that its table says, or on a GPU, in a session. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { CUDA_KERNELS } from "../../runtime/device/cuda/cubins.ts";
import { SHORTLIST_FILE } from "../../compiler/targets/cuda/shortlist.ts";
import { openCudaSession } from "../../runtime/device/cuda/session.ts";
import { REAL, realPackage } from "./cuda/real.ts";
import { buffer } from "./kernels.ts";
import { runKernel, type MapSpec, type Numbers } from "./cuda/run-kernel.ts";
import { PRELUDES } from "../../compiler/targets/cuda/print.ts";
import type { HopperFile } from "../../compiler/targets/cuda/hopper/gemm.ts";
import { bytesOf } from "../../compiler/targets/cuda/hopper/tensor-maps.ts";
import type { Kernel } from "../../compiler/kernel-ir/types.ts";
import { type Grid, productOf, type SimtKernel, workOf } from "../../runtime/program/grids.ts";
import type { Elements } from "../../runtime/device/session.ts";
import type { LaunchProgram, Sizes } from "../../runtime/program/launch.ts";

/** @param blocks that run at once; fewer than there are tiles makes each of them take several */
export async function runOnHopper(
  file: HopperFile,
  kernel: Kernel,
  sizes: Sizes,
  values: Readonly<Record<string, Numbers>>,
  { blocks = 2, seed = 1 }: { readonly blocks?: number; readonly seed?: number } = {},
): Promise<void> {
  if (REAL) return onGpu(file, kernel, sizes, values, blocks);
  const { text, entry, scratch: arrays, more } = file;
  const { name, extents } = kernel;
  const table: SimtKernel = { name, args: [], writes: [], extents, scratch: arrays, entries: [entry] };
  const { items, runs } = workOf(table, sizes);
  const scratch = arrays.map(
    ({ shape, plus = 0, dtype = "i32" }) => new Uint8Array((productOf(shape, sizes) + plus) * bytesOf(dtype)),
  );
  for (const { grids } of runs)
    for (const { grid, groups } of grids) {
      const args = kernel.args.map(({ name }) => values[name]!);
      const maps = (grid.maps ?? []).map(({ arg, dtype, dims, plus = 0, strides, box, swizzle }): MapSpec => ({
        of: values[arg] ?? scratch[Number(/^scratch(\d+)$/.exec(arg)![1])]!,
        type: dtype === "f8e4m3" ? "u8" : (dtype as "f32" | "bf16"),
        dims: dims.map((of, i) => productOf(of, sizes) + (i === 1 ? plus : 0)),
        strides: strides.map((of) => productOf(of, sizes) * bytesOf(dtype)),
        box,
        swizzle,
      }));
      await runKernel({
        source: more?.get(grid.file!) ?? text,
        kernel: `${kernel.name}_${grid.name}`,
        grid: grid.most === undefined ? groups : Math.min(groups, blocks),
        block: grid.workgroupSize,
        sharedBytes: grid.sharedBytes ?? 0,
        args: [...items, ...kernel.extents.map((extent) => sizes[extent]!), ...args, ...scratch, ...maps],
        seed,
      });
    }
}

/** A thread that does not wait for what it needs finds it most of the time: all launches have to give the same bits. */
const LAUNCHES = 50;

/** All arguments are stores of a session, and the program is one launch. */
async function onGpu(
  { text, entry, scratch, more = new Map() }: HopperFile,
  kernel: Kernel,
  sizes: Sizes,
  values: Readonly<Record<string, Numbers>>,
  blocks: number,
): Promise<void> {
  const { name, extents } = kernel;
  const few = <G extends Grid>(grid: G): G => ({
    ...grid,
    ...(grid.most !== undefined && { most: Math.min(grid.most, blocks) }),
  });
  const before = entry.before && few(entry.before);
  const own = { ...few(entry), only: "sm_90a" };
  const args = kernel.args.map(({ name }) => name);
  const writes = kernel.args.flatMap(({ name, access }) => (access === "read" ? [] : [name]));
  const entries = [before === undefined ? own : { ...own, before }];
  const table: SimtKernel = { name, args, writes, extents, scratch, entries };
  const program: LaunchProgram = {
    name: "launch",
    dims: [],
    // Codes of whole numbers are bytes like any others.
    buffers: kernel.args.map(({ name, dtype }) =>
      buffer("state", name, dtype === "i8" || dtype === "i4" ? "f8e4m3" : dtype, values[name]!.length),
    ),
    launches: [{ kernel: name, args: [...args.keys()], extents: extents.map((extent) => sizes[extent]!) }],
  };
  const directory = await realPackage(
    new Map([
      ...[[entry.file!, text] as const, ...more].map(([file, own]) => [`${CUDA_KERNELS}/${file}.cu`, own] as const),
      [`${CUDA_KERNELS}/${SHORTLIST_FILE.kernel.name}.cu`, SHORTLIST_FILE.text],
      ...PRELUDES.map((path) => [`${CUDA_KERNELS}/${path}`, readFileSync(`templates/cuda/${path}`, "utf8")] as const),
      [`${CUDA_KERNELS}/cuda.json`, JSON.stringify({ format: 1, kernels: [table, SHORTLIST_FILE.kernel] })],
      ["program.json", JSON.stringify({ format: 1, programs: [program] })],
    ]),
  );
  const session = await openCudaSession(directory);
  const launch = async (): Promise<Elements[]> => {
    for (const arg of args) session.write(arg, values[arg] as Elements);
    await session.run({ program: "launch", sizes: {}, inputs: {} });
    return writes.map((arg) => session.read(arg) as Elements);
  };
  const first = await launch();
  for (let i = 1; i < LAUNCHES; i++) {
    const differ = (await launch()).findIndex((own, j) => !bytes(own).equals(bytes(first[j]!)));
    expect(writes[differ], `differs in launch ${i + 1} from the first one`).toBeUndefined();
  }
  for (const [i, arg] of writes.entries()) values[arg]!.set(first[i] as never);
  session.close();
}

function bytes({ buffer, byteOffset, byteLength }: Elements): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}
