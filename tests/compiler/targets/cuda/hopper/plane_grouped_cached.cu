// plane_grouped_cached: attention for the tensor cores of sm_90a
//   read x_2: bf16[T, 4, 8, 128], read keys: bf16[cache, 4, 128], read slot: i32[S], read pos: i32[S], read pos_2: i32[T]
//   read seq: i32[T], read seq_2: i32[S], write out: bf16[T, 4, 8, 128], read values: bf16[cache, 4, 128]
//   read span_from: i32[T], read span_to: i32[T]
// Scores of 128 terms, values of 128: 512 FLOP for each row and column that it sees.
// Tiles of 128 rows, blocks of 128 columns, 2 of them in shared memory.
#include "dsk_mma.cuh"
#include "dsk_sm90.cuh"

constexpr int ROWS = 128, COLUMNS = 128, WIDTH = 128, STAGES = 2;
// Of a score, for powers of 2.
constexpr float SCALE = 0.127517431f;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char q[2][16384];  // queries, then results on their way out
  unsigned char k0[STAGES][32768];  // keys
  unsigned char v[STAGES][32768];  // values
  int ranges[STAGES][4];  // the smallest and largest of what columns are compared by
  Barrier k_full[STAGES];  // the block's keys are there
  Barrier k_empty[STAGES];  // all warps of the consumers have their scores
  Barrier v_full[STAGES];  // the block's values are there
  Barrier v_empty[STAGES];  // all warps of the consumers have summed them
};
static_assert(sizeof(Shared) <= 232448, "a block has 232448 bytes of shared memory");

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 128 columns, 16 terms.
// Of A terms are neighbors, of B terms are neighbors.
DSK_INLINE void wgmma_n128_kk(float (&d)[64], Descriptor a, Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<128, 0, 0>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
               "%64, %65, p, 1, 1, 0, 0;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24), DSK_SUMS_8(d, 32), DSK_SUMS_8(d, 40),
                 DSK_SUMS_8(d, 48), DSK_SUMS_8(d, 56)
               : "l"(a), "l"(b), "r"(adds));
#endif
}

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 128 columns, 16 terms.
// A is in registers, of B columns are neighbors.
DSK_INLINE void wgmma_n128_rn(float (&d)[64], const unsigned (&a)[4], Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<128, 1>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
               "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24), DSK_SUMS_8(d, 32), DSK_SUMS_8(d, 40),
                 DSK_SUMS_8(d, 48), DSK_SUMS_8(d, 56)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds));
#endif
}

// Heads that run at once share the second-level cache: as many as have their keys and values in 32 MiB. Of these the
// last rows come first, since they mostly see the most columns.
struct Place { int m, head; };
struct Span { int first, end; };
DSK_INLINE Place place_of(int tile, int row_tiles, int heads, int columns) {
  const int together = max(1, min(heads, (int)(33554432ll / (512ll * max(1, columns)))));
  const int group = tile / (together * row_tiles), i = tile % (together * row_tiles);
  const int count = min(together, heads - group * together);
  return {(row_tiles - 1 - i / count) * ROWS, group * together + i % count};
}

// Queries times keys: `depth` terms in lines of 64.
DSK_INLINE void add_scores(float (&scores)[COLUMNS / 2], const unsigned char* queries, const unsigned char* keys, int depth,
    int adds) {
  const Descriptor a = wgmma_descriptor(queries, 0, 1024), b = wgmma_descriptor(keys, 0, 1024);
#pragma unroll
  for (int k = 0; k < depth / 16; k++) {
    const int queries_behind = k / 4 * 8192 + k % 4 * 32, keys_behind = k / 4 * 16384 + k % 4 * 32;
    wgmma_n128_kk(scores, wgmma_behind(a, queries_behind), wgmma_behind(b, keys_behind), adds || k > 0);
  }
}

// Weights times values.
DSK_INLINE void add_values(float (&sums)[WIDTH / 2], const unsigned (&weights)[COLUMNS / 16][4], const unsigned char* values,
    int adds) {
  const Descriptor b = wgmma_descriptor(values, 16384, 1024);
#pragma unroll
  for (int k = 0; k < COLUMNS / 16; k++)
    wgmma_n128_rn(sums, weights[k], wgmma_behind(b, k * 2048), adds || k > 0);
}

