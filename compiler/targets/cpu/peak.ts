/** A package that measures the machine: templates/cpu/peak.cc as two programs. */
import type { BufferSpec, Extent, LaunchProgram, PackagePrograms } from "../../../runtime/program/launch.ts";
import { fixed } from "../../emit/templates.ts";

/** Operations of an item, and elements of one, come in multiples of this. */
export const PEAK_UNIT = 12 * 2 * 16;

/**
 * The files of the package. `multiply_add` makes `flops` operations in each of `items` items; `read` reads `elements` floats
 * of the state `data`, shared out to items, `times` times.
 */
export function peakFiles(elements: number): Map<string, string> {
  const programs = [
    program("multiply_add", ["items", "flops"], buffer("input", "in", 2)),
    program("read", ["items", "elements", "times"], buffer("state", "data", elements)),
  ];
  const data: PackagePrograms = { format: 1, programs };
  return new Map([
    ["program.json", `${JSON.stringify(data)}\n`],
    ["kernels/peak.cc", fixed("cpu/peak.cc")],
    ["kernels/abi.h", fixed("cpu/abi.h")],
  ]);
}

function program(kernel: string, dims: readonly string[], from: BufferSpec): LaunchProgram {
  const out = buffer("output", "out", "items", 16);
  return { name: kernel, dims, buffers: [out, from], launches: [{ kernel, args: [0, 1], extents: dims }] };
}

function buffer(kind: BufferSpec["kind"], name: string, ...shape: readonly Extent[]): BufferSpec {
  return { kind, name, dtype: "f32", shape };
}
