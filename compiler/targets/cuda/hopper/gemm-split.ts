/** Few rows: blocks of a cluster share the terms of a tile. What stands here is printed for such kernels only. */
import type { Lines } from "../../../emit/lines.ts";
import type { GemmPlan } from "./gemm-plan.ts";
import type { Printing } from "./gemm-printing.ts";

export function fewRaster(): string[] {
  return [
    "// The parts of a tile's terms follow each other: they are a cluster.",
    "struct Place {",
    "  int m, n, batch, part;",
    "};",
    "DSK_INLINE Place place_of(int block, int columns) {",
    "  const int i = block / PARTS;",
    "  return {0, i % columns * TILE_N, i / columns, block % PARTS};",
    "}",
  ];
}

/** The part's blocks of terms, of all of them. */
export function printTermsOfPart(lines: Lines, { parts }: GemmPlan, count: string, all: number): void {
  if (parts === 1) return lines.add(`const int ${count} = ${all};`);
  lines.add(
    `const int first_block = ${all} * at.part / PARTS, ${count} = ${all} * (at.part + 1) / PARTS - first_block;`,
  );
}

/** Where sums wait that the block adds up: by product, the block that they are of, 8 columns, and thread. */
export function printReceived(lines: Lines, { tile }: GemmPlan): void {
  lines.add(
    "// The block adds up 8 * SHARE columns of the tile. What it receives lies over the ring; rows that are not there are not sent.",
  );
  lines.add("float4* const received = reinterpret_cast<float4*>(&shared) + threadIdx.x - 128;");
  lines.add(`constexpr int CONSUMERS = ${tile.consumers * 128};`);
  lines.add("const bool has_rows = part * 64 + warp * 16 < m_end;");
}

/** Sends a thread's sums to the blocks that add them up. */
export function printSend(plan: GemmPlan, { lines }: Printing): void {
  lines.block("if (has_rows)", () => {
    lines.add("#pragma unroll");
    lines.block("for (int i = 0; i < PARTS * SHARE; i++)", () => {
      for (const product of plan.kernel.products.keys()) {
        const four = [0, 1, 2, 3].map((e) => `sums${product}[i * 4${e === 0 ? "" : ` + ${e}`}]`).join(", ");
        const place = `(${of(product, "at.part")} * SHARE + i % SHARE) * CONSUMERS`;
        lines.add(`store_at(received + ${place}, i / SHARE, float4{${four}});`);
      }
    });
  });
}

/** Adds up the sums of all parts, in their order: they become the block's first ones. */
export function printAdd(plan: GemmPlan, { lines }: Printing): void {
  lines.block("if (has_rows)", () => {
    lines.add("#pragma unroll");
    lines.block("for (int i = 0; i < SHARE; i++)", () => {
      const each = (part: string, assign: string): void => {
        for (const product of plan.kernel.products.keys())
          lines.block("", () => {
            lines.add(`const float4 sent = received[(${of(product, part)} * SHARE + i) * CONSUMERS];`);
            const four = ["x", "y", "z", "w"].map(
              (name, e) => `sums${product}[i * 4${e === 0 ? "" : ` + ${e}`}] ${assign} sent.${name}`,
            );
            lines.add(`${four.join(", ")};`);
          });
      };
      each("0", "=");
      lines.add("#pragma unroll");
      lines.block("for (int from = 1; from < PARTS; from++)", () => each("from", "+="));
    });
  });
}

function of(product: number, part: string): string {
  const before = product === 1 ? "PARTS" : `${product} * PARTS`;
  return product === 0 ? part : part === "0" ? before : `(${before} + ${part})`;
}
