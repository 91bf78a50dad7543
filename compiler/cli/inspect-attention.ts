/** How the CUDA target cuts attention for the tensor cores of Hopper, or why it does not: a part of `dskc inspect kernel`. */
import type { PlaneKernel } from "../kernel-ir/types.ts";
import { planAttention } from "../targets/cuda/hopper/attention-plan.ts";
import { GOOD, LEAST_BLOCKS, MOST_SHARES, PROCESSORS, sharesOf } from "../targets/cuda/hopper/attention-split.ts";
import { planBackward } from "../targets/cuda/hopper/backward-plan.ts";
import { countText, table } from "./text-table.ts";

export interface Attention {
  /** Why the tensor cores make neither the one nor the other of it. */
  readonly refused?: { readonly forward: string; readonly backward: string };
  readonly pass?: "forward" | "backward";
  /** Rows of a tile, columns of a block, blocks in shared memory. */
  readonly rows?: number;
  readonly columns?: number;
  readonly stages?: number;
  /** How columns of a cache are shared out among blocks. */
  readonly shares?: Shares;
}

interface Shares {
  readonly processors: number;
  /** Of all tiles together; blocks of columns of a share at least; percent of the best that is enough. */
  readonly most: number;
  readonly leastBlocks: number;
  readonly good: number;
  /** By tiles of the call and columns that each sees. */
  readonly chosen: readonly { readonly tiles: number; readonly columns: number; readonly shares: number }[];
}

const TILES = [1, 2, 4, 8, 16, 32, 64, 128];
const COLUMNS = [1024, 8192, 131_072];

export function attentionOf(kernel: PlaneKernel): Attention {
  const forward = planAttention(kernel);
  if (!("why" in forward)) {
    const { consumers, columns, stages, halves } = forward.shape;
    const chosen = TILES.flatMap((tiles) =>
      COLUMNS.map((seen) => ({ tiles, columns: seen, shares: sharesOf(tiles, Math.floor(seen / columns)) })),
    );
    const rule = { processors: PROCESSORS, most: MOST_SHARES, leastBlocks: LEAST_BLOCKS, good: GOOD, chosen };
    const rows = halves ? 64 : 64 * consumers;
    return { pass: "forward", rows, columns, stages, ...(forward.split ? { shares: rule } : {}) };
  }
  const backward = planBackward(kernel);
  if ("why" in backward) return { refused: { forward: forward.why, backward: backward.why } };
  const { rows, columns, stages } = backward.shape;
  return { pass: "backward", rows, columns, stages };
}

export function attentionText({ refused, pass, rows, columns, stages, shares }: Attention): string {
  if (refused !== undefined)
    return [
      "not on the tensor cores of Hopper",
      `  as attention: ${refused.forward}`,
      `  as its backward pass: ${refused.backward}`,
    ].join("\n");
  const head = `attention on the tensor cores of Hopper, ${pass}: tiles of ${rows} rows, blocks of ${columns} columns, ${stages} in shared memory`;
  if (shares === undefined) return head;
  const { processors, most, leastBlocks, good, chosen } = shares;
  const own = (tiles: number): string[] => chosen.filter((one) => one.tiles === tiles).map((one) => String(one.shares));
  return [
    head,
    `columns of the cache are shared out: the fewest shares that keep ${good} % as many of ${processors} multiprocessors busy as any number would,`,
    `at least ${leastBlocks} blocks of columns for each, at most ${most} of all tiles`,
    "",
    table(
      [
        ["tiles", ...COLUMNS.map((seen) => `${countText(seen)} columns`)],
        ...TILES.map((tiles) => [String(tiles), ...own(tiles)]),
      ],
      ["right", ...COLUMNS.map(() => "right" as const)],
    ),
  ].join("\n");
}
