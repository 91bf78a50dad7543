// plane_absorbed: attention for the tensor cores of sm_90a
//   read x_2: bf16[T, 128, 512], read latent: bf16[cache, 512], read slot: i32[S], read x_3: bf16[T, 128, 64]
//   read key_pe: bf16[cache, 64], read pos: i32[S], read pos_2: i32[T], read seq: i32[T], read seq_2: i32[S]
//   write x_4: bf16[T, 128, 512], read span_from: i32[T], read span_to: i32[T]
// Scores of 576 terms, values of 512: 2176 FLOP for each row and column that it sees.
// Tiles of 64 rows, blocks of 64 columns, 5 halves of them in shared memory.
#include "dsk_mma.cuh"
#include "dsk_sm90.cuh"

constexpr int ROWS = 64, COLUMNS = 64, WIDTH = 256, STAGES = 5, HELD = 320;
// Of a score, for powers of 2.
constexpr float SCALE = 0.195101102f;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char q[32768];  // terms of queries that no registers have
  unsigned char k0[STAGES][32768];  // keys: a half of those that are values
  unsigned char k1[2][8192];  // keys
  unsigned char p[2][8192];  // weights
  float factors[2][64];  // what a row's sums are multiplied by
  int ranges[2][4];  // the smallest and largest of what columns are compared by
  Barrier k_full[STAGES];  // a half of the block's keys is there
  Barrier k_empty[STAGES];  // all warps of the half's consumer have summed it
  Barrier r_full[2];  // all else of the block is there
  Barrier p_full[2];  // the block's weights and factors are there
  Barrier p_turn[2];  // the scores behind them are multiplied
  Barrier p_empty[2];  // all warps of the consumers are done with them
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

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 64 columns, 16 terms.
// A is in registers, of B terms are neighbors.
DSK_INLINE void wgmma_n64_rk(float (&d)[32], const unsigned (&a)[4], Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<64, 0>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
               "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds));
#endif
}

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 128 columns, 16 terms.
// Of A terms are neighbors, of B columns are neighbors.
DSK_INLINE void wgmma_n128_kn(float (&d)[64], Descriptor a, Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<128, 0, 1>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
               "%64, %65, p, 1, 1, 0, 1;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24), DSK_SUMS_8(d, 32), DSK_SUMS_8(d, 40),
                 DSK_SUMS_8(d, 48), DSK_SUMS_8(d, 56)
               : "l"(a), "l"(b), "r"(adds));
#endif
}

// The last rows come first, since they mostly see the most columns.
struct Place { int m, head; };
struct Span { int first, end; };
DSK_INLINE Place place_of(int tile, int row_tiles) { return {(row_tiles - 1 - tile) * ROWS, 0}; }

// Queries times keys: terms of queries in registers, then `depth` terms in lines of 64.
DSK_INLINE void add_held(float (&scores)[COLUMNS / 2], const unsigned (&queries)[HELD / 16][4], const unsigned char* keys,
    int from, int to) {
  const Descriptor b = wgmma_descriptor(keys, 0, 1024);
#pragma unroll
  for (int k = from / 16; k < to / 16; k++)
    wgmma_n64_rk(scores, queries[k], wgmma_behind(b, (k - from / 16) / 4 * 8192 + k % 4 * 32), k > 0);
}
DSK_INLINE void add_scores(float (&scores)[COLUMNS / 2], const unsigned char* queries, const unsigned char* keys, int depth) {
  const Descriptor a = wgmma_descriptor(queries, 0, 1024), b = wgmma_descriptor(keys, 0, 1024);
#pragma unroll
  for (int k = 0; k < depth / 16; k++)
    wgmma_n64_kk(scores, wgmma_behind(a, k / 4 * 8192 + k % 4 * 32), wgmma_behind(b, k / 4 * 8192 + k % 4 * 32), 1);
}

// Weights times values.
DSK_INLINE void add_values(float (&sums)[WIDTH / 128][64], const unsigned char* weights, const unsigned char* values) {
  const Descriptor a = wgmma_descriptor(weights, 0, 1024), b = wgmma_descriptor(values, 8192, 1024);
#pragma unroll
  for (int k = 0; k < COLUMNS / 16; k++)
#pragma unroll
    for (int i = 0; i < WIDTH / 128; i++)
      wgmma_n128_kn(sums[i], wgmma_behind(a, k * 32), wgmma_behind(b, k * 2048 + i * 16384), 1);
}

