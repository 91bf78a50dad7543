// gemm_gate_up: gemm
// of RmsNorm, SwiGlu
//   read h: f32[T, 64]
//   read weight: f32[64]
//   read gate: i4[64, 96]
//   read scale: bf16[4, 96]
//   read up: i4[64, 96]
//   read scale_2: bf16[4, 96]
//   write x_3: f32[T, 96]
// m T, n 96, k 64 and 64: 2 * 96 * 64 + 96 * 64 floating point operations per row
#include "gemm.h"

namespace gemm_gate_up {

static constexpr dsk_gemm_blocks blocks = {.rows = 128, .columns = 128, .depth = 64, .few_columns = 128, .few_depth = 64};

static int64_t items(void* const* args, const int64_t* extents) {
  const float* __restrict h = (const float*)args[0];
  const float* __restrict weight = (const float*)args[1];
  const i4* __restrict gate = (const i4*)args[2];
  const bf16* __restrict scale = (const bf16*)args[3];
  const i4* __restrict up = (const i4*)args[4];
  const bf16* __restrict scale_2 = (const bf16*)args[5];
  float* __restrict x_3 = (float*)args[6];
  const int64_t T = extents[0];
  const dsk_gemm_cut cut(blocks, T, 96, 64 + 64, 1);
  return cut.items();
}

static int64_t scratch(const int64_t* extents) {
  const int64_t T = extents[0];
  return dsk_bytes<dsk_kept>(4) +
         dsk_bytes<float>(blocks.panels()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<float>(blocks.panel()) +
         dsk_bytes<const void*>(1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns)) +
         dsk_bytes<float>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.rows) +
         dsk_bytes<int64_t>(blocks.most_depth()) +
         dsk_bytes<float>(blocks.a_values()) +
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

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict h = (const float*)args[0];
  const float* __restrict weight = (const float*)args[1];
  const i4* __restrict gate = (const i4*)args[2];
  const bf16* __restrict scale = (const bf16*)args[3];
  const i4* __restrict up = (const i4*)args[4];
  const bf16* __restrict scale_2 = (const bf16*)args[5];
  float* __restrict x_3 = (float*)args[6];
  const int64_t T = extents[0];
  dsk_kept* __restrict kept = dsk_take<dsk_kept>(scratch, 4);
  float* __restrict panels = dsk_take<float>(scratch, blocks.panels());
  float* __restrict panel = dsk_take<float>(scratch, blocks.panel());
  float* __restrict panel_2 = dsk_take<float>(scratch, blocks.panel());
  const void** __restrict lines = dsk_take<const void*>(scratch, 1 + 1 * blocks.rows * dsk_fetch::lines_of<float>(blocks.columns));
  float* __restrict x_2_of_row = dsk_take<float>(scratch, blocks.rows);
  int64_t* __restrict a_at = dsk_take<int64_t>(scratch, blocks.rows);
  int64_t* __restrict a_k = dsk_take<int64_t>(scratch, blocks.most_depth());
  float* __restrict a_values = dsk_take<float>(scratch, blocks.a_values());
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
  const dsk_gemm_cut cut(blocks, T, 96, 64 + 64, 1);
  for (int64_t item = begin, items; item < end; item += items) {
    const dsk_gemm_block block = cut.block(item, end - item);
    items = block.items;
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t i_T = (block.m + i);
      float x;
      float x_2;
      float sum0 = 0.0f;
      #pragma omp simd reduction(+ : sum0)
      for (int64_t i_D = 0; i_D < 64; i_D++) {
        sum0 += (dsk_get(h[i_T * 64 + i_D]) * dsk_get(h[i_T * 64 + i_D]));
      }
      x = sum0;
      x_2 = (float(1) / dsk_sqrt(((x / 64.0f) + 0.000001f)));
      x_2_of_row[i] = x_2;
    }
    dsk_fetch fetch(lines);
    if (block.rows > dsk_few_rows) {
      for (int64_t i = 0; i < block.rows; i++) {
        const int64_t i_T = (block.m + i);
        fetch.add(x_3 + i_T * 96 + block.n, block.columns);
      }
    }
    {
      const int64_t terms = 64, step = cut.depth(terms);
      const int64_t columns = block.n;
      for (int64_t i = 0; i < block.columns; i++) b_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_scale_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_2_at[i] = block.n + i;
      for (int64_t i = 0; i < block.columns; i++) b_2_scale_at[i] = block.n + i;
      for (int64_t k0 = 0; k0 == 0 || k0 < terms; k0 += step) {
        const int64_t depth = dsk_min(step, terms - k0);
        for (int64_t i = 0; i < block.rows; i++) {
          const int64_t i_T = (block.m + i);
          const float x_2 = x_2_of_row[i];
          #pragma omp simd
          for (int64_t j = 0; j < depth; j++) {
            const int64_t i_D = (k0 + j);
            a_values[i * depth + j] = ((dsk_get(h[i_T * 64 + i_D]) * x_2) * dsk_get(weight[i_D]));
          }
        }
        for (int64_t i = 0; i < block.rows; i++) a_at[i] = i * depth;
        for (int64_t j = 0; j < depth; j++) a_k[j] = j;
        const dsk_left rows = dsk_pack(panels, a_values, a_at, block.rows, a_k, depth);
        for (int64_t i = 0; i < depth; i++) b_k[i] = (k0 + i) * 96;
        for (int64_t i = 0; i < depth; i++) {
          const int64_t i_D = (k0 + i);
          b_scale_k[i] = ((i_D / 16)) * 96;
        }
        dsk_multiply(sums, block.stride(), k0 == 0, rows, block.rows,
                     dsk_codes<i4>{gate, 0, scale, b_scale_at, b_scale_k, b_factors}, b_at, block.columns, b_k, depth,
                     {panel, kept + 0, {0, columns, k0}}, fetch);
        for (int64_t i = 0; i < depth; i++) b_2_k[i] = (k0 + i) * 96;
        for (int64_t i = 0; i < depth; i++) {
          const int64_t i_D = (k0 + i);
          b_2_scale_k[i] = ((i_D / 16)) * 96;
        }
        dsk_multiply(sums_2, block.stride(), k0 == 0, rows, block.rows,
                     dsk_codes<i4>{up, 0, scale_2, b_2_scale_at, b_2_scale_k, b_2_factors}, b_2_at, block.columns, b_2_k, depth,
                     {panel_2, kept + 1, {1, columns, k0}}, fetch);
      }
    }
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t i_T = (block.m + i);
      #pragma omp simd
      for (int64_t j = 0; j < block.columns; j++) {
        const int64_t i_F = block.n + j;
        const float product = sums[i * block.stride() + j];
        const float product_2 = sums_2[i * block.stride() + j];
        dsk_put(x_3[i_T * 96 + i_F], (dsk_silu(product) * product_2));
      }
    }
  }
}

}

extern const dsk_kernel dsk_gemm_gate_up;
const dsk_kernel dsk_gemm_gate_up = { "gemm_gate_up", 7, 1, gemm_gate_up::items, gemm_gate_up::scratch, gemm_gate_up::run, nullptr };
