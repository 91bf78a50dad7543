// parts_pow: 2 kernels in one launch
// parts_pow_part_1: gemm
//   read x: f32[T, 24]
//   read wq_b: f32[24, 4, 24]
//   write x_2: f32[T, 4, 24]
// m T, n 4 * 24, k 24: 2 * 4 * 24 * 24 floating point operations per row
#include "gemm.h"

namespace parts_pow_part_1 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 128, .depth = 24, .few_columns = 128, .few_depth = 24};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x = (const float*)args[0];
  const float* __restrict wq_b = (const float*)args[1];
  float* __restrict x_2 = (float*)args[2];
  const int64_t T = extents[0];
  const dsk_gemm_cut cut(blocks, T, 4 * 24, 24, 1);
  return cut.items();
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<float>(blocks.panels()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<int64_t>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth());
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x = (const float*)args[0];
  const float* __restrict wq_b = (const float*)args[1];
  float* __restrict x_2 = (float*)args[2];
  const int64_t T = extents[0];
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  const dsk_gemm_cut cut(blocks, T, 4 * 24, 24, 1);
  for (int64_t item = begin, items; item < end; item += items) {
    const dsk_gemm_block block = cut.block(item, end - item);
    items = block.items;
    {
      const int64_t terms = 24, step = cut.depth(terms);
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (block.m + i) * 24;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 96;
        dsk_multiply(x_2 + block.m * 96 + block.n, 96, k0 == 0, rows, block.rows,
                     wq_b, b_at, block.columns, b_k, depth, panel);
      }
    }
  }
}

}

extern const dsk_kernel dsk_parts_pow_part_1;
const dsk_kernel dsk_parts_pow_part_1 = { "parts_pow_part_1", 3, 1, parts_pow_part_1::items, parts_pow_part_1::scratch, parts_pow_part_1::run, nullptr };

// parts_pow_part_2: rows
//   write x_3: f32[4]
#include "dsk.h"

namespace parts_pow_part_2 {

static int64_t items(void* const* args, const int64_t* extents) {
  return 1;
}

static int64_t scratch(const int64_t* extents) {
  return 0;
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  float* __restrict x_3 = (float*)args[0];
  for (int64_t item = begin; item < end; item++) {
    dsk_put(x_3[0], dsk_pow(10000.0f, (float(int32_t(0)) / (-4.0f))));
    dsk_put(x_3[1], dsk_pow(10000.0f, (float(int32_t(1)) / (-4.0f))));
    dsk_put(x_3[2], dsk_pow(10000.0f, (float(int32_t(2)) / (-4.0f))));
    dsk_put(x_3[3], dsk_pow(10000.0f, (float(int32_t(3)) / (-4.0f))));
  }
}

}

extern const dsk_kernel dsk_parts_pow_part_2;
const dsk_kernel dsk_parts_pow_part_2 = { "parts_pow_part_2", 1, 0, parts_pow_part_2::items, parts_pow_part_2::scratch, parts_pow_part_2::run, nullptr };

#include "parts.h"

namespace parts_pow {

// Which of the launch's 4 buffers and 1 extents each of them has.
static const int32_t args_1[] = { 0, 1, 2 };
static const int32_t extents_1[] = { 0 };
static const int32_t args_2[] = { 3 };
static const dsk_part parts[] = { { &dsk_parts_pow_part_1, args_1, extents_1 }, { &dsk_parts_pow_part_2, args_2, nullptr } };

static int64_t items(void* const* args, const int64_t* extents) {
  return dsk_items_of_parts(parts, 2, args, 4, extents);
}

static int64_t scratch(const int64_t* extents) {
  return dsk_scratch_of_parts(parts, 2, extents);
}

static int64_t shared(const int64_t* extents) {
  return dsk_shared_of_parts(parts, 2, extents);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  dsk_run_parts(parts, 2, args, 4, extents, begin, end, scratch);
}

}

extern const dsk_kernel dsk_parts_pow;
const dsk_kernel dsk_parts_pow = { "parts_pow", 4, 1, parts_pow::items, parts_pow::scratch, parts_pow::run, parts_pow::shared };
