import { RESERVED } from "../reserved.ts";

/** Variables, types and functions of kernels for tensor cores and of templates/cuda/dsk_sm90.cuh, beside what all kernels have. */
export const HOPPER_RESERVED: ReadonlySet<string> = new Set([
  ...RESERVED,
  ...(
    "GROUPS STAGES TILE_K TILE_M TILE_N Barrier CUtensorMap CachePolicy Descriptor Place Shared above adds all at at_row batch before " +
    "chunk column columns counts earlier empty end first found full group group_of k_block k_blocks lane line line_to m_end m_high " +
    "m_low middle mine n_end order own packed pair part phase place_of row rows shared shared_memory slice slot sorted_end stage " +
    "staged starts thread tile tile_columns tile_rows to warp warpgroup cluster_rank cluster_sync elect_one fence_async pack_bf16 " +
    "pack_e4m3 shared_address K_BLOCKS PARTS at_term bytes e f first_row j k_blocks_1 k_blocks_2 k_blocks_3 outer partials splits stored sums0 sums1 sums2 sums3 term there uint4"
  ).split(" "),
  ...["sums", "a", "b", "a_", "b_", "from_", "unused_", "k_blocks_"].flatMap((name) =>
    Array.from({ length: 10 }, (_, i) => `${name}${i}`),
  ),
]);
