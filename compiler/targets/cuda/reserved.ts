import { CPP_WORDS } from "../reserved.ts";
import { PRINTED } from "../simt/reserved.ts";

/** Words of C++ (ISO C++17, 5.11), types and functions of CUDA and of templates/cuda/dsk.cuh, and those that printers take. */
export const RESERVED: ReadonlySet<string> = new Set(
  (
    `${CPP_WORDS} override final ` +
    "items items_before threadIdx blockIdx blockDim gridDim warpSize min max abs exp log sqrt rsqrt tanh sin cos " +
    "floor pow expf logf sqrtf rsqrtf tanhf sinf cosf floorf powf fabs fabsf log1p log1pf erfc erfcf square sign sigmoid silu " +
    "softplus normal_cdf gelu bf16 f16 f8e4m3 bits_float float_bits infinity not_a_number int4_at exact_sin exact_cos max_nan min_nan to_int clamp " +
    "comes_before philox random_uniform random_normal Sum Max Min over_lanes over_block add_products m_ n_ k_ Words own_m own_n first_m first_n rows r c " +
    "e octet quad warp members marks mark mine own_a staged_a line left before read_words read_half read_line read_floats read_scales add_columns add_terms pair_far codes_of_columns codes_of_terms add_scaled_columns " +
    "add_scaled_terms bytes_of added_bf16 int8_pair int4_pair over_quads keep_sums " +
    "sum_of_warps pack_bf16 tile_a tile_b expert tile sum share keep columns found here place next at own blocks row_blocks first_row end_row " +
    "Lists lists list block key_of key_and_index index_in largest_of_warp least_of_largest sort_largest least sorted team value_at take " +
    "Vector Computed Words_of vector_at store_vector element_of words_of zero_all each_over_block place_of is_first term start first turn j all parts " +
    PRINTED
  )
    .split(" ")
    .concat(
      ["a", "b", "p", "sum", "slab", "tile", "left", "words", "codes", "scales", "of_scales", "kept"].flatMap((name) =>
        [...Array(10).keys()].map((i) => `${name}${i}`),
      ),
    ),
);
