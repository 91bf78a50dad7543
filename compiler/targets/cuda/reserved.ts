import { PRINTED } from "../simt/reserved.ts";

/** Words of C++ (ISO C++17, 5.11), types and functions of CUDA and of templates/cuda/dsk.cuh, and those that printers take. */
export const RESERVED: ReadonlySet<string> = new Set(
  (
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t class compl const const_cast " +
    "constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false final float for " +
    "friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq override private " +
    "protected public register reinterpret_cast return short signed sizeof static static_assert static_cast struct switch " +
    "template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while " +
    "xor xor_eq main items items_before threadIdx blockIdx blockDim gridDim warpSize min max abs exp log sqrt rsqrt tanh sin cos " +
    "floor pow expf logf sqrtf rsqrtf tanhf sinf cosf floorf powf fabs fabsf log1p log1pf erfc erfcf square sign sigmoid silu " +
    "softplus normal_cdf gelu bf16 f16 f8e4m3 bits_float float_bits infinity not_a_number int4_at exact_sin exact_cos max_nan min_nan to_int clamp " +
    "comes_before philox random_uniform random_normal Sum Max Min over_lanes over_block add_products m_ n_ k_ Words own_m own_n first_m first_n rows r c " +
    "tile_a tile_b expert tile sum found here place next at own blocks row_blocks first_row end_row " +
    PRINTED
  )
    .split(" ")
    .concat(
      ["a", "b", "p", "sum", "slab", "tile", "left"].flatMap((name) => [...Array(10).keys()].map((i) => `${name}${i}`)),
    ),
);
