// plane_mla_output: plane
// of Mla, Mla.output
//   read x_2: f32[T, 4, 16]
//   read latent: f32[cache, 16]
//   read slot: i32[S]
//   read x_3: f32[T, 4, 4, 2]
//   read key_pe: f32[cache, 8]
//   read pos: i32[S]
//   read pos_2: i32[T]
//   read seq: i32[T]
//   read seq_2: i32[S]
//   write x_4: f32[T, 4, 16]
//   read span_from: i32[T]
//   read span_to: i32[T]
#include "plane.h"

namespace plane_mla_output {

static int64_t items(void* const* args, const int64_t* extents) {
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  const int64_t chunk = dsk_rows_of_item(T * 4, 4);
  return ((T * 4 + chunk - 1) / chunk);
}

static int64_t scratch(const int64_t* extents) {
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  return dsk_bytes<float>(DSK_ROWS * S) +
         dsk_bytes<float>(DSK_ROWS) +
         dsk_bytes<float>(DSK_ROWS) +
         dsk_bytes<float>(DSK_ROWS) +
         dsk_bytes<float>(DSK_ROWS * 16) +
         dsk_bytes<int64_t>(DSK_ROWS) +
         dsk_bytes<int64_t>(DSK_COLUMNS) +
         dsk_bytes<float>(DSK_ROWS * 8) +
         dsk_bytes<float>(2 * DSK_ROWS * 16);
}

static void run(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch) {
  const float* __restrict x_2 = (const float*)args[0];
  const float* __restrict latent = (const float*)args[1];
  const int32_t* __restrict slot = (const int32_t*)args[2];
  const float* __restrict x_3 = (const float*)args[3];
  const float* __restrict key_pe = (const float*)args[4];
  const int32_t* __restrict pos = (const int32_t*)args[5];
  const int32_t* __restrict pos_2 = (const int32_t*)args[6];
  const int32_t* __restrict seq = (const int32_t*)args[7];
  const int32_t* __restrict seq_2 = (const int32_t*)args[8];
  float* __restrict x_4 = (float*)args[9];
  const int32_t* __restrict span_from = (const int32_t*)args[10];
  const int32_t* __restrict span_to = (const int32_t*)args[11];
  const int64_t S = extents[0];
  const int64_t T = extents[1];
  const int64_t chunk = dsk_rows_of_item(T * 4, 4);
  float* __restrict x_plane = dsk_take<float>(scratch, DSK_ROWS * S);
  float* __restrict peak_rows = dsk_take<float>(scratch, DSK_ROWS);
  float* __restrict sum_rows = dsk_take<float>(scratch, DSK_ROWS);
  float* __restrict inverse_rows = dsk_take<float>(scratch, DSK_ROWS);
  float* __restrict left_4 = dsk_take<float>(scratch, DSK_ROWS * 16);
  int64_t* __restrict rows_at_5 = dsk_take<int64_t>(scratch, DSK_ROWS);
  int64_t* __restrict columns_at_6 = dsk_take<int64_t>(scratch, DSK_COLUMNS);
  float* __restrict left_7 = dsk_take<float>(scratch, DSK_ROWS * 8);
  float* __restrict out_8 = dsk_take<float>(scratch, 2 * DSK_ROWS * 16);
  const auto from = [&]([[maybe_unused]] int64_t i_T) { return int64_t(dsk_get(span_from[i_T])); };
  const auto to = [&]([[maybe_unused]] int64_t i_T) { return int64_t(dsk_get(span_to[i_T])); };
  for (int64_t item = begin; item < end; item++) {
    const int64_t part = item;
    const int64_t limit = part * chunk + chunk < T * 4 ? part * chunk + chunk : T * 4;
    for (int64_t row = part * chunk; row < limit;) {
      const dsk_plane_block block = dsk_next_block(row, limit, 4, from, to);
      for (int64_t r = 0; r < block.strips * DSK_STRIP; r++) {
        const int64_t index = block.index(r);
        const int64_t i_H = index % 4;
        const int64_t i_T = index / 4;
        rows_at_5[r] = i_T * 64 + i_H * 16;
      }
      dsk_pack(block, left_4, 16, x_2, rows_at_5);
      for (int64_t first = block.from; first < block.to; first += DSK_COLUMNS) {
        const int64_t columns = block.to - first < DSK_COLUMNS ? block.to - first : DSK_COLUMNS;
        for (int64_t c = 0; c < columns; c++) {
          const int64_t i_S = first + c;
          columns_at_6[c] = (int64_t(dsk_get(slot[i_S]))) * 16;
        }
        dsk_enter(block, x_plane + (first - block.from) * DSK_STRIP, S * DSK_STRIP, first, columns, false, left_4, 16, latent, columns_at_6);
      }
      for (int64_t r = 0; r < block.strips * DSK_STRIP; r++) {
        const int64_t index = block.index(r);
        const int64_t i_H = index % 4;
        const int64_t i_T = index / 4;
        rows_at_5[r] = i_T * 32 + i_H * 8;
      }
      dsk_pack(block, left_7, 8, x_3, rows_at_5);
      for (int64_t first = block.from; first < block.to; first += DSK_COLUMNS) {
        const int64_t columns = block.to - first < DSK_COLUMNS ? block.to - first : DSK_COLUMNS;
        for (int64_t c = 0; c < columns; c++) {
          const int64_t i_S = first + c;
          columns_at_6[c] = (int64_t(dsk_get(slot[i_S]))) * 8;
        }
        dsk_enter(block, x_plane + (first - block.from) * DSK_STRIP, S * DSK_STRIP, first, columns, true, left_7, 8, key_pe, columns_at_6);
      }
      for (int64_t strip = 0; strip < block.strips; strip++) {
        float* __restrict peak = peak_rows + strip * DSK_STRIP;
        float* __restrict sum = sum_rows + strip * DSK_STRIP;
        float* __restrict inverse = inverse_rows + strip * DSK_STRIP;
        {
          const int32_t* const from_of5 = block.from_of + strip * DSK_STRIP;
          const int32_t* const to_of6 = block.to_of + strip * DSK_STRIP;
          int32_t of_row1[DSK_STRIP];
          int32_t of_row2[DSK_STRIP];
          for (int64_t i_lane = 0; i_lane < DSK_STRIP; i_lane++) {
            const int64_t index = block.index(strip * DSK_STRIP + i_lane);
            const int64_t i_H = index % 4;
            const int64_t i_T = index / 4;
            of_row1[i_lane] = dsk_get(pos_2[i_T]);
            of_row2[i_lane] = dsk_get(seq[i_T]);
          }
          dsk_strip<float> result4;
          result4.start(float(-DSK_INF));
          const int64_t first7 = block.strip_from[strip], end8 = block.strip_to[strip];
          for (int64_t i_S = first7; i_S < end8; i_S++) {
            float* __restrict x = x_plane + (strip * S + i_S - block.from) * DSK_STRIP;
            const int32_t column9 = int32_t(i_S);
            const int32_t of_column0 = dsk_get(pos[i_S]);
            const int32_t of_column3 = dsk_get(seq_2[i_S]);
            float result4_term[DSK_STRIP];
            #pragma omp simd
            for (int64_t i_lane = 0; i_lane < DSK_STRIP; i_lane++) {
              const bool own10 = (from_of5[i_lane] <= column9) & (column9 < to_of6[i_lane]);
              dsk_put(x[i_lane], (dsk_get(x[i_lane]) * 0.20412415f));
              result4_term[i_lane] = (own10 ? ((!((of_column0 <= dsk_get(of_row1[i_lane])) & (dsk_get(of_row2[i_lane]) == of_column3))) ? float(-DSK_INF) : dsk_get(x[i_lane])) : float(-DSK_INF));
            }
            result4.max(result4_term);
          }
          for (int64_t i_lane = 0; i_lane < DSK_STRIP; i_lane++) {
            peak[i_lane] = result4[i_lane];
          }
        }
        {
          const int32_t* const from_of17 = block.from_of + strip * DSK_STRIP;
          const int32_t* const to_of18 = block.to_of + strip * DSK_STRIP;
          int32_t of_row12[DSK_STRIP];
          int32_t of_row13[DSK_STRIP];
          float of_row15[DSK_STRIP];
          for (int64_t i_lane = 0; i_lane < DSK_STRIP; i_lane++) {
            const int64_t index = block.index(strip * DSK_STRIP + i_lane);
            const int64_t i_H = index % 4;
            const int64_t i_T = index / 4;
            of_row12[i_lane] = dsk_get(pos_2[i_T]);
            of_row13[i_lane] = dsk_get(seq[i_T]);
            const float v19 = dsk_get(peak[i_lane]);
            of_row15[i_lane] = ((v19 == float(-DSK_INF)) ? 0.0f : v19);
          }
          dsk_strip<float> result16;
          result16.start(0.0f);
          float result16_so_far[DSK_STRIP] = {};
          const int64_t first20 = block.strip_from[strip], end21 = block.strip_to[strip];
          for (int64_t piece = first20; piece < end21;) {
            const int64_t next_end = dsk_piece_end(block, piece);
            const int64_t piece_end = next_end < end21 ? next_end : end21;
            for (int64_t i_S = piece; i_S < piece_end; i_S++) {
              float* __restrict x = x_plane + (strip * S + i_S - block.from) * DSK_STRIP;
              const int32_t column22 = int32_t(i_S);
              const int32_t of_column11 = dsk_get(pos[i_S]);
              const int32_t of_column14 = dsk_get(seq_2[i_S]);
              float result16_term[DSK_STRIP];
              #pragma omp simd
              for (int64_t i_lane = 0; i_lane < DSK_STRIP; i_lane++) {
                const bool own23 = (from_of17[i_lane] <= column22) & (column22 < to_of18[i_lane]);
                dsk_put(x[i_lane], ((!((of_column11 <= dsk_get(of_row12[i_lane])) & (dsk_get(of_row13[i_lane]) == of_column14))) ? 0.0f : dsk_exp((dsk_get(x[i_lane]) - dsk_get(of_row15[i_lane])))));
                result16_term[i_lane] = (own23 ? dsk_get(x[i_lane]) : 0.0f);
              }
              result16.add(result16_term);
            }
            dsk_end_piece(block, strip, piece_end, result16_so_far, result16);
            piece = piece_end;
          }
          for (int64_t i_lane = 0; i_lane < DSK_STRIP; i_lane++) {
            sum[i_lane] = result16_so_far[i_lane] + result16[i_lane];
          }
        }
        for (int64_t i_lane = 0; i_lane < DSK_STRIP; i_lane++) {
          const int64_t index = block.index(strip * DSK_STRIP + i_lane);
          const int64_t i_H = index % 4;
          const int64_t i_T = index / 4;
          const float v24 = dsk_get(sum[i_lane]);
          inverse[i_lane] = ((v24 == 0.0f) ? 0.0f : (float(1) / v24));
        }
        {
          const int64_t first25 = block.strip_from[strip], end26 = block.strip_to[strip];
          for (int64_t i_S = first25; i_S < end26; i_S++) {
            float* __restrict x = x_plane + (strip * S + i_S - block.from) * DSK_STRIP;
            #pragma omp simd
            for (int64_t i_lane = 0; i_lane < DSK_STRIP; i_lane++) {
              dsk_put(x[i_lane], (dsk_get(x[i_lane]) * dsk_get(inverse[i_lane])));
            }
          }
        }
      }
      dsk_clear(block, x_plane, S * DSK_STRIP);
      dsk_leave_rows_begin(block, out_8, 16);
      for (int64_t first = block.from; first < block.to; first += DSK_COLUMNS) {
        const int64_t columns = block.to - first < DSK_COLUMNS ? block.to - first : DSK_COLUMNS;
        for (int64_t c = 0; c < columns; c++) {
          const int64_t i_S = first + c;
          columns_at_6[c] = (int64_t(dsk_get(slot[i_S]))) * 16;
        }
        dsk_leave_rows(block, out_8, 16, x_plane + (first - block.from) * DSK_STRIP, S * DSK_STRIP, first, columns, latent, columns_at_6);
      }
      dsk_leave_rows_end(block, out_8, 16);
      for (int64_t r = 0; r < block.rows; r++) {
        const int64_t index = block.index(r);
        const int64_t i_H = index % 4;
        const int64_t i_T = index / 4;
        #pragma omp simd
        for (int64_t i_C = 0; i_C < 16; i_C++) {
          dsk_put(x_4[i_T * 64 + i_H * 16 + i_C], out_8[r * 16 + i_C]);
        }
      }
      row += block.rows;
    }
  }
}

}

extern const dsk_kernel dsk_plane_mla_output;
const dsk_kernel dsk_plane_mla_output = { "plane_mla_output", 12, 2, plane_mla_output::items, plane_mla_output::scratch, plane_mla_output::run, nullptr };