extern "C" __global__ void __launch_bounds__(384, 1) plane_grouped_cached_tensor(
    int items, int items_before, int S, int T, const bf16* __restrict__ x_2, const bf16* __restrict__ keys,
    const int* __restrict__ slot, const int* __restrict__ pos, const int* __restrict__ pos_2, const int* __restrict__ seq,
    const int* __restrict__ seq_2, bf16* __restrict__ out, const bf16* __restrict__ values, const int* __restrict__ span_from,
    const int* __restrict__ span_to, float* partials, float* marks) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = T * 8, heads = 4, row_tiles = (m_end + ROWS - 1) / ROWS;
  const int shares = shares_of(row_tiles * heads, (int)((long long)S * min(T, 16) / max(1, T) / 128), 132, 264, 4, 85);
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.k_full[i], 4);
      mbarrier_init(&shared.k_empty[i], 8);
      mbarrier_init(&shared.v_full[i], 4);
      mbarrier_init(&shared.v_empty[i], 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  // Columns that rows from m on see; of empty spans none.
  const auto span_of = [&](int m) {
    int low = 0x7fffffff, high = 0;
    for (int i_T = m / 8 + lane; i_T <= (min(m + ROWS, m_end) - 1) / 8; i_T += 32) {
      const int from = span_from[i_T], to = span_to[i_T];
      if (from < to) low = min(low, from), high = max(high, to);
    }
    low = __reduce_min_sync(0xffffffffu, low), high = __reduce_max_sync(0xffffffffu, high);
    return low < high ? Span{low, high} : Span{0, 0};
  };
  if (warpgroup == 0) {
    // The producer fills the rings.
    registers_decrease<72>();
    // The smallest and largest of what columns from `first` on are compared by.
    const auto find_ranges = [&](int first, int* ranges) {
      if (warp > 0) return;
      find_range<COLUMNS>(ranges, lane, [&](int i) { const int i_S = min(first + i, S - 1); return pos[i_S]; });
      find_range<COLUMNS>(ranges + 2, lane, [&](int i) { const int i_S = min(first + i, S - 1); return seq_2[i_S]; });
    };
    const auto gather_k0 = [&](int first, int i_G, unsigned char* to) {
      gather_rows<COLUMNS, 2>(to, thread, S - first, [&](int own, int) {
        const int i_S = min(first + own, S - 1);
        return keys + (long long)(slot[i_S]) * 512 + i_G * 128;
      });
    };
    const auto gather_v = [&](int first, int i_G, unsigned char* to) {
      gather_rows<COLUMNS, 2>(to, thread, S - first, [&](int own, int) {
        const int i_S = min(first + own, S - 1);
        return values + (long long)(slot[i_S]) * 512 + i_G * 128;
      });
    };
    int key = 0, key_phase = 0;
    int value = 0, value_phase = 0;
    for (int tile = blockIdx.x; tile < row_tiles * heads * shares; tile += gridDim.x) {
      const int share = tile % shares;
      const Place at = place_of(tile / shares, row_tiles, heads, S);
      const Span span = share_of(span_of(at.m), share, shares, COLUMNS);
      const int blocks = max(1, (span.end - span.first + COLUMNS - 1) / COLUMNS);  // one where rows see nothing
      mbarrier_wait(&shared.k_empty[key], key_phase ^ 1);  // passes at once on the first way round
      // ranges of columns
      find_ranges(span.first, shared.ranges[key]);
      gather_k0(span.first, at.head, shared.k0[key]);
      cp_async_commit();
      cp_async_wait<0>();
      fence_async();
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.k_full[key]);
      if (++key == 2) key = 0, key_phase ^= 1;
      // keys are a block ahead of values
      for (int block = 1; block < blocks; block++) {
        mbarrier_wait(&shared.k_empty[key], key_phase ^ 1);  // passes at once on the first way round
        // ranges of columns
        find_ranges(span.first + block * COLUMNS, shared.ranges[key]);
        gather_k0(span.first + block * COLUMNS, at.head, shared.k0[key]);
        cp_async_commit();
        if (block >= 2) cp_async_wait<1>();
        if (block >= 2) fence_async();
        if (block >= 2) __syncwarp();
        if (block >= 2 && lane == 0) mbarrier_arrive(&shared.v_full[value == 0 ? 1 : value - 1]);
        mbarrier_wait(&shared.v_empty[value], value_phase ^ 1);  // passes at once on the first way round
        gather_v(span.first + (block - 1) * COLUMNS, at.head, shared.v[value]);
        cp_async_commit();
        cp_async_wait<1>();
        fence_async();
        __syncwarp();
        if (lane == 0) mbarrier_arrive(&shared.k_full[key]);
        if (++key == 2) key = 0, key_phase ^= 1;
        if (++value == 2) value = 0, value_phase ^= 1;
      }
      if (blocks > 1) cp_async_wait<0>();
      if (blocks > 1) fence_async();
      if (blocks > 1) __syncwarp();
      if (blocks > 1 && lane == 0) mbarrier_arrive(&shared.v_full[value == 0 ? 1 : value - 1]);
      mbarrier_wait(&shared.v_empty[value], value_phase ^ 1);  // passes at once on the first way round
      gather_v(span.first + (blocks - 1) * COLUMNS, at.head, shared.v[value]);
      cp_async_commit();
      cp_async_wait<0>();
      fence_async();
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.v_full[value]);
      if (++value == 2) value = 0, value_phase ^= 1;
    }
  } else {
    // Consumers have 64 rows each.
    registers_increase<216>();
    const int part = warpgroup - 1;
    // Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.
    const int row = warp * 16 + lane / 4, column = lane % 4 * 2;
    float scores[COLUMNS / 2], sums[WIDTH / 2];
    unsigned weights[COLUMNS / 16][4];
    int key = 0, key_phase = 0;
    int value = 0, value_phase = 0;
    if (part == 1) named_barrier_arrive(3 + (part + 1) % 2, 256);  // the first turn is that of consumer 0
    for (int tile = blockIdx.x; tile < row_tiles * heads * shares; tile += gridDim.x) {
      const int share = tile % shares;
      const Place at = place_of(tile / shares, row_tiles, heads, S);
      const Span span = share_of(span_of(at.m), share, shares, COLUMNS);
      const int blocks = max(1, (span.end - span.first + COLUMNS - 1) / COLUMNS);  // one where rows see nothing
      const int i_G = at.head;
      // Of the thread's two rows, 8 apart; those beyond the end are the last one.
      int from[2], to[2], row_0[2], row_1[2];
      #pragma unroll
      for (int r = 0; r < 2; r++) {
        const int flat = min(at.m + part * 64 + row + r * 8, m_end - 1);
        const int i_T = flat / 8;
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
                shared.ranges[key][1] <= row_0[r] && shared.ranges[key][2] == row_1[r] && shared.ranges[key][3] == row_1[r];
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
      named_barrier_sync(1 + part, 128);  // all warps have stored what is in q
      #pragma unroll
      for (int i = 0; i < 4; i++) {
        const int own = i * 16 + thread / 8, chunk = thread % 8;
        const int place = own * 128 + (chunk ^ own % 8) * 16;
        const int flat = min(at.m + part * 64 + own, m_end - 1);
        const int i_M = flat % 8;
        const int i_T = flat / 8;
        const int bytes = at.m + part * 64 + own < m_end ? 16 : 0;
        const bf16* p0 = x_2 + (long long)i_T * 4096 + i_G * 1024 + i_M * 128 + chunk * 8;
        cp_async_16(shared.q[part] + place, p0, bytes);
        cp_async_16(shared.q[part] + 8192 + place, p0 + 64, bytes);
      }
      cp_async_commit();
      cp_async_wait<0>();
      fence_async();
      named_barrier_sync(1 + part, 128);  // all queries are there
      mbarrier_wait(&shared.k_full[key], key_phase);
      wgmma_fence();
      add_scores(scores, shared.q[part], shared.k0[key], 128, 0);
      wgmma_commit();
      wgmma_wait<0>();
      wgmma_settled(scores);
      // exponentials
      hide(span.first);
      exponentiate(scores, peaks, total, rescale, SCALE);
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.k_empty[key]);
      if (++key == 2) key = 0, key_phase ^= 1;
      // weights
      pack_rows(weights, scores);
      for (int block = 1; block < blocks; block++) {
        mbarrier_wait(&shared.k_full[key], key_phase);
        named_barrier_sync(3 + part, 256);  // the other consumer takes exponentials now
        wgmma_fence();
        add_scores(scores, shared.q[part], shared.k0[key], 128, 0);
        wgmma_commit();
        mbarrier_wait(&shared.v_full[value], value_phase);
        wgmma_fence();  // ptxas wants one of its own for each array of sums
        add_values(sums, weights, shared.v[value], block > 1);
        wgmma_commit();
        named_barrier_arrive(3 + (part + 1) % 2, 256);  // products of the other consumer come behind these
        wgmma_wait<1>();  // values of the block before are on their way
        wgmma_settled(scores);
        // exponentials
        hide(span.first + block * COLUMNS);
        exponentiate(scores, peaks, total, rescale, SCALE);
        __syncwarp();
        if (lane == 0) mbarrier_arrive(&shared.k_empty[key]);
        if (++key == 2) key = 0, key_phase ^= 1;
        wgmma_wait<0>();
        wgmma_settled(scores);
        wgmma_settled(weights);
        wgmma_settled(sums);
        __syncwarp();
        if (lane == 0) mbarrier_arrive(&shared.v_empty[value]);
        if (++value == 2) value = 0, value_phase ^= 1;
        // rescale
        #pragma unroll
        for (int i = 0; i < WIDTH / 2; i++) sums[i] *= rescale[i / 2 % 2];
        pack_rows(weights, scores);
      }
      mbarrier_wait(&shared.v_full[value], value_phase);
      wgmma_fence();
      add_values(sums, weights, shared.v[value], blocks > 1);
      wgmma_commit();
      wgmma_wait<0>();
      wgmma_settled(sums);
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.v_empty[value]);
      if (++value == 2) value = 0, value_phase ^= 1;
      named_barrier_sync(1 + part, 128);  // no warp needs the queries
      // results
      if (shares > 1) {
        keep_share(partials + (((at.head * row_tiles + at.m / ROWS) * shares + share) * ROWS + part * 64 + row) * 128 + column,
            128, sums);
        keep_marks(marks + (((at.head * row_tiles + at.m / ROWS) * shares + share) * ROWS + part * 64 + row) * 2, peaks, total);
      } else {
        float factor[2];
        #pragma unroll
        for (int r = 0; r < 2; r++) {
          float sum_ = total[r] + __shfl_xor_sync(0xffffffffu, total[r], 1);
          sum_ += __shfl_xor_sync(0xffffffffu, sum_, 2);
          const float v1 = sum_;
          const float inverse = (v1 == 0.0f) ? 0.0f : 1.0f / v1;
          factor[r] = inverse;
        }
        #pragma unroll
        for (int c = 0; c < WIDTH / 16; c++) {
          unsigned packed[4];  // 8 x 8 results each: rows 8 apart, then columns
          #pragma unroll
          for (int e = 0; e < 4; e++)
            packed[e] = pack_bf16(sums[c * 8 + e * 2] * factor[e % 2], sums[c * 8 + e * 2 + 1] * factor[e % 2]);
          const int own = warp * 16 + lane % 16, chunk = c % 4 * 2 + lane / 16;
          stmatrix_x4(shared.q[part] + c / 4 * 8192 + own * 128 + (chunk ^ own % 8) * 16, packed[0], packed[1], packed[2],
              packed[3]);
        }
      }
      named_barrier_sync(1 + part, 128);  // own_warps
      // results leave
      if (shares == 1) {
        #pragma unroll
        for (int i = 0; i < 4; i++) {
          const int own = i * 16 + thread / 8, chunk = thread % 8;
          const int place = own * 128 + (chunk ^ own % 8) * 16;
          const int flat = min(at.m + part * 64 + own, m_end - 1);
          const int i_M = flat % 8;
          const int i_T = flat / 8;
          if (at.m + part * 64 + own < m_end) {
            bf16* p2 = out + (long long)i_T * 4096 + i_G * 1024 + i_M * 128 + chunk * 8;
            *reinterpret_cast<uint4*>(p2) = *reinterpret_cast<const uint4*>(shared.q[part] + place);
            *reinterpret_cast<uint4*>(p2 + 64) = *reinterpret_cast<const uint4*>(shared.q[part] + 8192 + place);
          }
        }
      }
    }
    if (part == 0) named_barrier_sync(3 + part, 256);  // the turn that nobody takes
  }
}
