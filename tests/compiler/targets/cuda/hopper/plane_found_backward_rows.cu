// plane_found_backward, rows: attention's backward pass for the tensor cores of sm_90a: statistics, and gradients of queries
//   read x_2: bf16[T, 128, 128]
//   read x_3: bf16[S, 128, 128]
//   read x_5: bf16[T, 128, 192]
//   read x_6: bf16[S, 128, 128]
//   read x_7: bf16[T, 128, 64]
//   read x_8: bf16[T, 64]
//   read pos: i32[T]
//   read seq: i32[T]
//   write x_9: bf16[S, 128, 128]
//   write x_11: bf16[T, 128, 64]
//   write x_12: bf16[S, 128, 64]
//   write x_13: bf16[T, 128, 128]
//   write x_14: bf16[S, 128, 128]
//   read span_from: i32[T]
//   read span_to: i32[T]
// Scores of 192 terms, values of 128: 1664 FLOP for each row and column that it sees.
// Tiles of 128 rows, blocks of 64 columns, 3 of them in shared memory.
#include "dsk_mma.cuh"
#include "dsk_sm90.cuh"

constexpr int ROWS = 128, COLUMNS = 64, DEPTH = 192, WIDTH = 128, STAGES = 3;
// Of a score, for powers of 2; and of its slope.
constexpr float SCALE = 0.195101102f, FACTOR = 0.135233779f;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char q[2][24576];  // queries, then their gradients on the way out
  unsigned char up[2][16384];  // gradients of the rows' results
  unsigned char k[STAGES][24576];  // keys
  unsigned char v[STAGES][16384];  // values
  int ranges[STAGES][4];  // the smallest and largest of what columns are compared by
  Barrier full[STAGES];  // the block is there
  Barrier empty[STAGES];  // all warps of the consumers have used the block
};
static_assert(sizeof(Shared) <= 232448, "a block has 232448 bytes of shared memory");

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 64 columns, 16 terms.
// Of A terms are neighbors, of B terms are neighbors.
DSK_INLINE void wgmma_n64_kk(float (&d)[32], Descriptor a, Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<64, 0, 0>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
               "%32, %33, p, 1, 1, 0, 0;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24)
               : "l"(a), "l"(b), "r"(adds));
#endif
}

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 192 columns, 16 terms.
// A is in registers, of B columns are neighbors.
DSK_INLINE void wgmma_n192_rn(float (&d)[96], const unsigned (&a)[4], Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<192, 1>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %101, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
               "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
               "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, "
               "{%96, %97, %98, %99}, %100, p, 1, 1, 1;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24), DSK_SUMS_8(d, 32), DSK_SUMS_8(d, 40),
                 DSK_SUMS_8(d, 48), DSK_SUMS_8(d, 56), DSK_SUMS_8(d, 64), DSK_SUMS_8(d, 72), DSK_SUMS_8(d, 80),
                     DSK_SUMS_8(d, 88)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds));
#endif
}

// Heads that run at once share the second-level cache: as many as have what blocks load in 32 MiB. Of these the
// last rows come first, since they mostly see the most columns.
struct Place { int m, head; };
struct Span { int first, end; };
DSK_INLINE Place place_of(int tile, int row_tiles, int heads, int columns) {
  const int together = max(1, min(heads, (int)(33554432ll / (640ll * max(1, columns)))));
  const int group = tile / (together * row_tiles), i = tile % (together * row_tiles);
  const int count = min(together, heads - group * together);
  return {(row_tiles - 1 - i / count) * ROWS, group * together + i % count};
}

// A consumer's own 64 rows times those of a block: `depth` terms in lines of 64.
DSK_INLINE void multiply(float (&scores)[32], const unsigned char* own, const unsigned char* block, int depth) {
  const Descriptor a = wgmma_descriptor(own, 0, 1024), b = wgmma_descriptor(block, 0, 1024);
#pragma unroll
  for (int k = 0; k < depth / 16; k++) {
    const int own_behind = k / 4 * 8192 + k % 4 * 32, behind = k / 4 * 8192 + k % 4 * 32;
    wgmma_n64_kk(scores, wgmma_behind(a, own_behind), wgmma_behind(b, behind), k > 0);
  }
}

// Weights, or slopes of scores, times the rows of a block.
DSK_INLINE void add_to(float (&sums)[96], const unsigned (&weights)[4][4], const unsigned char* block, int adds) {
  const Descriptor b = wgmma_descriptor(block, 8192, 1024);
#pragma unroll
  for (int k = 0; k < 4; k++) wgmma_n192_rn(sums, weights[k], wgmma_behind(b, k * 2048), adds || k > 0);
}

