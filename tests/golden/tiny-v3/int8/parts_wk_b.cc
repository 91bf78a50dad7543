// parts_wk_b: 2 kernels in one launch
// parts_wk_b_part_1: rows
//   read x_2: f32[T]
//   read x_4: f32[T, 24]
//   read weight: f32[16]
//   write latent: f32[cache, 16]
//   read row: i32[T]
//   read pos: i32[T]
//   update x_6: f32[T, 4]
//   read x_7: f32[4]
//   update x_8: f32[T, 4]
//   write key_pe: f32[cache, 8]
//   read x_13: f32[T, 4, 24]
//   write x_15: f32[T, 4, 4, 2]
//   read pos_2: i32[S]
//   read seq: i32[T]
//   read seq_2: i32[S]
//   write span_from: i32[T]
//   write span_to: i32[T]
#include "dsk.h"

namespace parts_wk_b_part_1 {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t S = extents[0];
  const int64_t T = extents[1];
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
  float* __restrict latent = (float*)args[3];
  const int32_t* __restrict row = (const int32_t*)args[4];
  const int32_t* __restrict pos = (const int32_t*)args[5];
  float* __restrict x_6 = (float*)args[6];
  const float* __restrict x_7 = (const float*)args[7];
  float* __restrict x_8 = (float*)args[8];
  float* __restrict key_pe = (float*)args[9];
  const float* __restrict x_13 = (const float*)args[10];
  float* __restrict x_15 = (float*)args[11];
  const int32_t* __restrict pos_2 = (const int32_t*)args[12];
  const int32_t* __restrict seq = (const int32_t*)args[13];
  const int32_t* __restrict seq_2 = (const int32_t*)args[14];
  int32_t* __restrict span_from = (int32_t*)args[15];
  int32_t* __restrict span_to = (int32_t*)args[16];
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  float* __restrict x_3 = dsk_take<float>(scratch, 16);
  float* __restrict x_9 = dsk_take<float>(scratch, 4);
  float* __restrict x_10 = dsk_take<float>(scratch, 4);
  float* __restrict x_11 = dsk_take<float>(scratch, 4 * 2);
  float* __restrict x_12 = dsk_take<float>(scratch, 4 * 4);
  float* __restrict x_14 = dsk_take<float>(scratch, 4 * 4);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    float x_5;
    x = (float(1) / dsk_sqrt(((dsk_get(x_2[i_T]) / 16.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      dsk_put(x_3[i_C], ((dsk_get(x_4[i_T * 24 + i_C]) * x) * dsk_get(weight[i_C])));
    }
    #pragma omp simd
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      dsk_put(latent[(int64_t(dsk_get(row[i_T]))) * 16 + i_C], dsk_get(x_3[i_C]));
    }
    x_5 = float(dsk_get(pos[i_T]));
    dsk_put(x_6[i_T * 4], dsk_cos((x_5 * dsk_get(x_7[0]))));
    dsk_put(x_6[i_T * 4 + 1], dsk_cos((x_5 * dsk_get(x_7[1]))));
    dsk_put(x_6[i_T * 4 + 2], dsk_cos((x_5 * dsk_get(x_7[2]))));
    dsk_put(x_6[i_T * 4 + 3], dsk_cos((x_5 * dsk_get(x_7[3]))));
    dsk_put(x_8[i_T * 4], dsk_sin((x_5 * dsk_get(x_7[0]))));
    dsk_put(x_8[i_T * 4 + 1], dsk_sin((x_5 * dsk_get(x_7[1]))));
    dsk_put(x_8[i_T * 4 + 2], dsk_sin((x_5 * dsk_get(x_7[2]))));
    dsk_put(x_8[i_T * 4 + 3], dsk_sin((x_5 * dsk_get(x_7[3]))));
    dsk_put(x_9[0], ((dsk_get(x_4[i_T * 24 + 16]) * dsk_get(x_6[i_T * 4])) - (dsk_get(x_4[i_T * 24 + 17]) * dsk_get(x_8[i_T * 4]))));
    dsk_put(x_9[1], ((dsk_get(x_4[i_T * 24 + 18]) * dsk_get(x_6[i_T * 4 + 1])) - (dsk_get(x_4[i_T * 24 + 19]) * dsk_get(x_8[i_T * 4 + 1]))));
    dsk_put(x_9[2], ((dsk_get(x_4[i_T * 24 + 20]) * dsk_get(x_6[i_T * 4 + 2])) - (dsk_get(x_4[i_T * 24 + 21]) * dsk_get(x_8[i_T * 4 + 2]))));
    dsk_put(x_9[3], ((dsk_get(x_4[i_T * 24 + 22]) * dsk_get(x_6[i_T * 4 + 3])) - (dsk_get(x_4[i_T * 24 + 23]) * dsk_get(x_8[i_T * 4 + 3]))));
    dsk_put(x_10[0], ((dsk_get(x_4[i_T * 24 + 16]) * dsk_get(x_8[i_T * 4])) + (dsk_get(x_4[i_T * 24 + 17]) * dsk_get(x_6[i_T * 4]))));
    dsk_put(x_10[1], ((dsk_get(x_4[i_T * 24 + 18]) * dsk_get(x_8[i_T * 4 + 1])) + (dsk_get(x_4[i_T * 24 + 19]) * dsk_get(x_6[i_T * 4 + 1]))));
    dsk_put(x_10[2], ((dsk_get(x_4[i_T * 24 + 20]) * dsk_get(x_8[i_T * 4 + 2])) + (dsk_get(x_4[i_T * 24 + 21]) * dsk_get(x_6[i_T * 4 + 2]))));
    dsk_put(x_10[3], ((dsk_get(x_4[i_T * 24 + 22]) * dsk_get(x_8[i_T * 4 + 3])) + (dsk_get(x_4[i_T * 24 + 23]) * dsk_get(x_6[i_T * 4 + 3]))));
    #pragma omp simd
    for (int64_t i_P = 0; i_P < 4; i_P++) {
      dsk_put(x_11[i_P * 2], dsk_get(x_9[i_P]));
      dsk_put(x_11[i_P * 2 + 1], dsk_get(x_10[i_P]));
    }
    #pragma omp simd
    for (int64_t i_R = 0; i_R < 8; i_R++) {
      dsk_put(key_pe[(int64_t(dsk_get(row[i_T]))) * 8 + i_R], dsk_get(x_11[i_R]));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_12[i_H * 4], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_6[i_T * 4])) - (dsk_get(x_13[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_8[i_T * 4]))));
      dsk_put(x_12[i_H * 4 + 1], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_6[i_T * 4 + 1])) - (dsk_get(x_13[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_8[i_T * 4 + 1]))));
      dsk_put(x_12[i_H * 4 + 2], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_6[i_T * 4 + 2])) - (dsk_get(x_13[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_8[i_T * 4 + 2]))));
      dsk_put(x_12[i_H * 4 + 3], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_6[i_T * 4 + 3])) - (dsk_get(x_13[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_8[i_T * 4 + 3]))));
    }
    #pragma omp simd
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      dsk_put(x_14[i_H * 4], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 16]) * dsk_get(x_8[i_T * 4])) + (dsk_get(x_13[i_T * 96 + i_H * 24 + 17]) * dsk_get(x_6[i_T * 4]))));
      dsk_put(x_14[i_H * 4 + 1], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 18]) * dsk_get(x_8[i_T * 4 + 1])) + (dsk_get(x_13[i_T * 96 + i_H * 24 + 19]) * dsk_get(x_6[i_T * 4 + 1]))));
      dsk_put(x_14[i_H * 4 + 2], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 20]) * dsk_get(x_8[i_T * 4 + 2])) + (dsk_get(x_13[i_T * 96 + i_H * 24 + 21]) * dsk_get(x_6[i_T * 4 + 2]))));
      dsk_put(x_14[i_H * 4 + 3], ((dsk_get(x_13[i_T * 96 + i_H * 24 + 22]) * dsk_get(x_8[i_T * 4 + 3])) + (dsk_get(x_13[i_T * 96 + i_H * 24 + 23]) * dsk_get(x_6[i_T * 4 + 3]))));
    }
    for (int64_t i_H = 0; i_H < 4; i_H++) {
      #pragma omp simd
      for (int64_t i_P = 0; i_P < 4; i_P++) {
        dsk_put(x_15[i_T * 32 + i_H * 8 + i_P * 2], dsk_get(x_12[i_H * 4 + i_P]));
        dsk_put(x_15[i_T * 32 + i_H * 8 + i_P * 2 + 1], dsk_get(x_14[i_H * 4 + i_P]));
      }
    }
    int32_t sum0 = INT32_MAX;
    #pragma omp simd reduction(min : sum0)
    for (int64_t i_S = 0; i_S < S; i_S++) {
      sum0 = dsk_min<int32_t>(sum0, (((dsk_get(pos_2[i_S]) <= dsk_get(pos[i_T])) & (dsk_get(seq[i_T]) == dsk_get(seq_2[i_S]))) ? int32_t(i_S) : 2147483647));
    }
    dsk_put(span_from[i_T], sum0);
    int32_t sum1 = INT32_MIN;
    #pragma omp simd reduction(max : sum1)
    for (int64_t i_S = 0; i_S < S; i_S++) {
      sum1 = dsk_max<int32_t>(sum1, (((dsk_get(pos_2[i_S]) <= dsk_get(pos[i_T])) & (dsk_get(seq[i_T]) == dsk_get(seq_2[i_S]))) ? (int32_t(i_S) + 1) : 0));
    }
    dsk_put(span_to[i_T], sum1);
  }
}

}