extern "C" __global__ void __launch_bounds__(512, 1) plane_absorbed_tensor(
    int items, int items_before, int S, int T, const bf16* __restrict__ x_2, const bf16* __restrict__ latent,
    const int* __restrict__ slot, const bf16* __restrict__ x_3, const bf16* __restrict__ key_pe, const int* __restrict__ pos,
    const int* __restrict__ pos_2, const int* __restrict__ seq, const int* __restrict__ seq_2, bf16* __restrict__ x_4,
    const int* __restrict__ span_from, const int* __restrict__ span_to, float* partials, float* marks) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = T * 128, row_tiles = (m_end + ROWS - 1) / ROWS;
  const int shares = shares_of(row_tiles, (int)((long long)S * min(T, 1) / max(1, T) / 64), 132, 264, 4, 85);
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.k_full[i], 4);
      mbarrier_init(&shared.k_empty[i], 4);
    }
    for (int i = 0; i < 2; i++) {
      mbarrier_init(&shared.r_full[i], 4);
      mbarrier_init(&shared.p_full[i], 4);
      mbarrier_init(&shared.p_turn[i], 4);
      mbarrier_init(&shared.p_empty[i], 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  // Columns that rows from m on see; of empty spans none.
  const auto span_of = [&](int m) {
    int low = 0x7fffffff, high = 0;
    for (int i_T = m / 128 + lane; i_T <= (min(m + ROWS, m_end) - 1) / 128; i_T += 32) {
      const int from = span_from[i_T], to = span_to[i_T];
      if (from < to) low = min(low, from), high = max(high, to);
    }
    low = __reduce_min_sync(0xffffffffu, low), high = __reduce_max_sync(0xffffffffu, high);
    return low < high ? Span{low, high} : Span{0, 0};
  };
  if (warpgroup == 0) {
    // The producer fills the rings.
    registers_decrease<40>();
    // Where rows of a block lie.
    int found_0[COLUMNS / 16];
    const auto look_up = [&](int first) {
      #pragma unroll
      for (int i = 0; i < COLUMNS / 16; i++) {
        const int i_S = min(first + i * 16 + thread / 8, S - 1);
        found_0[i] = slot[i_S];
      }
    };
    int half = 0, half_phase = 0;
    int rest = 0;
    for (int tile = blockIdx.x; tile < row_tiles * shares; tile += gridDim.x) {
      const int share = tile % shares;
      const Place at = place_of(tile / shares, row_tiles);
      const Span span = share_of(span_of(at.m), share, shares, COLUMNS);
      const int blocks = max(1, (span.end - span.first + COLUMNS - 1) / COLUMNS);  // one where rows see nothing
      // look up
      look_up(span.first);
      for (int block = 0; block < blocks; block++) {
        const int first = span.first + block * COLUMNS;
        mbarrier_wait(&shared.k_empty[half], half_phase ^ 1);  // passes at once on the first way round
        gather_rows<COLUMNS, 4>(shared.k0[half], thread, S - first,
            [&](int, int i) { const int i_row0 = found_0[i]; return latent + (long long)i_row0 * 512; });
        cp_async_commit();
        if (block >= 1) cp_async_wait<1>();
        if (block >= 1) fence_async();
        if (block >= 1) __syncwarp();
        if (block >= 1 && lane == 0) mbarrier_arrive(&shared.k_full[half == 0 ? 4 : half - 1]);
        if (block >= 1 && lane == 0) mbarrier_arrive(&shared.r_full[rest == 0 ? 1 : rest - 1]);
        if (++half == 5) half = 0, half_phase ^= 1;
        mbarrier_wait(&shared.k_empty[half], half_phase ^ 1);  // passes at once on the first way round
        gather_rows<COLUMNS, 4>(shared.k0[half], thread, S - first,
            [&](int, int i) { const int i_row0 = found_0[i]; return latent + (long long)i_row0 * 512 + 256; });
        gather_rows<COLUMNS, 1>(shared.k1[rest], thread, S - first,
            [&](int, int i) { const int i_row0 = found_0[i]; return key_pe + (long long)i_row0 * 64; });
        cp_async_commit();
        // ranges of columns
        if (warp == 0) {
          find_range<COLUMNS>(shared.ranges[rest], lane,
              [&](int i) { const int i_S = min(first + i, S - 1); return pos[i_S]; });
          find_range<COLUMNS>(shared.ranges[rest] + 2, lane,
              [&](int i) { const int i_S = min(first + i, S - 1); return seq_2[i_S]; });
        }
        // look up
        look_up(first + COLUMNS);
        cp_async_wait<1>();
        fence_async();
        __syncwarp();
        if (lane == 0) mbarrier_arrive(&shared.k_full[half == 0 ? 4 : half - 1]);
        if (++half == 5) half = 0, half_phase ^= 1;
        rest = rest + 1 == 2 ? 0 : rest + 1;
      }
      cp_async_wait<0>();
      fence_async();
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.k_full[half == 0 ? 4 : half - 1]);
      if (lane == 0) mbarrier_arrive(&shared.r_full[rest == 0 ? 1 : rest - 1]);
    }
  } else if (warpgroup == 1) {
    // The scorer has the scores of 64 rows, and makes weights of them.
    registers_increase<152>();
    // Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.
    const int row = warp * 16 + lane / 4, column = lane % 4 * 2;
    float scores[COLUMNS / 2];
    unsigned queries[HELD / 16][4];
    int half = 0, half_phase = 0;
    int rest = 0, rest_phase = 0;
    int weight = 0, weight_phase = 0;
    for (int tile = blockIdx.x; tile < row_tiles * shares; tile += gridDim.x) {
      const int share = tile % shares;
      const Place at = place_of(tile / shares, row_tiles);
      const Span span = share_of(span_of(at.m), share, shares, COLUMNS);
      const int blocks = max(1, (span.end - span.first + COLUMNS - 1) / COLUMNS);  // one where rows see nothing
      // Of the thread's two rows, 8 apart; those beyond the end are the last one.
      int from[2], to[2], row_0[2], row_1[2];
      #pragma unroll
      for (int r = 0; r < 2; r++) {
        const int flat = min(at.m + row + r * 8, m_end - 1);
        const int i_T = flat / 128;
        from[r] = max(span_from[i_T], span.first);
        to[r] = min(span_to[i_T], span.end);
        row_0[r] = pos_2[i_T];
        row_1[r] = seq[i_T];
      }
      float peaks[2] = {-infinity(), -infinity()}, total[2] = {}, rescale[2];
      // Columns that a row does not see have the score of minus infinity. Of most blocks rows see all.
      const auto hide = [&](int first) {
        bool all = true;
        #pragma unroll
        for (int r = 0; r < 2; r++)
          all = all && first >= from[r] && first + COLUMNS <= to[r] &&
                shared.ranges[rest][1] <= row_0[r] && shared.ranges[rest][2] == row_1[r] && shared.ranges[rest][3] == row_1[r];
        if (__all_sync(0xffffffffu, all)) return;
        int columns_0[COLUMNS / 32], columns_1[COLUMNS / 32];
        #pragma unroll
        for (int j = 0; j < COLUMNS / 32; j++) {
          const int i_S = min(first + j * 32 + lane, S - 1);
          columns_0[j] = pos[i_S];
          columns_1[j] = seq_2[i_S];
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
      named_barrier_sync(1, 128);  // no warp needs the queries before
      #pragma unroll
      for (int i = 0; i < 4; i++) {
        const int own = i * 16 + thread / 8, chunk = thread % 8;
        const int place = own * 128 + (chunk ^ own % 8) * 16;
        const int flat = min(at.m + own, m_end - 1);
        const int i_H = flat % 128;
        const int i_T = flat / 128;
        const int bytes = at.m + own < m_end ? 16 : 0;
        const bf16* p0 = x_2 + (long long)i_T * 65536 + i_H * 512 + chunk * 8;
        cp_async_16(shared.q + place, p0 + 320, bytes);
        cp_async_16(shared.q + 8192 + place, p0 + 384, bytes);
        cp_async_16(shared.q + 16384 + place, p0 + 448, bytes);
        const bf16* p1 = x_3 + (long long)i_T * 8192 + i_H * 64 + chunk * 8;
        cp_async_16(shared.q + 24576 + place, p1, bytes);
      }
      cp_async_commit();
      // queries
      #pragma unroll
      for (int r = 0; r < 2; r++) {
        const int flat = min(at.m + row + r * 8, m_end - 1);
        const int i_H = flat % 128;
        const int i_T = flat / 128;
        load_row(queries, r, x_2 + (long long)i_T * 65536 + i_H * 512 + column);
      }
      cp_async_wait<0>();
      fence_async();
      named_barrier_sync(1, 128);  // all queries are there
      for (int block = 0; block < blocks; block++) {
        mbarrier_wait(&shared.k_full[half], half_phase);
        wgmma_fence();
        add_held(scores, queries, shared.k0[half], 0, 256);
        if (++half == 5) half = 0, half_phase ^= 1;
        mbarrier_wait(&shared.k_full[half], half_phase);
        mbarrier_wait(&shared.r_full[rest], rest_phase);
        wgmma_fence();  // ptxas wants one of its own behind each wait
        add_held(scores, queries, shared.k0[half], 256, 320);
        add_scores(scores, shared.q, shared.k0[half] + 8192, 192);
        add_scores(scores, shared.q + 24576, shared.k1[rest], 64);
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_settled(scores);
        if (block >= 1) __syncwarp();
        if (block >= 1 && lane == 0) mbarrier_arrive(&shared.p_turn[weight == 0 ? 1 : weight - 1]);  // consumers have the tensor cores now
        // exponentials
        hide(span.first + block * COLUMNS);
        exponentiate(scores, peaks, total, rescale, SCALE);
        mbarrier_wait(&shared.p_empty[weight], weight_phase ^ 1);
        // weights
        stage_rows(shared.p[weight], scores, warp, lane);
        if (lane % 4 == 0) shared.factors[weight][row] = rescale[0], shared.factors[weight][row + 8] = rescale[1];
        fence_async();
        __syncwarp();
        if (lane == 0) mbarrier_arrive(&shared.p_full[weight]);
        if (++half == 5) half = 0, half_phase ^= 1;
        if (++rest == 2) rest = 0, rest_phase ^= 1;
        if (++weight == 2) weight = 0, weight_phase ^= 1;
      }
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.p_turn[weight == 0 ? 1 : weight - 1]);
      mbarrier_wait(&shared.p_empty[weight], weight_phase ^ 1);
      // last factors
      if (shares > 1) keep_marks(marks + (((at.head * row_tiles + at.m / ROWS) * shares + share) * ROWS + row) * 2, peaks,
          total);
      float factor[2];
      #pragma unroll
      for (int r = 0; r < 2; r++) {
        float sum_ = total[r] + __shfl_xor_sync(0xffffffffu, total[r], 1);
        sum_ += __shfl_xor_sync(0xffffffffu, sum_, 2);
        const float v2 = sum_;
        const float inverse = (v2 == 0.0f) ? 0.0f : 1.0f / v2;
        factor[r] = inverse;
      }
      if (lane % 4 == 0) shared.factors[weight][row] = factor[0], shared.factors[weight][row + 8] = factor[1];
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.p_full[weight]);
      if (lane == 0) mbarrier_arrive(&shared.p_turn[weight]);  // no scores are behind these
      if (++weight == 2) weight = 0, weight_phase ^= 1;
    }
  } else {
    // Consumers sum a half of the values each.
    registers_increase<160>();
    const int part = warpgroup - 2;
    const int row = warp * 16 + lane / 4, column = lane % 4 * 2;
    float sums[WIDTH / 128][64];
    int half = 0;
    int weight = 0, weight_phase = 0;
    if (part == 1) {
      half = half + 1 == 5 ? 0 : half + 1;
    }
    for (int tile = blockIdx.x; tile < row_tiles * shares; tile += gridDim.x) {
      const int share = tile % shares;
      const Place at = place_of(tile / shares, row_tiles);
      const Span span = share_of(span_of(at.m), share, shares, COLUMNS);
      const int blocks = max(1, (span.end - span.first + COLUMNS - 1) / COLUMNS);  // one where rows see nothing
      // no sums
      clear(sums);
      for (int block = 0; block < blocks; block++) {
        mbarrier_wait(&shared.p_full[weight], weight_phase);
        // rescale
        scale_rows(sums, shared.factors[weight][row], shared.factors[weight][row + 8]);
        mbarrier_wait(&shared.p_turn[weight], weight_phase);  // the scorer takes exponentials now
        wgmma_fence();
        add_values(sums, shared.p[weight], shared.k0[half]);
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_settled(sums);
        if (lane == 0) mbarrier_arrive(&shared.k_empty[half]);
        half = half + 1 == 5 ? 0 : half + 1;
        half = half + 1 == 5 ? 0 : half + 1;
        if (lane == 0) mbarrier_arrive(&shared.p_empty[weight]);
        if (++weight == 2) weight = 0, weight_phase ^= 1;
      }
      mbarrier_wait(&shared.p_full[weight], weight_phase);
      // results
      if (shares > 1) {
        keep_share(partials + (((at.head * row_tiles + at.m / ROWS) * shares + share) * ROWS + row) * 512 + part * WIDTH
            + column, 512, sums);
      } else {
        const float factor[2] = {shared.factors[weight][row], shared.factors[weight][row + 8]};
        #pragma unroll
        for (int r = 0; r < 2; r++) {
          const int flat = min(at.m + row + r * 8, m_end - 1);
          const int i_H = flat % 128;
          const int i_T = flat / 128;
          if (at.m + row + r * 8 < m_end) store_row(x_4 + (long long)i_T * 65536 + i_H * 512 + part * WIDTH + column, sums, r,
              factor[r]);
        }
      }
      __syncwarp();  // all lanes have their factors
      if (lane == 0) mbarrier_arrive(&shared.p_empty[weight]);
      if (++weight == 2) weight = 0, weight_phase ^= 1;
    }
  }
}