extern "C" __global__ void __launch_bounds__(384, 1) plane_found_backward_tensor_rows(
    int items, int items_before, int S, int T, const bf16* __restrict__ x_2, const bf16* __restrict__ x_3,
    const bf16* __restrict__ x_5, const bf16* __restrict__ x_6, const bf16* __restrict__ x_7, const bf16* __restrict__ x_8,
    const int* __restrict__ pos, const int* __restrict__ seq, bf16* __restrict__ x_9, bf16* __restrict__ x_11,
    bf16* __restrict__ x_12, bf16* __restrict__ x_13, bf16* __restrict__ x_14, const int* __restrict__ span_from,
    const int* __restrict__ span_to, int* __restrict__ spans, float* __restrict__ statistics,
    const __grid_constant__ CUtensorMap x_6_map, const __grid_constant__ CUtensorMap x_8_map,
    const __grid_constant__ CUtensorMap x_3_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = T, heads = 128, row_tiles = (m_end + 127) / 128;
  if (threadIdx.x == 0) {
    tma_prefetch(&x_6_map), tma_prefetch(&x_8_map), tma_prefetch(&x_3_map);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.full[i], 1);
      mbarrier_init(&shared.empty[i], 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  // Columns that rows from m on see; of empty spans none.
  const auto span_of = [&](int m) {
    int low = 0x7fffffff, high = 0;
    for (int i_T = m + lane; i_T <= min(m + ROWS, m_end) - 1; i_T += 32) {
      const int from = span_from[i_T], to = span_to[i_T];
      if (from < to) low = min(low, from), high = max(high, to);
    }
    low = __reduce_min_sync(0xffffffffu, low), high = __reduce_max_sync(0xffffffffu, high);
    return low < high ? Span{low, high} : Span{0, 0};
  };
  if (warpgroup == 0) {
    registers_decrease<40>();  // the producer fills the ring
    // The smallest and largest of what columns from `first` on are compared by.
    const auto find_ranges = [&](int first, int* ranges) {
      find_range<COLUMNS>(ranges, lane, [&](int i) { const int i_S = min(first + i, S - 1); return pos[i_S]; });
      find_range<COLUMNS>(ranges + 2, lane, [&](int i) { const int i_S = min(first + i, S - 1); return seq[i_S]; });
    };
    if (warp == 0) {
      int stage = 0, phase = 0;
      for (int tile = blockIdx.x; tile < items_before; tile += gridDim.x) {
        const Place at = place_of(tile, row_tiles, heads, S);
        const Span span = span_of(at.m);
        const int blocks = max(1, (span.end - span.first + COLUMNS - 1) / COLUMNS);  // one where rows see nothing
        if (at.head == 0 && lane == 0) spans[at.m / ROWS * 2] = span.first, spans[at.m / ROWS * 2 + 1] = span.end;
        // once for the statistics
        for (int block = 0; block < blocks; block++) {
          mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
          // ranges of columns
          find_ranges(span.first + block * COLUMNS, shared.ranges[stage]);
          if (lane == 0) mbarrier_expect(&shared.full[stage], 40960);
          if (lane == 0) {
            tma_load_3d(shared.k[stage], &x_6_map, &shared.full[stage], 0, span.first + block * COLUMNS, at.head);
            tma_load_3d(shared.k[stage] + 8192, &x_6_map, &shared.full[stage], 64, span.first + block * COLUMNS, at.head);
          }
          if (lane == 0) {
            tma_load_2d(shared.k[stage] + 16384, &x_8_map, &shared.full[stage], 0, span.first + block * COLUMNS);
          }
          if (lane == 0) {
            tma_load_3d(shared.v[stage], &x_3_map, &shared.full[stage], 0, span.first + block * COLUMNS, at.head);
            tma_load_3d(shared.v[stage] + 8192, &x_3_map, &shared.full[stage], 64, span.first + block * COLUMNS, at.head);
          }
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
        for (int again = 0; again < blocks; again++) {
          mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
          // ranges of columns
          find_ranges(span.first + again * COLUMNS, shared.ranges[stage]);
          if (lane == 0) mbarrier_expect(&shared.full[stage], 40960);
          if (lane == 0) {
            tma_load_3d(shared.k[stage], &x_6_map, &shared.full[stage], 0, span.first + again * COLUMNS, at.head);
            tma_load_3d(shared.k[stage] + 8192, &x_6_map, &shared.full[stage], 64, span.first + again * COLUMNS, at.head);
          }
          if (lane == 0) {
            tma_load_2d(shared.k[stage] + 16384, &x_8_map, &shared.full[stage], 0, span.first + again * COLUMNS);
          }
          if (lane == 0) {
            tma_load_3d(shared.v[stage], &x_3_map, &shared.full[stage], 0, span.first + again * COLUMNS, at.head);
            tma_load_3d(shared.v[stage] + 8192, &x_3_map, &shared.full[stage], 64, span.first + again * COLUMNS, at.head);
          }
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
      }
    }
  } else {
    // Consumers have 64 rows each.
    registers_increase<232>();
    const int part = warpgroup - 1;
    // Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.
    const int row = warp * 16 + lane / 4, column = lane % 4 * 2;
    float scores[32], slopes[32], sums[96], delta[2], base[2];
    unsigned weights[4][4];
    int stage = 0, phase = 0;
    for (int tile = blockIdx.x; tile < items_before; tile += gridDim.x) {
      const Place at = place_of(tile, row_tiles, heads, S);
      const Span span = span_of(at.m);
      const int blocks = max(1, (span.end - span.first + COLUMNS - 1) / COLUMNS);  // one where rows see nothing
      const int i_H = at.head;
      // Of the thread's two rows, 8 apart; those beyond the end are the last one.
      int from[2], to[2], row_0[2], row_1[2];
      #pragma unroll
      for (int r = 0; r < 2; r++) {
        const int i_T = min(at.m + part * 64 + row + r * 8, m_end - 1);
        from[r] = span_from[i_T];
        to[r] = span_to[i_T];
        row_0[r] = pos[i_T];
        row_1[r] = seq[i_T];
      }
      float peaks[2] = {-infinity(), -infinity()}, total[2] = {}, rescale[2];
      // Columns that a row does not see have the score of minus infinity. Of most blocks rows see all.
      const auto hide = [&](int first) {
        bool all = true;
        #pragma unroll
        for (int r = 0; r < 2; r++)
          all = all && first >= from[r] && first + COLUMNS <= to[r] &&
                shared.ranges[stage][1] <= row_0[r] && shared.ranges[stage][2] == row_1[r] && shared.ranges[stage][3]
                    == row_1[r];
        if (__all_sync(0xffffffffu, all)) return;
        int columns_0[COLUMNS / 32], columns_1[COLUMNS / 32];
        #pragma unroll
        for (int j = 0; j < COLUMNS / 32; j++) {
          const int i_S = min(first + j * 32 + lane, S - 1);
          columns_0[j] = pos[i_S];
          columns_1[j] = seq[i_S];
        }
        #pragma unroll
        for (int j = 0; j < COLUMNS / 4; j++) {
          const int behind = j / 2 * 8 + anew(column) + j % 2;
          const int s = first + behind;
          const int column_0 = __shfl_sync(0xffffffffu, columns_0[j / 8], behind % 32);
          const int column_1 = __shfl_sync(0xffffffffu, columns_1[j / 8], behind % 32);
          #pragma unroll
          for (int r = 0; r < 2; r++)
            if (s < from[r] || s >= to[r] || !(column_0 <= row_0[r]) || !(column_1 == row_1[r]))
              scores[j / 2 * 4 + r * 2 + j % 2] = -infinity();
        }
      };
      // nothing is summed
      delta[0] = delta[1] = 0.0f;
      named_barrier_sync(1 + part, 128);  // all warps have stored their results
      #pragma unroll 1
      for (int i = 0; i < 4; i++) {
        const int mine = anew(thread);
        const int own = i * 16 + mine / 8, chunk = mine % 8, place = own * 128 + (chunk ^ own % 8) * 16;
        const int i_T = min(at.m + part * 64 + own, m_end - 1);
        const int bytes = at.m + part * 64 + own < m_end ? 16 : 0;
        const bf16* p0 = x_5 + (long long)i_T * 24576 + i_H * 192 + chunk * 8;
        cp_async_16(shared.q[part] + place, p0, bytes);
        cp_async_16(shared.q[part] + 8192 + place, p0 + 64, bytes);
        const bf16* p1 = x_7 + (long long)i_T * 8192 + i_H * 64 + chunk * 8;
        cp_async_16(shared.q[part] + 16384 + place, p1, bytes);
        const bf16* p2 = x_2 + (long long)i_T * 16384 + i_H * 128 + chunk * 8;
        cp_async_16(shared.up[part] + place, p2, bytes);
        cp_async_16(shared.up[part] + 8192 + place, p2 + 64, bytes);
      }
      cp_async_commit();
      cp_async_wait<0>();
      fence_async();
      named_barrier_sync(1 + part, 128);  // all of them are there
      // what each row has one of
      for (int block = 0; block < blocks; block++) {
        mbarrier_wait(&shared.full[stage], phase);
        wgmma_fence();
        multiply(scores, shared.q[part], shared.k[stage], DEPTH);
        wgmma_commit();
        multiply(slopes, shared.up[part], shared.v[stage], WIDTH);
        wgmma_commit();
        wgmma_wait<1>();
        wgmma_settled(scores);
        // exponentials
        hide(span.first + block * COLUMNS);
        exponentiate(scores, peaks, total, rescale, SCALE);
        wgmma_wait<0>();
        wgmma_settled(slopes);
        __syncwarp();
        if (lane == 0) mbarrier_arrive(&shared.empty[stage]);
        // sums of weights times slopes
        #pragma unroll
        for (int r = 0; r < 2; r++) delta[r] *= rescale[r];
        #pragma unroll
        for (int i = 0; i < COLUMNS / 2; i++) delta[i / 2 % 2] += scores[i] * slopes[i];
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      // statistics
      #pragma unroll
      for (int r = 0; r < 2; r++) {
        float sum_ = total[r] + __shfl_xor_sync(0xffffffffu, total[r], 1);
        sum_ += __shfl_xor_sync(0xffffffffu, sum_, 2);
        delta[r] += __shfl_xor_sync(0xffffffffu, delta[r], 1);
        delta[r] += __shfl_xor_sync(0xffffffffu, delta[r], 2);
        const float w3 = sum_;
        const float inverse = (w3 == 0.0f) ? 0.0f : 1.0f / w3;
        const float factor = inverse;
        // Of a row that sees nothing, the factor is 0 and the base infinite: its weights are 0.
        base[r] = (peaks[r] == -infinity() ? 0.0f : peaks[r] * SCALE) - logf(factor) * 1.44269504f;
        delta[r] *= factor * FACTOR;
        const int m = at.m + part * 64 + row + r * 8;
        if (lane % 4 == 0 && m < m_end) statistics[(at.head * (long long)m_end + m) * 2] = base[r],
          statistics[(at.head * (long long)m_end + m) * 2 + 1] = delta[r];
      }
      for (int again = 0; again < blocks; again++) {
        mbarrier_wait(&shared.full[stage], phase);
        wgmma_fence();
        multiply(scores, shared.q[part], shared.k[stage], DEPTH);
        wgmma_commit();
        multiply(slopes, shared.up[part], shared.v[stage], WIDTH);
        wgmma_commit();
        wgmma_wait<1>();
        wgmma_settled(scores);
        if (again >= 1) __syncwarp();
        if (again >= 1 && lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 2 : stage - 1]);  // its sums are done, too
        // weights
        hide(span.first + again * COLUMNS);
        #pragma unroll
        for (int i = 0; i < COLUMNS / 2; i++) scores[i] = power_of_2(scores[i] * SCALE - base[i / 2 % 2]);
        wgmma_wait<0>();
        wgmma_settled(slopes);
        // slopes of scores
        #pragma unroll
        for (int i = 0; i < COLUMNS / 2; i++) scores[i] *= slopes[i] * FACTOR - delta[i / 2 % 2];
        pack_rows(weights, scores);
        wgmma_fence();
        add_to(sums, weights, shared.k[stage], again > 0);
        wgmma_commit();
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      wgmma_wait<0>();
      wgmma_settled(sums);
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 2 : stage - 1]);
      named_barrier_sync(1 + part, 128);  // no warp needs the queries
      // results
      const int mine = anew(thread);
      const int place = (mine / 32 * 16 + mine % 16) * 128 + (mine % 32 / 16 ^ mine % 8) * 16;
      #pragma unroll
      for (int c = 0; c < 192 / 16; c++) {
        unsigned packed[4];  // 8 x 8 results each: rows 8 apart, then columns
        #pragma unroll
        for (int e = 0; e < 4; e++) packed[e] = pack_bf16(sums[c * 8 + e * 2], sums[c * 8 + e * 2 + 1]);
        stmatrix_x4(shared.q[part] + c / 4 * 8192 + (place ^ c % 4 * 32), packed[0], packed[1], packed[2], packed[3]);
      }
      named_barrier_sync(1 + part, 128);  // own_warps
      // results leave
      #pragma unroll 1
      for (int i = 0; i < 4; i++) {
        const int mine = anew(thread);
        const int own = i * 16 + mine / 8, chunk = mine % 8, place = own * 128 + (chunk ^ own % 8) * 16;
        const int i_T = min(at.m + part * 64 + own, m_end - 1);
        if (at.m + part * 64 + own < m_end) {
          bf16* p4 = x_13 + (long long)i_T * 16384 + i_H * 128 + chunk * 8;
          *reinterpret_cast<uint4*>(p4) = *reinterpret_cast<const uint4*>(shared.q[part] + place);
          *reinterpret_cast<uint4*>(p4 + 64) = *reinterpret_cast<const uint4*>(shared.q[part] + 8192 + place);
          bf16* p5 = x_11 + (long long)i_T * 8192 + i_H * 64 + chunk * 8;
          *reinterpret_cast<uint4*>(p5) = *reinterpret_cast<const uint4*>(shared.q[part] + 16384 + place);
        }
      }
    }
  }
}
