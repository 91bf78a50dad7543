/** Runs a kernel for Hopper in the harness, with the grid and tensor maps that its table says. */
import { runKernel, type MapSpec, type Numbers } from "./cuda/run-kernel.ts";
import type { HopperFile } from "../../compiler/targets/cuda/hopper/gemm.ts";
import { bytesOf } from "../../compiler/targets/cuda/hopper/tensor-maps.ts";
import type { Kernel } from "../../compiler/kernel-ir/types.ts";
import { productOf, type SimtKernel, workOf } from "../../runtime/program/grids.ts";
import type { Sizes } from "../../runtime/program/launch.ts";

/** @param blocks that run at once; fewer than there are tiles makes each of them take several */
export async function runOnHopper(
  { text, entry, scratch: arrays }: HopperFile,
  kernel: Kernel,
  sizes: Sizes,
  values: Readonly<Record<string, Numbers>>,
  { blocks = 2, seed = 1 }: { readonly blocks?: number; readonly seed?: number } = {},
): Promise<void> {
  const { name, extents } = kernel;
  const table: SimtKernel = { name, args: [], writes: [], extents, scratch: arrays, entries: [entry] };
  const { items, runs } = workOf(table, sizes);
  const scratch = arrays.map(({ shape, dtype = "i32" }) => new Uint8Array(productOf(shape, sizes) * bytesOf(dtype)));
  for (const { grids } of runs)
    for (const { grid, groups } of grids) {
      const args = kernel.args.map(({ name }) => values[name]!);
      const maps = (grid.maps ?? []).map(({ arg, dtype, dims, strides, box, swizzle }): MapSpec => ({
        of: values[arg]!,
        type: dtype as "f32" | "bf16",
        dims: dims.map((of) => productOf(of, sizes)),
        strides: strides.map((of) => productOf(of, sizes) * bytesOf(dtype)),
        box,
        swizzle,
      }));
      await runKernel({
        source: text,
        kernel: `${kernel.name}_${grid.name}`,
        grid: grid.most === undefined ? groups : Math.min(groups, blocks),
        block: grid.workgroupSize,
        sharedBytes: grid.sharedBytes ?? 0,
        args: [...items, ...kernel.extents.map((extent) => sizes[extent]!), ...args, ...scratch, ...maps],
        seed,
      });
    }
}
