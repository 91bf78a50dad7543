import { RESERVED } from "../reserved.ts";

/** Variables, types and functions of kernels for tensor cores and of templates/cuda/dsk_sm90.cuh, beside what all kernels have. */
export const HOPPER_RESERVED: ReadonlySet<string> = new Set([
  ...RESERVED,
  ...(
    "GROUPS STAGES TILE_K TILE_M TILE_N Barrier CUtensorMap CachePolicy Descriptor Place Shared above adds all at at_row batch before " +
    "chunk column columns counts earlier empty end first found full group group_of k_block k_blocks lane line line_to m_end m_high " +
    "m_low middle mine n_end order own packed pair part phase place_of row rows shared shared_memory slice slot sorted_end stage " +
    "staged starts thread tile tile_columns tile_rows to warp warpgroup cluster_rank cluster_sync elect_one fence_async pack_bf16 " +
    "pack_e4m3 rows_of_a columns_of_b pass shared_address PARTS SHARE CONSUMERS first_block from has_rows received sent store_at float4 at_term anew thread_now c piece given0_pair given1_pair given2_pair given3_pair given4_pair unpack_bf16 below distance lane_now length next place scattered sorted tiles bytes e f first_row j r k_blocks_1 k_blocks_2 k_blocks_3 outer of_columns of_pair splits partial scales stored sums0 sums1 sums2 sums3 term there write_thirds none block copied packed_a_0 packed_a_1 packed_b0_0 packed_b1_0 packed_b2_0 packed_b0_1 uint4 count own_term read_codes read_factors write_codes behind own_lane tiles_of ahead prefetch_rows"
  ).split(" "),
  ...[
    "sums",
    "a",
    "b",
    "a_",
    "b_",
    "from_",
    "bytes_",
    "given",
    "from_given",
    "results",
    "pair",
    "low_",
    "high_",
    "rows_",
    "columns0_",
    "columns1_",
    "of_b0_",
    "of_b1_",
    "unused_",
    "codes",
    "factors",
    "codes_of_b0_",
    "codes_of_b1_",
    "factors_of_b0_",
    "factors_of_b1_",
    "k_blocks_",
  ].flatMap((name) => Array.from({ length: 10 }, (_, i) => `${name}${i}`)),
]);

/** Those of attention. */
export const ATTENTION_RESERVED: ReadonlySet<string> = new Set([
  ...RESERVED,
  ...(
    "ROWS COLUMNS WIDTH STAGES SCALE Barrier CUtensorMap CachePolicy Descriptor Place Shared Span add_scores add_values all at base behind " +
    "block blocks both bytes c chunk column columns e exponentiate factor find_ranges first flat from gather_k0 gather_k1 gather_v head heads hide " +
    "HELD factors found_0 found_1 look_up queries scale_rows add_held clear find_range hide_where squash SQUASH curbed curb second t gather_rows load_row store_row half half_phase rest rest_phase stage_rows weight weight_phase x0 x1 x2 x3 least0 least1 least2 least3 most0 most1 most2 most3 " +
    "high i j key key_phase lane line low m m_end own pack_bf16 pack_rows packed part peaks place place_of power_of_2 r ranges rescale row " +
    "row_tiles s scores shared shared_memory span span_of sums thread tile to total value value_phase warp warpgroup weights " +
    // Of shares of columns.
    "base item keep_marks keep_share kept largest marks partials place share share_of shares shares_of weight " +
    // Of the backward pass.
    "DEPTH FACTOR add_to again column_tiles first_member member delta describe dk dv inside known multiply n n_end pair phase seen slopes spans stage statistics up"
  ).split(" "),
]);
