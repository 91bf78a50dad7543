// parts_down: 2 kernels in one launch
// parts_down_part_1: rows
//   read x_2: f32[T]
//   write x_3: f32[T, 64]
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read x_4: f32[T, 8]
//   read bias: f32[8]
//   update chosen: i32[T, 3]
//   update picked: f32[T, 3]
//   write x_12: f32[T]
#include "dsk.h"

namespace parts_down_part_1 {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(8) +
         dsk_bytes<float>(8) +
         dsk_bytes<int32_t>(4 * 2) +
         dsk_bytes<float>(4) +
         dsk_bytes<int32_t>(2) +
         dsk_bytes<float>(4) +
         dsk_bytes<uint8_t>(4) +
         dsk_bytes<float>(4 * 2) +
         dsk_bytes<float>(2) +
         dsk_bytes<int32_t>(2) +
         dsk_bytes<float>(4) +
         dsk_bytes<int32_t>(2) +
         dsk_bytes<float>(8) +
         dsk_bytes<int32_t>(3);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  float* __restrict x_3 = (float*)args[1];
  const float* __restrict h = (const float*)args[2];
  const float* __restrict weight = (const float*)args[3];
  const float* __restrict x_4 = (const float*)args[4];
  const float* __restrict bias = (const float*)args[5];
  int32_t* __restrict chosen = (int32_t*)args[6];
  float* __restrict picked = (float*)args[7];
  float* __restrict x_12 = (float*)args[8];
  const int64_t T = extents[0];
  float* __restrict affinity = dsk_take<float>(scratch, 8);
  float* __restrict x_5 = dsk_take<float>(scratch, 8);
  int32_t* __restrict x_6 = dsk_take<int32_t>(scratch, 4 * 2);
  float* __restrict x_7 = dsk_take<float>(scratch, 4);
  int32_t* __restrict x_8 = dsk_take<int32_t>(scratch, 2);
  float* __restrict x_9 = dsk_take<float>(scratch, 4);
  uint8_t* __restrict x_10 = dsk_take<uint8_t>(scratch, 4);
  float* __restrict x_11 = dsk_take<float>(scratch, 4 * 2);
  float* __restrict values_8 = dsk_take<float>(scratch, 2);
  int32_t* __restrict order_9 = dsk_take<int32_t>(scratch, 2);
  float* __restrict values_10 = dsk_take<float>(scratch, 4);
  int32_t* __restrict order_11 = dsk_take<int32_t>(scratch, 2);
  float* __restrict values_12 = dsk_take<float>(scratch, 8);
  int32_t* __restrict order_13 = dsk_take<int32_t>(scratch, 3);
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float x;
    x = (float(1) / dsk_sqrt(((dsk_get(x_2[i_T]) / 64.0f) + 0.000001f)));
    #pragma omp simd
    for (int64_t i_D = 0; i_D < 64; i_D++) {
      dsk_put(x_3[i_T * 64 + i_D], ((dsk_get(h[i_T * 64 + i_D]) * x) * dsk_get(weight[i_D])));
    }
    #pragma omp simd
    for (int64_t i_E = 0; i_E < 8; i_E++) {
      dsk_put(affinity[i_E], dsk_sigmoid(dsk_get(x_4[i_T * 8 + i_E])));
    }
    #pragma omp simd
    for (int64_t i_E = 0; i_E < 8; i_E++) {
      dsk_put(x_5[i_E], (dsk_get(affinity[i_E]) + dsk_get(bias[i_E])));
    }
    for (int64_t i_G = 0; i_G < 4; i_G++) {
      #pragma omp simd
      for (int64_t i_E_G = 0; i_E_G < 2; i_E_G++) {
        values_8[i_E_G] = dsk_get(x_5[((i_G * 2) + i_E_G)]);
      }
      dsk_top_k(values_8, 2, 2, order_9);
      for (int64_t i_best = 0; i_best < 2; i_best++) {
        dsk_put(x_6[i_G * 2 + i_best], order_9[i_best]);
      }
    }
    const int32_t v0 = dsk_get(x_6[0]);
    const int32_t v1 = dsk_get(x_6[1]);
    dsk_put(x_7[0], (((v0 < 0) ? 0.0f : dsk_get(x_5[dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v0), 0), 1)])) + ((v1 < 0) ? 0.0f : dsk_get(x_5[dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v1), 0), 1)]))));
    const int32_t v2 = dsk_get(x_6[1 * 2]);
    const int32_t v3 = dsk_get(x_6[1 * 2 + 1]);
    dsk_put(x_7[1], (((v2 < 0) ? 0.0f : dsk_get(x_5[(dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v2), 0), 1) + 2)])) + ((v3 < 0) ? 0.0f : dsk_get(x_5[(dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v3), 0), 1) + 2)]))));
    const int32_t v4 = dsk_get(x_6[2 * 2]);
    const int32_t v5 = dsk_get(x_6[2 * 2 + 1]);
    dsk_put(x_7[2], (((v4 < 0) ? 0.0f : dsk_get(x_5[(dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v4), 0), 1) + 4)])) + ((v5 < 0) ? 0.0f : dsk_get(x_5[(dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v5), 0), 1) + 4)]))));
    const int32_t v6 = dsk_get(x_6[3 * 2]);
    const int32_t v7 = dsk_get(x_6[3 * 2 + 1]);
    dsk_put(x_7[3], (((v6 < 0) ? 0.0f : dsk_get(x_5[(dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v6), 0), 1) + 6)])) + ((v7 < 0) ? 0.0f : dsk_get(x_5[(dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v7), 0), 1) + 6)]))));
    #pragma omp simd
    for (int64_t i_G = 0; i_G < 4; i_G++) {
      values_10[i_G] = dsk_get(x_7[i_G]);
    }
    dsk_top_k(values_10, 4, 2, order_11);
    for (int64_t i_keep = 0; i_keep < 2; i_keep++) {
      dsk_put(x_8[i_keep], order_11[i_keep]);
    }
    #pragma omp simd
    for (int64_t i_G = 0; i_G < 4; i_G++) {
      dsk_put(x_9[i_G], 0.0f);
    }
    for (int64_t i_keep = 0; i_keep < 2; i_keep++) {
      const int32_t v8 = dsk_get(x_8[i_keep]);
      if ((v8 >= 0)) {
        dsk_put(x_9[int64_t(dsk_get(x_8[i_keep]))], dsk_get(x_9[int64_t(dsk_get(x_8[i_keep]))]) + 1.0f);
      }
    }
    dsk_put(x_10[0], (dsk_get(x_9[0]) > 0.0f));
    dsk_put(x_10[1], (dsk_get(x_9[1]) > 0.0f));
    dsk_put(x_10[2], (dsk_get(x_9[2]) > 0.0f));
    dsk_put(x_10[3], (dsk_get(x_9[3]) > 0.0f));
    #pragma omp simd
    for (int64_t i_G = 0; i_G < 4; i_G++) {
      dsk_put(x_11[i_G * 2], (dsk_get(x_10[i_G]) ? dsk_get(x_5[(i_G * 2)]) : float(-DSK_INF)));
      dsk_put(x_11[i_G * 2 + 1], (dsk_get(x_10[i_G]) ? dsk_get(x_5[((i_G * 2) + 1)]) : float(-DSK_INF)));
    }
    #pragma omp simd
    for (int64_t i_E = 0; i_E < 8; i_E++) {
      values_12[i_E] = dsk_get(x_11[i_E]);
    }
    dsk_top_k(values_12, 8, 3, order_13);
    for (int64_t i_K = 0; i_K < 3; i_K++) {
      dsk_put(chosen[i_T * 3 + i_K], order_13[i_K]);
    }
    const int32_t v9 = dsk_get(chosen[i_T * 3]);
    dsk_put(picked[i_T * 3], ((v9 < 0) ? 0.0f : dsk_get(affinity[dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v9), 0), 7)])));
    const int32_t v10 = dsk_get(chosen[i_T * 3 + 1]);
    dsk_put(picked[i_T * 3 + 1], ((v10 < 0) ? 0.0f : dsk_get(affinity[dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v10), 0), 7)])));
    const int32_t v11 = dsk_get(chosen[i_T * 3 + 2]);
    dsk_put(picked[i_T * 3 + 2], ((v11 < 0) ? 0.0f : dsk_get(affinity[dsk_min<int64_t>(dsk_max<int64_t>(int64_t(v11), 0), 7)])));
    float sum12 = 0.0f;
    #pragma omp simd reduction(+ : sum12)
    for (int64_t i_K = 0; i_K < 3; i_K++) {
      sum12 += dsk_get(picked[i_T * 3 + i_K]);
    }
    dsk_put(x_12[i_T], sum12);
  }
}

}

