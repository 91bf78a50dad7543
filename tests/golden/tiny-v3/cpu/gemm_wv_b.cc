// gemm_wv_b: gemm
// of Mla.output
//   read x: f32[T, 4, 16]
//   read wv_b: f32[16, 4, 16]
//   write x_2: f32[T, 4, 16]
// m T, n 16, k 16: 2 * 16 * 16 floating point operations per row
#include "gemm.h"

namespace gemm_wv_b {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 16, .few_columns = 64, .few_depth = 16};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x = (const float*)args[0];
  const float* __restrict wv_b = (const float*)args[1];
  float* __restrict x_2 = (float*)args[2];
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
         dsk_bytes<int64_t>(blocks.most_depth());
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x = (const float*)args[0];
  const float* __restrict wv_b = (const float*)args[1];
  float* __restrict x_2 = (float*)args[2];
  const int64_t T = extents[0];
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1);
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
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
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (block.m + i) * 64;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x + i_H * 16, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 64;
        dsk_multiply(x_2 + i_H * 16 + block.m * 64 + block.n, 64, k0 == 0, rows, block.rows,
                     wv_b + i_H * 16, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
  }
}

}

extern const dsk_kernel dsk_gemm_wv_b;
const dsk_kernel dsk_gemm_wv_b = { "gemm_wv_b", 3, 1, gemm_wv_b::items, gemm_wv_b::scratch, gemm_wv_b::run, nullptr };
