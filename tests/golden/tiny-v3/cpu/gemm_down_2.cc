// gemm_down_2: gemm
// of SwiGlu
//   read x: f32[T, 3, 16]
//   read down: f32[8, 16, 64]
//   read chosen: i32[T, 3]
//   write x_2: f32[T, 3, 64]
// m T * 3, n 64, k 16: 2 * 64 * 16 floating point operations per row; the rows of each of 8 groups together
#include "gemm.h"

namespace gemm_down_2 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 16, .few_columns = 64, .few_depth = 16};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict x = (const float*)args[0];
  const float* __restrict down = (const float*)args[1];
  const int32_t* __restrict chosen = (const int32_t*)args[2];
  float* __restrict x_2 = (float*)args[3];
  const int64_t T = extents[0];
  char* shared = (char*)args[4];
  int32_t* __restrict group_of = dsk_take<int32_t>(shared, T * 3);
  int64_t* __restrict start = dsk_take<int64_t>(shared, 8 + 2);
  int64_t* __restrict order = dsk_take<int64_t>(shared, T * 3);
  int64_t* __restrict first_item = dsk_take<int64_t>(shared, 8 + 2);
  for (int64_t i = 0; i < T * 3; i++) {
    const int64_t i_K = i % 3;
    const int64_t i_T = i / 3;
    group_of[i] = dsk_get(chosen[i_T * 3 + i_K]);
  }
  dsk_sort_groups(group_of, T * 3, 8, start, order);
  first_item[0] = 0;
  for (int64_t g = 0; g <= 8; g++)
    first_item[g + 1] = first_item[g] + dsk_gemm_cut(blocks, start[g + 1] - start[g], 64, 16, 8).items();
  return first_item[8 + 1];
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
         dsk_bytes<int64_t>(blocks.most_depth());
}

static int64_t shared(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<int32_t>(T * 3) +
         dsk_bytes<int64_t>(8 + 2) +
         dsk_bytes<int64_t>(T * 3) +
         dsk_bytes<int64_t>(8 + 2);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x = (const float*)args[0];
  const float* __restrict down = (const float*)args[1];
  const int32_t* __restrict chosen = (const int32_t*)args[2];
  float* __restrict x_2 = (float*)args[3];
  const int64_t T = extents[0];
  char* shared = (char*)args[4];
  const int32_t* __restrict group_of = dsk_take<int32_t>(shared, T * 3);
  const int64_t* __restrict start = dsk_take<int64_t>(shared, 8 + 2);
  const int64_t* __restrict order = dsk_take<int64_t>(shared, T * 3);
  const int64_t* __restrict first_item = dsk_take<int64_t>(shared, 8 + 2);
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns));
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict sums = dsk_take<float>(scratch, blocks.sums());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  for (int64_t item = begin, items; item < end; item += items) {
    const int64_t i_E = dsk_group_of_item(first_item, 8 + 1, item);
    const dsk_gemm_cut cut(blocks, start[i_E + 1] - start[i_E], 64, 16, 8);
    const dsk_gemm_block block = cut.block(item - first_item[i_E], end - item);
    items = block.items;
    dsk_fetch fetch(lines);
    if (block.rows > dsk_few_rows) {
      for (int64_t i = 0; i < block.rows; i++) {
        const int64_t i_K = (order[start[i_E] + block.m + i]) % 3;
        const int64_t i_T = (order[start[i_E] + block.m + i]) / 3;
        fetch.add(x_2 + i_T * 192 + i_K * 64 + block.n, block.columns);
      }
    }
    {
      const int64_t terms = i_E < 8 ? 16 : 0, step = cut.depth(terms);
      const int64_t columns = i_E * 64 + block.n;
      for (int64_t i = 0; i < block.rows; i++) a_at[i] = (order[start[i_E] + block.m + i]) * 16;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 64;
        dsk_multiply(sums, block.stride(), k0 == 0, rows, block.rows,
                     down + i_E * 1024, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
      }
    }
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t i_K = (order[start[i_E] + block.m + i]) % 3;
      const int64_t i_T = (order[start[i_E] + block.m + i]) / 3;
      #pragma omp simd
      for (int64_t j = 0; j < block.columns; j++) {
        const int64_t i_D = block.n + j;
        const float product = sums[i * block.stride() + j];
        dsk_put(x_2[i_T * 192 + i_K * 64 + i_D], product);
      }
    }
  }
}

}

extern const dsk_kernel dsk_gemm_down_2;
const dsk_kernel dsk_gemm_down_2 = { "gemm_down_2", 4, 1, gemm_down_2::items, gemm_down_2::scratch, gemm_down_2::run, gemm_down_2::shared };
