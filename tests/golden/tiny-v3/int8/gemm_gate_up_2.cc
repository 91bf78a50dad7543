// gemm_gate_up_2: gemm
// of SwiGlu
//   read chosen: i32[T, 3]
//   read x: f32[T, 64]
//   read gate: i8[8, 64, 16]
//   read scale: bf16[8, 3, 16]
//   read up: i8[8, 64, 16]
//   read scale_2: bf16[8, 3, 16]
//   write x_2: f32[T, 3, 16]
// m T * 3, n 16, k 64 and 64: 2 * 16 * 64 + 16 * 64 floating point operations per row; the rows of each of 8 groups together
#include "gemm.h"

namespace gemm_gate_up_2 {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 64, .depth = 64, .few_columns = 64, .few_depth = 64};

static int64_t items(void* const* args, const int64_t* extents) {
  const int32_t* __restrict chosen = (const int32_t*)args[0];
  const float* __restrict x = (const float*)args[1];
  const int8_t* __restrict gate = (const int8_t*)args[2];
  const bf16* __restrict scale = (const bf16*)args[3];
  const int8_t* __restrict up = (const int8_t*)args[4];
  const bf16* __restrict scale_2 = (const bf16*)args[5];
  float* __restrict x_2 = (float*)args[6];
  const int64_t T = extents[0];
  char* shared = (char*)args[7];
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
    first_item[g + 1] = first_item[g] + dsk_gemm_cut(blocks, start[g + 1] - start[g], 16, 64 + 64, 8).items();
  return first_item[8 + 1];
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<dsk_kept>(4) +
         dsk_bytes<float>(blocks.panels()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<const void*>(1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns)) +
         dsk_bytes<int64_t>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.sums()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.most_columns()) +
         dsk_bytes<float>(blocks.sums()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<int64_t>(blocks.most_columns()) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.most_columns());
}

static int64_t shared(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<int32_t>(T * 3) +
         dsk_bytes<int64_t>(8 + 2) +
         dsk_bytes<int64_t>(T * 3) +
         dsk_bytes<int64_t>(8 + 2);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const int32_t* __restrict chosen = (const int32_t*)args[0];
  const float* __restrict x = (const float*)args[1];
  const int8_t* __restrict gate = (const int8_t*)args[2];
  const bf16* __restrict scale = (const bf16*)args[3];
  const int8_t* __restrict up = (const int8_t*)args[4];
  const bf16* __restrict scale_2 = (const bf16*)args[5];
  float* __restrict x_2 = (float*)args[6];
  const int64_t T = extents[0];
  char* shared = (char*)args[7];
  const int32_t* __restrict group_of = dsk_take<int32_t>(shared, T * 3);
  const int64_t* __restrict start = dsk_take<int64_t>(shared, 8 + 2);
  const int64_t* __restrict order = dsk_take<int64_t>(shared, T * 3);
  const int64_t* __restrict first_item = dsk_take<int64_t>(shared, 8 + 2);
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  float* __restrict panel_2 = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns));
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict sums = dsk_take<float>(scratch, blocks.sums());
  int64_t* __restrict b_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_scale_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_scale_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict b_factors = dsk_take<float>(scratch, blocks.most_columns());
  float* __restrict sums_2 = dsk_take<float>(scratch, blocks.sums());
  int64_t* __restrict b_2_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_2_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  int64_t* __restrict b_2_scale_at = dsk_take<int64_t>(scratch, blocks.most_columns());
  int64_t* __restrict b_2_scale_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict b_2_factors = dsk_take<float>(scratch, blocks.most_columns());
  for (int64_t item = begin, items; item < end; item += items) {
    const int64_t i_E = dsk_group_of_item(first_item, 8 + 1, item);
    const dsk_gemm_cut cut(blocks, start[i_E + 1] - start[i_E], 16, 64 + 64, 8);
    const dsk_gemm_block block = cut.block(item - first_item[i_E], end - item);
    items = block.items;
    dsk_fetch fetch(lines);
    if (block.rows > dsk_few_rows) {
      for (int64_t i = 0; i < block.rows; i++) {
        const int64_t i_K = (order[start[i_E] + block.m + i]) % 3;
        const int64_t i_T = (order[start[i_E] + block.m + i]) / 3;
        fetch.add(x_2 + i_T * 48 + i_K * 16 + block.n, block.columns);
      }
    }
    {
      const int64_t terms = i_E < 8 ? 64 : 0, step = cut.depth(terms);
      const int64_t columns = i_E * 16 + block.n;
      for (int64_t i = 0; i < block.rows; i++) {
        const int64_t i_K = (order[start[i_E] + block.m + i]) % 3;
        const int64_t i_T = (order[start[i_E] + block.m + i]) / 3;
        a_at[i] = i_T * 64;
      }
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_scale_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_2_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_2_scale_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < depth; i++) a_k[i] = k0 + i;
        const dsk_left rows = dsk_pack(panels, x, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 16;
        for (int64_t i = 0; i < depth; i++) {
          const int64_t i_D = (k0 + i);
          b_scale_k[i] = ((i_D / 24)) * 16;
        }
        dsk_multiply(sums, block.stride(), k0 == 0, rows, block.rows,
                     dsk_codes<int8_t>{gate, i_E * 1024, scale + i_E * 48, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
        for (int64_t i = 0; i < depth; i++) b_2_k[i] = (k0 + i) * 16;
        for (int64_t i = 0; i < depth; i++) {
          const int64_t i_D = (k0 + i);
          b_2_scale_k[i] = ((i_D / 24)) * 16;
        }
        dsk_multiply(sums_2, block.stride(), k0 == 0, rows, block.rows,
                     dsk_codes<int8_t>{up, i_E * 1024, scale_2 + i_E * 48, b_2_scale_at, b_2_scale_k, b_2_factors}, b_2_at, block.columns, b_2_k, depth,
                     {panel_2, kept + 1, {1, columns, k0}}, fetch);
      }
    }
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t i_K = (order[start[i_E] + block.m + i]) % 3;
      const int64_t i_T = (order[start[i_E] + block.m + i]) / 3;
      #pragma omp simd
      for (int64_t j = 0; j < block.columns; j++) {
        const int64_t i_F_2 = block.n + j;
        const float product = sums[i * block.stride() + j];
        const float product_2 = sums_2[i * block.stride() + j];
        dsk_put(x_2[i_T * 48 + i_K * 16 + i_F_2], (dsk_silu(product) * product_2));
      }
    }
  }
}

}

extern const dsk_kernel dsk_gemm_gate_up_2;
const dsk_kernel dsk_gemm_gate_up_2 = { "gemm_gate_up_2", 7, 1, gemm_gate_up_2::items, gemm_gate_up_2::scratch, gemm_gate_up_2::run, gemm_gate_up_2::shared };