extern const dsk_kernel dsk_parts_down_part_1;
const dsk_kernel dsk_parts_down_part_1 = { "parts_down_part_1", 9, 1, parts_down_part_1::items, parts_down_part_1::scratch, parts_down_part_1::run, nullptr };

// parts_down_part_2: gemm
//   read x_13: f32[T, 16]
//   read down: i4[16, 64]
//   read scale: bf16[1, 64]
//   write x_14: f32[T, 64]
// m T, n 64, k 16: 2 * 64 * 16 floating point operations per row
#include "gemm.h"

namespace parts_down_part_2 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 16, .few_columns = 64, .few_depth = 16};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x_13 = (const float*)args[0];
  const i4* __restrict down = (const i4*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  float* __restrict x_14 = (float*)args[3];
  const int64_t T = extents[0];
  const dsk_gemm_cut cut(blocks, T, 64, 16, 1);
  return cut.items();
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
  const i4* __restrict down = (const i4*)args[1];
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
  const dsk_gemm_cut cut(blocks, T, 64, 16, 1);
  for (int64_t item = begin, items; item < end; item += items) {
    const dsk_gemm_block block = cut.block(item, end - item);
    items = block.items;
    dsk_fetch fetch(lines);
    {
      const int64_t terms = 16, step = cut.depth(terms);
      const int64_t columns = block.n;
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (block.m + i) * 16;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_scale_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x_13, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 64;
        for (int64_t i = 0; i < depth; i++) b_scale_k[i] = 0;
        dsk_multiply(x_14 + block.m * 64 + block.n, 64, k0 == 0, rows, block.rows,
                     dsk_codes<i4>{down, 0, scale, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
  }
}

}

extern const dsk_kernel dsk_parts_down_part_2;
const dsk_kernel dsk_parts_down_part_2 = { "parts_down_part_2", 4, 1, parts_down_part_2::items, parts_down_part_2::scratch, parts_down_part_2::run, nullptr };

#include "parts.h"

namespace parts_down {

// Which of the launch's 13 buffers and 1 extents each of them has.
static const int32_t args_1[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };
static const int32_t extents_1[] = { 0 };
static const int32_t args_2[] = { 9, 10, 11, 12 };
static const int32_t extents_2[] = { 0 };
static const dsk_part parts[] = { { &dsk_parts_down_part_1, args_1, extents_1 }, { &dsk_parts_down_part_2, args_2, extents_2 } };

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

extern const dsk_kernel dsk_parts_down;
const dsk_kernel dsk_parts_down = { "parts_down", 13, 1, parts_down::items, parts_down::scratch, parts_down::run, parts_down::shared };
