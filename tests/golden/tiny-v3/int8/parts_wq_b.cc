// parts_wq_b: 3 kernels in one launch
// parts_wq_b_part_1: gemm
//   read x_2: f32[T, 24]
//   read weight: f32[24]
//   read wq_b: i8[24, 4, 24]
//   read scale: bf16[1, 4, 24]
//   write x_4: f32[T, 4, 24]
// m T, n 4 * 24, k 24: 2 * 4 * 24 * 24 floating point operations per row
#include "gemm.h"

namespace parts_wq_b_part_1 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 128, .depth = 24, .few_columns = 128, .few_depth = 24};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict weight = (const float*)args[1];
  const int8_t* __restrict wq_b = (const int8_t*)args[2];
  const bf16* __restrict scale = (const bf16*)args[3];
  float* __restrict x_4 = (float*)args[4];
  const int64_t T = extents[0];
  const dsk_gemm_cut cut(blocks, T, 4 * 24, 24, 1);
  return cut.items();
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<dsk_kept>(4) +
         dsk_bytes<float>(blocks.panels()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<const void*>(1) +
         dsk_bytes<float>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.a_values()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.most_columns());
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict weight = (const float*)args[1];
  const int8_t* __restrict wq_b = (const int8_t*)args[2];
  const bf16* __restrict scale = (const bf16*)args[3];
  float* __restrict x_4 = (float*)args[4];
  const int64_t T = extents[0];
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1);
  float* __restrict x_3_of_row = dsk_take<float>(scratch, blocks.rows);
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict a_values = dsk_take<float>(scratch, blocks.a_values());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_scale_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_scale_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict b_factors = dsk_take<float>(scratch, blocks.most_columns());
  const dsk_gemm_cut cut(blocks, T, 4 * 24, 24, 1);
  for (int64_t item = begin, items; item < end; item += items) {
    const dsk_gemm_block block = cut.block(item, end - item);
    items = block.items;
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t i_T = (block.m + i);
      float x;
      float x_3;
      float sum0 = 0.0f;
      #pragma omp simd reduction(+ : sum0)
      for (int64_t i_Q = 0; i_Q < 24; i_Q++) {
        sum0 += (dsk_get(x_2[i_T * 24 + i_Q]) * dsk_get(x_2[i_T * 24 + i_Q]));
      }
      x = sum0;
      x_3 = (float(1) / dsk_sqrt(((x / 24.0f) + 0.000001f)));
      x_3_of_row[i] = x_3;
    }
    dsk_fetch fetch(lines);
    {
      const int64_t terms = 24, step = cut.depth(terms);
      const int64_t columns = block.n;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_scale_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < block.rows; i++) {
          const int64_t i_T = (block.m + i);
          const float x_3 = x_3_of_row[i];
          #pragma omp simd
          for (int64_t j = 0; j < depth; j++) {
            const int64_t i_Q = (k0 + j);
            a_values[i * depth + j] = ((dsk_get(x_2[i_T * 24 + i_Q]) * x_3) * dsk_get(weight[i_Q]));
          }
        }
        for (int64_t i = 0; i < block.rows; i++) a_at[i] = i * depth;
        for (int64_t j = 0; j < depth; j++) a_k[j] = j;
        const dsk_left rows = dsk_pack(panels, a_values, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 96;
        for (int64_t i = 0; i < depth; i++) b_scale_k[i] = 0;
        dsk_multiply(x_4 + block.m * 96 + block.n, 96, k0 == 0, rows, block.rows,
                     dsk_codes<int8_t>{wq_b, 0, scale, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
  }
}

}

extern const dsk_kernel dsk_parts_wq_b_part_1;
const dsk_kernel dsk_parts_wq_b_part_1 = { "parts_wq_b_part_1", 5, 1, parts_wq_b_part_1::items, parts_wq_b_part_1::scratch, parts_wq_b_part_1::run, nullptr };

// parts_wq_b_part_2: rows
//   read x_5: f32[T, 24]
//   write x_6: f32[T]
#include "dsk.h"

namespace parts_wq_b_part_2 {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t T = extents[0];
  return T;
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_5 = (const float*)args[0];
  float* __restrict x_6 = (float*)args[1];
  const int64_t T = extents[0];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i_T = item;
    float sum0 = 0.0f;
    #pragma omp simd reduction(+ : sum0)
    for (int64_t i_C = 0; i_C < 16; i_C++) {
      sum0 += (dsk_get(x_5[i_T * 24 + i_C]) * dsk_get(x_5[i_T * 24 + i_C]));
    }
    dsk_put(x_6[i_T], sum0);
  }
}

}

extern const dsk_kernel dsk_parts_wq_b_part_2;
const dsk_kernel dsk_parts_wq_b_part_2 = { "parts_wq_b_part_2", 2, 1, parts_wq_b_part_2::items, parts_wq_b_part_2::scratch, parts_wq_b_part_2::run, nullptr };

// parts_wq_b_part_3: rows
//   write x_7: f32[4]
#include "dsk.h"

namespace parts_wq_b_part_3 {

static int64_t items(void* const* args, const int64_t* extents) {
  return 1;
}

static int64_t scratch(const int64_t* extents) {
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  float* __restrict x_7 = (float*)args[0];
  for (int64_t item = begin; item < end; item++) {
    dsk_put(x_7[0], dsk_pow(10000.0f, (float(int32_t(0)) / (-4.0f))));
    dsk_put(x_7[1], dsk_pow(10000.0f, (float(int32_t(1)) / (-4.0f))));
    dsk_put(x_7[2], dsk_pow(10000.0f, (float(int32_t(2)) / (-4.0f))));
    dsk_put(x_7[3], dsk_pow(10000.0f, (float(int32_t(3)) / (-4.0f))));
  }
}

}

extern const dsk_kernel dsk_parts_wq_b_part_3;
const dsk_kernel dsk_parts_wq_b_part_3 = { "parts_wq_b_part_3", 1, 0, parts_wq_b_part_3::items, parts_wq_b_part_3::scratch, parts_wq_b_part_3::run, nullptr };

#include "parts.h"

namespace parts_wq_b {

// Which of the launch's 8 buffers and 1 extents each of them has.
static const int32_t args_1[] = { 0, 1, 2, 3, 4 };
static const int32_t extents_1[] = { 0 };
static const int32_t args_2[] = { 5, 6 };
static const int32_t extents_2[] = { 0 };
static const int32_t args_3[] = { 7 };
static const dsk_part parts[] = { { &dsk_parts_wq_b_part_1, args_1, extents_1 }, { &dsk_parts_wq_b_part_2, args_2, extents_2 }, { &dsk_parts_wq_b_part_3, args_3, nullptr } };

static int64_t items(void* const* args, const int64_t* extents) {
  return dsk_items_of_parts(parts, 3, args, 8, extents);
}

static int64_t scratch(const int64_t* extents) {
  return dsk_scratch_of_parts(parts, 3, extents);
}

static int64_t shared(const int64_t* extents) {
  return dsk_shared_of_parts(parts, 3, extents);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  dsk_run_parts(parts, 3, args, 8, extents, begin, end, scratch);
}

}

extern const dsk_kernel dsk_parts_wq_b;
const dsk_kernel dsk_parts_wq_b = { "parts_wq_b", 8, 1, parts_wq_b::items, parts_wq_b::scratch, parts_wq_b::run, parts_wq_b::shared };
