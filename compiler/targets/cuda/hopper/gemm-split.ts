/** Few rows: blocks share the terms of a tile. What stands here is printed for such kernels only. */
import type { Scratch } from "../../../../runtime/program/grids.ts";
import type { Lines } from "../../../emit/lines.ts";
import type { GemmPlan } from "./gemm-plan.ts";
import { FEW_ROWS } from "./tiles.ts";

/** Threads of a block that adds up: each has a column. */
export const ADDERS = 256;

/** The partial sums: of every part and product, for as many rows as there may be. */
export function splitScratch({ kernel, split, problem }: GemmPlan): Scratch {
  const shape = [split!.parts * kernel.products.length * problem.batches, FEW_ROWS, problem.n];
  return { shape, each: false, dtype: "f32" };
}

export function splitRaster(): string[] {
  return [
    "// The parts of a tile's terms follow each other.",
    "struct Place {",
    "  int m, n, batch, part;",
    "};",
    "DSK_INLINE Place place_of(int tile, int, int columns) {",
    "  const int i = tile / PARTS;",
    "  return {0, i % columns * TILE_N, i / columns, tile % PARTS};",
    "}",
  ];
}

/** The partial sum of a product at `m` and `n`. */
export function partialAt({ kernel, problem }: GemmPlan, part: string, product: number, batch: string): string {
  const { length } = kernel.products;
  const of = length === 1 ? part : `(${part} * ${length} + ${product})`;
  const all = problem.batches === 1 ? of : `(${of} * ${problem.batches} + ${batch})`;
  return `partials[(${all} * ${FEW_ROWS} + m) * n_end + n]`;
}

/** Stores a thread's sums. */
export function printPartials(lines: Lines, plan: GemmPlan): void {
  lines.add("#pragma unroll");
  lines.block("for (int i = 0; i < TILE_N / 2; i++)", () => {
    lines.add("const int m = row + i / 2 % 2 * 8, n = at.n + i / 4 * 8 + column + i % 2;");
    lines.block("if (m < m_end && n < n_end)", () => {
      for (const i of plan.kernel.products.keys())
        lines.add(`${partialAt(plan, "at.part", i, "at.batch")} = sums${i}[i];`);
    });
  });
}

/** The entry point that adds up: `finish` prints what is done with the sums. */
export function printAdder(lines: Lines, plan: GemmPlan, finish: () => void): void {
  const { kernel } = plan;
  const size = (axes: readonly { extent: unknown }[]): string =>
    axes.length === 0 ? "1" : axes.map(({ extent }) => String(extent)).join(" * ");
  lines.add(
    `const int m_end = ${size(kernel.m)}, n_end = ${size(kernel.n)}, columns = (n_end + ${ADDERS - 1}) / ${ADDERS};`,
  );
  lines.add(`const int n = blockIdx.x % columns * ${ADDERS} + threadIdx.x, m = blockIdx.x / columns % m_end;`);
  if (plan.problem.batches > 1) lines.add("const int batch = blockIdx.x / columns / m_end;");
  lines.add("if (n >= n_end) return;");
  for (const [i, { name }] of kernel.products.entries()) {
    lines.add(`float ${name} = 0.0f;`, "#pragma unroll");
    lines.add(`for (int part = 0; part < PARTS; part++) ${name} += ${partialAt(plan, "part", i, "batch")};`);
  }
  finish();
}
