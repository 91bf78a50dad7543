// gemm_head: gemm
// of Embedding.transposed
//   read x: f32[B, 64]
//   read weight: f32[160, 64]
//   write logits: f32[B, 160]
// m B, n 160, k 64: 2 * 160 * 64 floating point operations per row
#include "gemm.h"

namespace gemm_head {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 192, .depth = 64, .few_columns = 192, .few_depth = 64};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x = (const float*)args[0];
  const float* __restrict weight = (const float*)args[1];
  float* __restrict logits = (float*)args[2];
  const int64_t B = extents[0];
  const dsk_gemm_cut cut(blocks, B, 160, 64, 1);
  return cut.items();
}

static int64_t scratch(const int64_t* extents) {
  const int64_t B = extents[0];
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
  const float* __restrict weight = (const float*)args[1];
  float* __restrict logits = (float*)args[2];
  const int64_t B = extents[0];
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1);
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  const dsk_gemm_cut cut(blocks, B, 160, 64, 1);
  for (int64_t item = begin, items; item < end; item += items) {
    const dsk_gemm_block block = cut.block(item, end - item);
    items = block.items;
    dsk_fetch fetch(lines);
    {
      const int64_t terms = 64, step = cut.depth(terms);
      const int64_t columns = block.n;
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (block.m + i) * 64;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = (block.n + i) * 64;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = k0 + i;
        dsk_multiply(logits + block.m * 160 + block.n, 160, k0 == 0, rows, block.rows,
                     weight, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
  }
}

}

extern const dsk_kernel dsk_gemm_head;
const dsk_kernel dsk_gemm_head = { "gemm_head", 3, 1, gemm_head::items, gemm_head::scratch, gemm_head::run, nullptr };
