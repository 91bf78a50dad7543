// parts_wq_a_wkv_a: 2 kernels in one launch
// parts_wq_a_wkv_a_part_1: gemm
//   read x: f32[T, 64]
//   read wq_a: i8[64, 24]
//   read scale: bf16[3, 24]
//   write x_2: f32[T, 24]
// m T, n 24, k 64: 2 * 24 * 64 floating point operations per row
#include "gemm.h"

namespace parts_wq_a_wkv_a_part_1 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 64, .few_columns = 64, .few_depth = 64};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x = (const float*)args[0];
  const int8_t* __restrict wq_a = (const int8_t*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  float* __restrict x_2 = (float*)args[3];
  const int64_t T = extents[0];
  const dsk_gemm_cut cut(blocks, T, 24, 64, 1);
  return cut.items();
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<dsk_kept>(4) +
         dsk_bytes<float>(blocks.panels()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<const void*>(1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns)) +
         dsk_bytes<int64_t>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.sums()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.most_columns());
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x = (const float*)args[0];
  const int8_t* __restrict wq_a = (const int8_t*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  float* __restrict x_2 = (float*)args[3];
  const int64_t T = extents[0];
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns));
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict sums = dsk_take<float>(scratch, blocks.sums());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_scale_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_scale_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict b_factors = dsk_take<float>(scratch, blocks.most_columns());
  const dsk_gemm_cut cut(blocks, T, 24, 64, 1);
  for (int64_t item = begin, items; item < end; item += items) {
    const dsk_gemm_block block = cut.block(item, end - item);
    items = block.items;
    dsk_fetch fetch(lines);
    if (block.rows > dsk_few_rows) {
      for (int64_t i = 0; i < block.rows; i++) {
        const int64_t i_T = (block.m + i);
        fetch.add(x_2 + i_T * 24 + block.n, block.columns);
      }
    }
    {
      const int64_t terms = 64, step = cut.depth(terms);
      const int64_t columns = block.n;
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (block.m + i) * 64;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_scale_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 24;
        for (int64_t i = 0; i < depth; i++) {
          const int64_t i_D = (k0 + i);
          b_scale_k[i] = ((i_D / 24)) * 24;
        }
        dsk_multiply(sums, block.stride(), k0 == 0, rows, block.rows,
                     dsk_codes<int8_t>{wq_a, 0, scale, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t i_T = (block.m + i);
      #pragma omp simd
      for (int64_t j = 0; j < block.columns; j++) {
        const int64_t i_Q = block.n + j;
        const float product = sums[i * block.stride() + j];
        dsk_put(x_2[i_T * 24 + i_Q], product);
      }
    }
  }
}

}

extern const dsk_kernel dsk_parts_wq_a_wkv_a_part_1;
const dsk_kernel dsk_parts_wq_a_wkv_a_part_1 = { "parts_wq_a_wkv_a_part_1", 4, 1, parts_wq_a_wkv_a_part_1::items, parts_wq_a_wkv_a_part_1::scratch, parts_wq_a_wkv_a_part_1::run, nullptr };

// parts_wq_a_wkv_a_part_2: gemm
//   read x: f32[T, 64]
//   read wkv_a: i8[64, 24]
//   read scale_2: bf16[3, 24]
//   write x_3: f32[T, 24]
// m T, n 24, k 64: 2 * 24 * 64 floating point operations per row
#include "gemm.h"

namespace parts_wq_a_wkv_a_part_2 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 64, .few_columns = 64, .few_depth = 64};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x = (const float*)args[0];
  const int8_t* __restrict wkv_a = (const int8_t*)args[1];
  const bf16* __restrict scale_2 = (const bf16*)args[2];
  float* __restrict x_3 = (float*)args[3];
  const int64_t T = extents[0];
  const dsk_gemm_cut cut(blocks, T, 24, 64, 1);
  return cut.items();
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<dsk_kept>(4) +
         dsk_bytes<float>(blocks.panels()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<const void*>(1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns)) +
         dsk_bytes<int64_t>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.sums()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.most_columns());
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x = (const float*)args[0];
  const int8_t* __restrict wkv_a = (const int8_t*)args[1];
  const bf16* __restrict scale_2 = (const bf16*)args[2];
  float* __restrict x_3 = (float*)args[3];
  const int64_t T = extents[0];
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns));
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict sums = dsk_take<float>(scratch, blocks.sums());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_scale_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_scale_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict b_factors = dsk_take<float>(scratch, blocks.most_columns());
  const dsk_gemm_cut cut(blocks, T, 24, 64, 1);
  for (int64_t item = begin, items; item < end; item += items) {
    const dsk_gemm_block block = cut.block(item, end - item);
    items = block.items;
    dsk_fetch fetch(lines);
    if (block.rows > dsk_few_rows) {
      for (int64_t i = 0; i < block.rows; i++) {
        const int64_t i_T = (block.m + i);
        fetch.add(x_3 + i_T * 24 + block.n, block.columns);
      }
    }
    {
      const int64_t terms = 64, step = cut.depth(terms);
      const int64_t columns = block.n;
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (block.m + i) * 64;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_scale_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 24;
        for (int64_t i = 0; i < depth; i++) {
          const int64_t i_D = (k0 + i);
          b_scale_k[i] = ((i_D / 24)) * 24;
        }
        dsk_multiply(sums, block.stride(), k0 == 0, rows, block.rows,
                     dsk_codes<int8_t>{wkv_a, 0, scale_2, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t i_T = (block.m + i);
      #pragma omp simd
      for (int64_t j = 0; j < block.columns; j++) {
        const int64_t i_C_R = block.n + j;
        const float product_2 = sums[i * block.stride() + j];
        dsk_put(x_3[i_T * 24 + i_C_R], product_2);
      }
    }
  }
}

}

extern const dsk_kernel dsk_parts_wq_a_wkv_a_part_2;
const dsk_kernel dsk_parts_wq_a_wkv_a_part_2 = { "parts_wq_a_wkv_a_part_2", 4, 1, parts_wq_a_wkv_a_part_2::items, parts_wq_a_wkv_a_part_2::scratch, parts_wq_a_wkv_a_part_2::run, nullptr };

#include "parts.h"

namespace parts_wq_a_wkv_a {

// Which of the launch's 7 buffers and 1 extents each of them has.
static const int32_t args_1[] = { 0, 1, 2, 3 };
static const int32_t extents_1[] = { 0 };
static const int32_t args_2[] = { 0, 4, 5, 6 };
static const int32_t extents_2[] = { 0 };
static const dsk_part parts[] = { { &dsk_parts_wq_a_wkv_a_part_1, args_1, extents_1 }, { &dsk_parts_wq_a_wkv_a_part_2, args_2, extents_2 } };

static int64_t items(void* const* args, const int64_t* extents) {
  return dsk_items_of_parts(parts, 2, args, 7, extents);
}

static int64_t scratch(const int64_t* extents) {
  return dsk_scratch_of_parts(parts, 2, extents);
}

static int64_t shared(const int64_t* extents) {
  return dsk_shared_of_parts(parts, 2, extents);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  dsk_run_parts(parts, 2, args, 7, extents, begin, end, scratch);
}

}

extern const dsk_kernel dsk_parts_wq_a_wkv_a;
const dsk_kernel dsk_parts_wq_a_wkv_a = { "parts_wq_a_wkv_a", 7, 1, parts_wq_a_wkv_a::items, parts_wq_a_wkv_a::scratch, parts_wq_a_wkv_a::run, parts_wq_a_wkv_a::shared };
