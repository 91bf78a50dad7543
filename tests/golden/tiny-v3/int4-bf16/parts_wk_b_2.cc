// parts_wk_b_2: 2 kernels in one launch
// parts_wk_b_2_part_1: rows
//   read x_2: f32[T]
//   read x_4: f32[T, 24]
//   read weight: f32[16]
//   write latent: bf16[cache, 16]
//   read row: i32[T]
//   read x_6: f32[T, 4]
//   read x_7: f32[T, 4]
//   write key_pe: bf16[cache, 8]
//   read x_11: f32[T, 4, 24]
//   write x_13: f32[T, 4, 4, 2]
#include "dsk.h"

namespace parts_wk_b_2_part_1 {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(16) +
         dsk_bytes<float>(4) +
         dsk_bytes<float>(4) +
         dsk_bytes<float>(4 * 2) +
         dsk_bytes<float>(4 * 4) +
         dsk_bytes<float>(4 * 4);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict x_4 = (const float*)args[1];
  const float* __restrict weight = (const float*)args[2];
  bf16* __restrict latent = (bf16*)args[3];
  const int32_t* __restrict row = (const int32_t*)args[4];
  const float* __restrict x_6 = (const float*)args[5];
  const float* __restrict x_7 = (const float*)args[6];
  bf16* __restrict key_pe = (bf16*)args[7];
  const float* __restrict x_11 = (const float*)args[8];
  float* __restrict x_13 = (float*)args[9];
  const int64_t T = extents[0];
  float* __restrict x_3 = dsk_take<float>(scratch, 16);
  float* __restrict x_5 = dsk_take<float>(scratch, 4);
  float* __restrict x_8 = dsk_take<float>(scratch, 4);
  float* __restrict x_9 = dsk_take<float>(scratch, 4 * 2);
  float* __restrict x_10 = dsk_take<float>(scratch, 4 * 4);
  float* __restrict x_12 = dsk_take<float>(scratch, 4 * 4);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    x = (float(1) / dsk_sqrt(((dsk_get(x_2[i_T]) / 16.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      dsk_put(x_3[i_C], ((dsk_get(x_4[i_T * 24 + i_C]) * x) * dsk_get(weight[i_C])));
    }
    #pragma omp simd
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      dsk_put(latent[(int64_t(dsk_get(row[i_T]))) * 16 + i_C], dsk_get(x_3[i_C]));
    }
    dsk_put(x_5[0], ((dsk_get(x_4[i_T * 24 + 16]) * dsk_get(x_6[i_T * 4])) - (dsk_get(x_4[i_T * 24 + 17]) * dsk_get(x_7[i_T * 4]))));
    dsk_put(x_5[1], ((dsk_get(x_4[i_T * 24 + 18]) * dsk_get(x_6[i_T * 4 + 1])) - (dsk_get(x_4[i_T * 24 + 19]) * dsk_get(x_7[i_T * 4 + 1]))));
    dsk_put(x_5[2], ((dsk_get(x_4[i_T * 24 + 20]) * dsk_get(x_6[i_T * 4 + 2])) - (dsk_get(x_4[i_T * 24 + 21]) * dsk_get(x_7[i_T * 4 + 2]))));
    dsk_put(x_5[3], ((dsk_get(x_4[i_T * 24 + 22]) * dsk_get(x_6[i_T * 4 + 3])) - (dsk_get(x_4[i_T * 24 + 23]) * dsk_get(x_7[i_T * 4 + 3]))));
    dsk_put(x_8[0], ((dsk_get(x_4[i_T * 24 + 16]) * dsk_get(x_7[i_T * 4])) + (dsk_get(x_4[i_T * 24 + 17]) * dsk_get(x_6[i_T * 4]))));
    dsk_put(x_8[1], ((dsk_get(x_4[i_T * 24 + 18]) * dsk_get(x_7[i_T * 4 + 1])) + (dsk_get(x_4[i_T * 24 + 19]) * dsk_get(x_6[i_T * 4 + 1]))));
    dsk_put(x_8[2], ((dsk_get(x_4[i_T * 24 + 20]) * dsk_get(x_7[i_T * 4 + 2])) + (dsk_get(x_4[i_T * 24 + 21]) * dsk_get(x_6[i_T * 4 + 2]))));
    dsk_put(x_8[3], ((dsk_get(x_4[i_T * 24 + 22]) * dsk_get(x_7[i_T * 4 + 3])) + (dsk_get(x_4[i_T * 24 + 23]) * dsk_get(x_6[i_T * 4 + 3]))));
    #pragma omp simd
    for (int64_t i_P = 0; i_P < 4; i_P++) {
      dsk_put(x_9[i_P * 2], dsk_get(x_5[i_P]));
      dsk_put(x_9[i_P * 2 + 1], dsk_get(x_8[i_P]));
    }
    #pragma omp simd
    for (int64_t i_R = 0; i_R < 8; i_R++) {
      dsk_put(key_pe[(int64_t(dsk_get(row[i_T]))) * 8 + i_R], dsk_get(x_9[i_R]));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_10[i_H * 4], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_6[i_T * 4])) - (dsk_get(x_11[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_7[i_T * 4]))));
      dsk_put(x_10[i_H * 4 + 1], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_6[i_T * 4 + 1])) - (dsk_get(x_11[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_7[i_T * 4 + 1]))));
      dsk_put(x_10[i_H * 4 + 2], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_6[i_T * 4 + 2])) - (dsk_get(x_11[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_7[i_T * 4 + 2]))));
      dsk_put(x_10[i_H * 4 + 3], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_6[i_T * 4 + 3])) - (dsk_get(x_11[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_7[i_T * 4 + 3]))));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_12[i_H * 4], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_7[i_T * 4])) + (dsk_get(x_11[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_6[i_T * 4]))));
      dsk_put(x_12[i_H * 4 + 1], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_7[i_T * 4 + 1])) + (dsk_get(x_11[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_6[i_T * 4 + 1]))));
      dsk_put(x_12[i_H * 4 + 2], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_7[i_T * 4 + 2])) + (dsk_get(x_11[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_6[i_T * 4 + 2]))));
      dsk_put(x_12[i_H * 4 + 3], ((dsk_get(x_11[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_7[i_T * 4 + 3])) + (dsk_get(x_11[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_6[i_T * 4 + 3]))));
    }
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      #pragma omp simd
      for (int64_t i_P = 0; i_P < 4; i_P++) {
        dsk_put(x_13[i_T * 32 + i_H * 8 + i_P * 2], dsk_get(x_10[i_H * 4 + i_P]));
        dsk_put(x_13[i_T * 32 + i_H * 8 + i_P * 2 + 1], dsk_get(x_12[i_H * 4 + i_P]));
      }
    }
  }
}

}

