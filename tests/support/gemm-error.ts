/** Products on Hopper's tensor cores, in the harness, beside those in f64. */
import { parseKernels } from "../../compiler/kernel-ir/parse.ts";
import type { StorageType } from "../../runtime/program/launch.ts";
import type { GemmKernel } from "../../compiler/kernel-ir/types.ts";
import { printHopperGemm } from "../../compiler/targets/cuda/hopper/gemm.ts";
import { planFew, planGemm } from "../../compiler/targets/cuda/hopper/gemm-plan.ts";
import { evaluateGemm } from "./evaluate-gemm.ts";
import { e4m3Number } from "./e4m3.ts";
import { runOnHopper } from "./on-hopper.ts";
import { bits, drawing, valueOf } from "./bf16.ts";

/** One kernel in its text form. */
export function kernelOf(text: string): GemmKernel {
  return parseKernels(text).kernels[0] as GemmKernel;
}

/** The largest difference to the sums in f64, relative to the largest result. */
export async function errorOf(
  kernel: GemmKernel,
  sizes: Record<string, number>,
  { blocks = 2, packs = false }: { readonly blocks?: number; readonly packs?: boolean } = {},
): Promise<number> {
  const all = planGemm(kernel, undefined, () => packs);
  if ("why" in all) throw new Error(all.why);
  // Few rows have a plan of their own.
  const plan = (kernel.name.startsWith("few") ? planFew(all) : all)!;
  const random = drawing(1);
  const memory: Record<string, Uint8Array | Uint16Array | Float32Array | Int32Array> = {};
  const numbers: Record<string, Float64Array> = {};
  for (const { name, dtype, shape } of kernel.args) {
    const size = shape.reduce<number>((n, extent) => n * (typeof extent === "number" ? extent : sizes[extent]!), 1);
    const drawn = Float32Array.from({ length: size }, random);
    if (dtype === "i32")
      memory[name] = Int32Array.from(drawn, (_, i) =>
        kernel.groups === undefined ? (i * 7 + 3) % sizes["cache"]! : EXPERTS[(i * i + 3 * i) % EXPERTS.length]!,
      );
    // Codes of NaN are left out.
    else if (dtype === "f8e4m3")
      memory[name] = Uint8Array.from(drawn, (x) => Math.floor((x + 0.5) * 127) + (x * 1e4 > 0 ? 128 : 0));
    else if (dtype === "i8") memory[name] = Uint8Array.from(drawn, (x) => Math.round(x * 254) & 255);
    else if (dtype === "i4") memory[name] = packed(Array.from(drawn, (x) => Math.floor(x * 16) & 15));
    else memory[name] = dtype === "bf16" ? Uint16Array.from(drawn, bits) : drawn;
    numbers[name] = numbersOf(memory[name], dtype);
  }
  await runOnHopper(printHopperGemm(plan), kernel, sizes, memory, { blocks });
  evaluateGemm(kernel, { sizes, values: numbers, rounds: true });
  let [error, largest] = [0, 0];
  for (const { name, dtype, access } of kernel.args) {
    if (access === "read") continue;
    for (const [i, wanted] of numbers[name]!.entries()) {
      const found = memory[name]![i]!;
      const difference = Math.abs((dtype === "bf16" ? valueOf(found) : found) - wanted);
      error = Math.max(error, Number.isNaN(difference) ? Infinity : difference);
      largest = Math.max(largest, Math.abs(wanted));
    }
  }
  return error / largest;
}

/** Codes of four bits, two in a byte. */
function packed(codes: readonly number[]): Uint8Array {
  return Uint8Array.from({ length: codes.length / 2 }, (_, i) => codes[2 * i]! | (codes[2 * i + 1]! << 4));
}

function numbersOf(memory: ArrayLike<number>, dtype: StorageType): Float64Array {
  if (dtype === "i4")
    return Float64Array.from(
      { length: memory.length * 2 },
      (_, i) => (memory[i >> 1]! << (i % 2 === 1 ? 24 : 28)) >> 28,
    );
  const signed = (x: number): number => (x << 24) >> 24;
  const numberOf = dtype === "bf16" ? valueOf : dtype === "f8e4m3" ? e4m3Number : dtype === "i8" ? signed : Number;
  return Float64Array.from(memory, numberOf);
}

/** Experts that are chosen, or none: -1; never the last one of four. */
const EXPERTS = [2, 0, 1, -1, 2, 2, 0];
