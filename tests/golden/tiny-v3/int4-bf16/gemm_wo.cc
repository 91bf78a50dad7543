// gemm_wo: gemm
// of Mla.output, Decoder
//   read x: f32[T, 4, 16]
//   read wo: i4[4, 16, 64]
//   read scale: bf16[4, 1, 64]
//   read x_2: f32[T, 64]
//   write h: f32[T, 64]
// m T, n 64, k 4 * 16: 2 * 64 * 4 * 16 floating point operations per row
#include "gemm.h"

namespace gemm_wo {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 64, .few_columns = 64, .few_depth = 64};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x = (const float*)args[0];
  const i4* __restrict wo = (const i4*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  const float* __restrict x_2 = (const float*)args[3];
  float* __restrict h = (float*)args[4];
  const int64_t T = extents[0];
  const dsk_gemm_cut cut(blocks, T, 64, 4 * 16, 1);
  return cut.items();
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<dsk_kept>(4) +
         dsk_bytes<float>(blocks.panels()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<const void*>(1 + 2 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns)) +
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
  const i4* __restrict wo = (const i4*)args[1];
  const bf16* __restrict scale = (const bf16*)args[2];
  const float* __restrict x_2 = (const float*)args[3];
  float* __restrict h = (float*)args[4];
  const int64_t T = extents[0];
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1 + 2 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns));
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict sums = dsk_take<float>(scratch, blocks.sums());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_scale_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_scale_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict b_factors = dsk_take<float>(scratch, blocks.most_columns());
  const dsk_gemm_cut cut(blocks, T, 64, 4 * 16, 1);
  for (int64_t item = begin, items; item < end; item += items) {
    const dsk_gemm_block block = cut.block(item, end - item);
    items = block.items;
    dsk_fetch fetch(lines);
    if (block.rows > dsk_few_rows) {
      for (int64_t i = 0; i < block.rows; i++) {
        const int64_t i_T = (block.m + i);
        fetch.add(h + i_T * 64 + block.n, block.columns);
        fetch.add(x_2 + i_T * 64 + block.n, block.columns);
      }
    }
    {
      const int64_t terms = 4 * 16, step = cut.depth(terms);
      const int64_t columns = block.n;
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (block.m + i) * 64;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_scale_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 64;
        for (int64_t i = 0; i < depth; i++) {
          const int64_t i_Vh = (k0 + i) % 16;
          const int64_t i_H = (k0 + i) / 16;
          b_scale_k[i] = i_H * 64;
        }
        dsk_multiply(sums, block.stride(), k0 == 0, rows, block.rows,
                     dsk_codes<i4>{wo, 0, scale, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t i_T = (block.m + i);
      #pragma omp simd
      for (int64_t j = 0; j < block.columns; j++) {
        const int64_t i_D = block.n + j;
        const float product = sums[i * block.stride() + j];
        dsk_put(h[i_T * 64 + i_D], (dsk_get(x_2[i_T * 64 + i_D]) + product));
      }
    }
  }
}

}

extern const dsk_kernel dsk_gemm_wo;
const dsk_kernel dsk_gemm_wo = { "gemm_wo", 5, 1, gemm_wo::items, gemm_wo::scratch, gemm_wo::run, nullptr };