extern const dsk_kernel dsk_parts_wk_b_2_part_1;
const dsk_kernel dsk_parts_wk_b_2_part_1 = { "parts_wk_b_2_part_1", 10, 1, parts_wk_b_2_part_1::items, parts_wk_b_2_part_1::scratch, parts_wk_b_2_part_1::run, nullptr };

// parts_wk_b_2_part_2: gemm
//   read x_11: f32[T, 4, 24]
//   read wk_b: i4[16, 4, 16]
//   read scale: bf16[16, 4, 1]
//   write x_14: f32[T, 4, 16]
// m T, n 16, k 16: 2 * 16 * 16 floating point operations per row
#include "gemm.h"

namespace parts_wk_b_2_part_2 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 16, .few_columns = 64, .few_depth = 16};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x_11 = (const float*)args[0];
  const i4* __restrict wk_b = (const i4*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  float* __restrict x_14 = (float*)args[3];
  const int64_t T = extents[0];
  const dsk_gemm_cut cut(blocks, T, 16, 16, 4);
  return 4 * cut.items();
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<dsk_kept>(4) +
         dsk_bytes<float>(blocks.panels()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<const void*>(1) +
         dsk_bytes<int64_t>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.most_columns());
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_11 = (const float*)args[0];
  const i4* __restrict wk_b = (const i4*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  float* __restrict x_14 = (float*)args[3];
  const int64_t T = extents[0];
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1);
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_scale_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_scale_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict b_factors = dsk_take<float>(scratch, blocks.most_columns());
  const dsk_gemm_cut cut(blocks, T, 16, 16, 4);
  for (int64_t item = begin, items; item < end; item += items) {
    const int64_t outer = item / cut.items();
    const int64_t i_H = outer;
    const dsk_gemm_block block = cut.block(item % cut.items(), end - item);
    items = block.items;
    dsk_fetch fetch(lines);
    {
      const int64_t terms = 16, step = cut.depth(terms);
      const int64_t columns = outer * 16 + block.n;
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (block.m + i) * 96;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = (block.n + i) * 64;
      for (int64_t i = 0; i < block.columns; i++) b_scale_at[i] = (block.n + i) * 4;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x_11 + i_H * 24, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = k0 + i;
        for (int64_t i = 0; i < depth; i++) b_scale_k[i] = 0;
        dsk_multiply(x_14 + i_H * 16 + block.m * 64 + block.n, 64, k0 == 0, rows, block.rows,
                     dsk_codes<i4>{wk_b, i_H * 16, scale + i_H, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
  }
}

}

extern const dsk_kernel dsk_parts_wk_b_2_part_2;
const dsk_kernel dsk_parts_wk_b_2_part_2 = { "parts_wk_b_2_part_2", 4, 1, parts_wk_b_2_part_2::items, parts_wk_b_2_part_2::scratch, parts_wk_b_2_part_2::run, nullptr };

#include "parts.h"

namespace parts_wk_b_2 {

// Which of the launch's 13 buffers and 1 extents each of them has.
static const int32_t args_1[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };
static const int32_t extents_1[] = { 0 };
static const int32_t args_2[] = { 8, 10, 11, 12 };
static const int32_t extents_2[] = { 0 };
static const dsk_part parts[] = { { &dsk_parts_wk_b_2_part_1, args_1, extents_1 }, { &dsk_parts_wk_b_2_part_2, args_2, extents_2 } };

static int64_t items(void* const* args, const int64_t* extents) {
  return dsk_items_of_parts(parts, 2, args, 13, extents);
}

static int64_t scratch(const int64_t* extents) {
  return dsk_scratch_of_parts(parts, 2, extents);
}

static int64_t shared(const int64_t* extents) {
  return dsk_shared_of_parts(parts, 2, extents);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  dsk_run_parts(parts, 2, args, 13, extents, begin, end, scratch);
}

}

extern const dsk_kernel dsk_parts_wk_b_2;
const dsk_kernel dsk_parts_wk_b_2 = { "parts_wk_b_2", 13, 1, parts_wk_b_2::items, parts_wk_b_2::scratch, parts_wk_b_2::run, parts_wk_b_2::shared };
