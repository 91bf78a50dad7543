/**
 * Gradients of experts' weights whose terms are written out in their sorted order first, where that pays: the copy engine reads such a
 * copy, while threads that gather the terms of A and B for each tile anew keep the tensor cores waiting. Each group begins at a
 * multiple of a block of terms; behind its last one are zeros.
 */
import type { Entry, Grid, Scratch } from "../../../../runtime/program/grids.ts";
import type { Axis, GemmKernel } from "../../../kernel-ir/types.ts";
import { printStarts } from "./gemm-groups.ts";
import type { GemmPlan, PlannedLoop } from "./gemm-plan.ts";
import { fixedSize, type Printing, sizeText } from "./gemm-printing.ts";
import { extentsOf, LINE, type Matrix } from "./tensor-maps.ts";

/** An operand that is written out. */
export interface Packed {
  /** Of its copy, and of the parameter. */
  readonly name: string;
  readonly matrix: Matrix;
  readonly k: readonly Axis[];
  /** Its rows (or columns), which are neighbors. */
  readonly near: readonly Axis[];
}

/** Threads of a block that copies the terms of a block. */
const PACKERS = 256;
/**
 * Rows times columns, divided by their sum, above which a copy pays. On an H200 gathering threads reached 350 TFLOPS (V2-Lite) to 430
 * (DeepSeek-V3), the copy engine with groups 600 to 740; writing and reading the copies takes 4 bytes of 4.2 TB/s for each element. From about
 * 500 on the times are the same, and copies take memory: they are made where a third of the time is won.
 */
const PAYS = 1024;
/** Terms of a group below which its results cost more than its terms. */
const FEWEST_TERMS = 512;

/**
 * Whether it pays for a kernel that gathers terms.
 * @param terms of a group, as many as there may be
 */
export function packingPays({ m, n }: GemmKernel, loops: readonly PlannedLoop[], terms: number): boolean {
  const columns = loops.reduce((sum, { b }) => sum + b.length, 0) * fixedSize(n);
  return terms >= FEWEST_TERMS && (fixedSize(m) * columns) / (fixedSize(m) + columns) >= PAYS;
}

/** The loops with copies in the place of operands; undefined where these are not of bf16, or not in whole lines. */
export function packed(
  { m, n }: GemmKernel,
  loops: readonly PlannedLoop[],
): { readonly loops: PlannedLoop[]; readonly packed: Packed[] } | undefined {
  const all: Packed[] = [];
  const copy = (name: string, matrix: Matrix, k: readonly Axis[], near: readonly Axis[]): Matrix => {
    all.push({ name, matrix, k, near });
    return { arg: matrix.arg, outer: 1, inner: fixedSize(near), batch: 0, copy: name };
  };
  const own = loops.map(({ k, a, b }, i) => ({
    k,
    a: copy(`packed_a_${i}`, a, k, m),
    b: b.map(({ product, matrix }, j) => ({ product, matrix: copy(`packed_b${j}_${i}`, matrix, k, n) })),
  }));
  const fits = all.every(
    ({ matrix, near }) => matrix.arg.dtype === "bf16" && matrix.gathered !== undefined && fixedSize(near) % 8 === 0,
  );
  return fits ? { loops: own, packed: all } : undefined;
}

/** The copies: all terms, and what fills the last block of each group. */
export function packingScratch({ packed: all = [], kernel }: GemmPlan): Scratch[] {
  const groups = kernel.groups?.group.extent as number;
  return all.map(({ k, near }): Scratch => ({
    shape: [...extentsOf(k), fixedSize(near)],
    plus: groups * LINE * fixedSize(near),
    each: false,
    dtype: "bf16",
  }));
}

/** The entry point that writes them: a block for each block of terms. */
export function packingGrid({ packed: all = [], kernel }: GemmPlan, name: string, before: Entry["before"]): Grid {
  const plus = kernel.groups!.group.extent as number;
  const workgroups = [{ of: extentsOf(all[0]!.k), by: LINE, plus }];
  return { name, file: before!.file!, workgroupSize: PACKERS, workgroups, before: before! };
}

export const PACKING_BOUNDS = `__launch_bounds__(${PACKERS})`;

/** The body of that entry point. */
export function printPacking(printing: Printing, plan: GemmPlan, order: string, starts: string): void {
  const { lines } = printing;
  lines.add("__shared__ struct { int starts[GROUPS + 2], tiles[GROUPS + 2]; } shared;");
  lines.add("const int lane = threadIdx.x % 32, block = blockIdx.x;");
  printStarts(lines, starts, "TILE_K");
  lines.add("__syncthreads();", "if (block >= shared.tiles[GROUPS]) return;", "int group = 0, above = GROUPS;");
  lines.block("while (group + 1 < above)", () => {
    lines.add("const int middle = (group + above) / 2;");
    lines.add("if (shared.tiles[middle] <= block) group = middle;", "else above = middle;");
  });
  lines.add("const int first = shared.starts[group] + (block - shared.tiles[group]) * TILE_K;");
  lines.add("const int end = shared.starts[group + 1];");
  for (const { name, matrix, k, near } of plan.packed ?? []) {
    const count = `(${sizeText(near)}) / 8`;
    lines.add("#pragma unroll 4");
    lines.block(`for (int i = threadIdx.x; i < TILE_K * (${count}); i += ${PACKERS})`, () => {
      lines.add(`const int own = i / (${count}), line = i % (${count});`);
      lines.add("uint4 copied = {0, 0, 0, 0};  // behind the last term");
      lines.block("if (first + own < end)", () => {
        lines.add(`const int term = ${order}[first + own];`);
        printing.unpack(k, "term", matrix.gathered!);
        const from = `${matrix.arg.name} + (${printing.offset(matrix.arg.name, matrix.gathered!)}) + line * 8`;
        lines.add(`copied = *reinterpret_cast<const uint4*>(${from});`);
      });
      lines.add(
        `*reinterpret_cast<uint4*>(${name} + ((long long)block * TILE_K + own) * (${sizeText(near)}) + line * 8) = copied;`,
      );
    });
  }
}