extern const dsk_kernel dsk_parts_wk_b_part_1;
const dsk_kernel dsk_parts_wk_b_part_1 = { "parts_wk_b_part_1", 17, 2, parts_wk_b_part_1::items, parts_wk_b_part_1::scratch, parts_wk_b_part_1::run, nullptr };

// parts_wk_b_part_2: gemm
//   read x_13: f32[T, 4, 24]
//   read wk_b: i8[16, 4, 16]
//   read scale: bf16[16, 4, 1]
//   write x_16: f32[T, 4, 16]
// m T, n 16, k 16: 2 * 16 * 16 floating point operations per row
#include "gemm.h"

namespace parts_wk_b_part_2 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 16, .few_columns = 64, .few_depth = 16};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x_13 = (const float*)args[0];
  const int8_t* __restrict wk_b = (const int8_t*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  float* __restrict x_16 = (float*)args[3];
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
  const float* __restrict x_13 = (const float*)args[0];
  const int8_t* __restrict wk_b = (const int8_t*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  float* __restrict x_16 = (float*)args[3];
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
        const dsk_left rows = dsk_pack(panels, x_13 + i_H * 24, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = k0 + i;
        for (int64_t i = 0; i < depth; i++) b_scale_k[i] = 0;
        dsk_multiply(x_16 + i_H * 16 + block.m * 64 + block.n, 64, k0 == 0, rows, block.rows,
                     dsk_codes<int8_t>{wk_b, i_H * 16, scale + i_H, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
  }
}

}

extern const dsk_kernel dsk_parts_wk_b_part_2;
const dsk_kernel dsk_parts_wk_b_part_2 = { "parts_wk_b_part_2", 4, 1, parts_wk_b_part_2::items, parts_wk_b_part_2::scratch, parts_wk_b_part_2::run, nullptr };

#include "parts.h"

namespace parts_wk_b {

// Which of the launch's 20 buffers and 2 extents each of them has.
static const int32_t args_1[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
static const int32_t extents_1[] = { 0, 1 };
static const int32_t args_2[] = { 10, 17, 18, 19 };
static const int32_t extents_2[] = { 1 };
static const dsk_part parts[] = { { &dsk_parts_wk_b_part_1, args_1, extents_1 }, { &dsk_parts_wk_b_part_2, args_2, extents_2 } };

static int64_t items(void* const* args, const int64_t* extents) {
  return dsk_items_of_parts(parts, 2, args, 20, extents);
}

static int64_t scratch(const int64_t* extents) {
  return dsk_scratch_of_parts(parts, 2, extents);
}

static int64_t shared(const int64_t* extents) {
  return dsk_shared_of_parts(parts, 2, extents);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  dsk_run_parts(parts, 2, args, 20, extents, begin, end, scratch);
}

}

extern const dsk_kernel dsk_parts_wk_b;
const dsk_kernel dsk_parts_wk_b = { "parts_wk_b", 20, 2, parts_wk_b::items, parts_wk_b::scratch, parts_wk_b::run, parts_wk_b::shared };
