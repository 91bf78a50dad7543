// plane_latent_backward, columns: attention's backward pass for the tensor cores of sm_90a: gradients of keys and values
//   read x_2: bf16[T, 128, 128]
//   read x_3: bf16[S, 128, 128]
//   read x_5: bf16[T, 128, 192]
//   read x_6: bf16[S, 128, 128]
//   read x_7: bf16[T, 128, 64]
//   read x_8: bf16[T, 64]
//   read pos: i32[T]
//   read seq: i32[T]
//   read x_9: f32[T, 128]
//   write x_10: bf16[S, 128, 128]
//   read x_11: bf16[T, 128]
//   write x_12: bf16[T, 128, 64]
//   write x_13: bf16[S, 128, 64]
//   write x_14: bf16[T, 128, 128]
//   write x_15: bf16[S, 128, 128]
//   read span_from: i32[T]
//   read span_to: i32[T]
// Scores of 192 terms, values of 128: 1280 FLOP for each row and column that it sees.
// Tiles of 128 columns, blocks of 64 rows, 3 of them in shared memory.
#include "dsk_mma.cuh"
#include "dsk_sm90.cuh"

constexpr int ROWS = 64, COLUMNS = 128, DEPTH = 192, WIDTH = 128, STAGES = 3;
// Of a score, for powers of 2; and of its slope.
constexpr float SCALE = 0.195101102f, FACTOR = 0.135233779f;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char k[2][24576];  // keys, then their gradients on the way out
  unsigned char v[2][16384];  // values, then their gradients on the way out
  unsigned char q[STAGES][24576];  // queries
  unsigned char up[STAGES][16384];  // gradients of the rows' results
  float statistics[STAGES][128];  // of each row, what its softmax needs
  int seen[STAGES][264];  // of each row, what it sees and is compared by; then the smallest and largest of it
  int ranges[2][4];  // the smallest and largest of what columns are compared by
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

// Heads that run at once share the second-level cache: as many as have what blocks load in 32 MiB. Of these the
// first columns come first, since mostly the most rows see them.
struct Place { int n, head; };
struct Span { int first, end; };
DSK_INLINE Place place_of(int tile, int column_tiles, int heads, int rows) {
  const int together = max(1, min(heads, (int)(33554432ll / (640ll * max(1, rows)))));
  const int group = tile / (together * column_tiles), i = tile % (together * column_tiles);
  const int count = min(together, heads - group * together);
  return {i / count * COLUMNS, group * together + i % count};
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

// Weights, or slopes of scores, times the rows of a block.
DSK_INLINE void add_to(float (&sums)[64], const unsigned (&weights)[4][4], const unsigned char* block, int adds) {
  const Descriptor b = wgmma_descriptor(block, 8192, 1024);
#pragma unroll
  for (int k = 0; k < 4; k++) wgmma_n128_rn(sums, weights[k], wgmma_behind(b, k * 2048), adds || k > 0);
}

extern "C" __global__ void __launch_bounds__(384, 1) plane_latent_backward_tensor_columns(
    int items, int items_before, int S, int T, const bf16* __restrict__ x_2, const bf16* __restrict__ x_3,
    const bf16* __restrict__ x_5, const bf16* __restrict__ x_6, const bf16* __restrict__ x_7, const bf16* __restrict__ x_8,
    const int* __restrict__ pos, const int* __restrict__ seq, const float* __restrict__ x_9, bf16* __restrict__ x_10,
    const bf16* __restrict__ x_11, bf16* __restrict__ x_12, bf16* __restrict__ x_13, bf16* __restrict__ x_14,
    bf16* __restrict__ x_15, const int* __restrict__ span_from, const int* __restrict__ span_to, const int* __restrict__ spans,
    const __grid_constant__ CUtensorMap x_5_map, const __grid_constant__ CUtensorMap x_7_map,
    const __grid_constant__ CUtensorMap x_2_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = T, heads = 128, row_tiles = (m_end + 127) / 128;
  const int n_end = S, column_tiles = (n_end + COLUMNS - 1) / COLUMNS;
  if (threadIdx.x == 0) {
    tma_prefetch(&x_5_map), tma_prefetch(&x_7_map), tma_prefetch(&x_2_map);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.full[i], 1);
      mbarrier_init(&shared.empty[i], 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  // Tokens whose rows see columns from n on, by what tiles of rows see together.
  const auto span_of = [&](int n) {
    int low = 0x7fffffff, high = 0;
    for (int i = lane; i < row_tiles; i += 32) {
      if (spans[2 * i] < n + COLUMNS && spans[2 * i + 1] > n) low = min(low, i), high = max(high, i + 1);
    }
    low = __reduce_min_sync(0xffffffffu, low), high = __reduce_max_sync(0xffffffffu, high);
    return low < high ? Span{low * 128, min(high * 128, m_end)} : Span{0, 0};
  };
  if (warpgroup == 0) {
    registers_decrease<24>();  // the producer fills the ring
    // Of rows from `first` on: statistics, what they see and are compared by, beyond the end nothing; then the ends of it.
    const auto describe = [&](int first, int i_H, float* known, int* seen) {
      #pragma unroll
      for (int i = lane; i < ROWS; i += 32) {
        const bool inside = first + i < T;
        const int i_T = min(first + i, T - 1);
        known[2 * i] = inside ? fmaxf(x_9[(long long)i_T * 128 + i_H], -1e30f) * 1.44269504f : 0.0f;
        known[2 * i + 1] = inside ? float(x_11[(long long)i_T * 128 + i_H]) * FACTOR : 0.0f;
        const int from = span_from[i_T], to = inside ? span_to[i_T] : 0;
        const int row_0 = pos[i_T];
        const int row_1 = seq[i_T];
        seen[0 * ROWS + i] = from;
        seen[1 * ROWS + i] = to;
        seen[2 * ROWS + i] = row_0;
        seen[3 * ROWS + i] = row_1;
      }
      __syncwarp();
      #pragma unroll 1
      for (int k = 0; k < 4; k++)
        find_range<ROWS>(seen + 4 * ROWS + 2 * k, lane, [&](int i) { return seen[k * ROWS + i]; });
      __syncwarp();
    };
    if (warp == 0) {
      int stage = 0, phase = 0;
      for (int tile = blockIdx.x; tile < items; tile += gridDim.x) {
        const Place at = place_of(tile, column_tiles, heads, m_end);
        const Span span = span_of(at.n);
        const int blocks = max(1, (span.end - span.first + 63) / 64);  // of 64 tokens; some where no row sees them
        for (int block = 0; block < blocks; block++) {
          mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
          // what is known of rows
          describe(span.first + block * 64, at.head, shared.statistics[stage], shared.seen[stage]);
          if (lane == 0) mbarrier_expect(&shared.full[stage], 40960);
          if (lane == 0) {
            tma_load_3d(shared.q[stage], &x_5_map, &shared.full[stage], 0, span.first + block * 64, at.head);
            tma_load_3d(shared.q[stage] + 8192, &x_5_map, &shared.full[stage], 64, span.first + block * 64, at.head);
          }
          if (lane == 0) {
            tma_load_3d(shared.q[stage] + 16384, &x_7_map, &shared.full[stage], 0, span.first + block * 64, at.head);
          }
          if (lane == 0) {
            tma_load_3d(shared.up[stage], &x_2_map, &shared.full[stage], 0, span.first + block * 64, at.head);
            tma_load_3d(shared.up[stage] + 8192, &x_2_map, &shared.full[stage], 64, span.first + block * 64, at.head);
          }
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
      }
    }
  } else {
    // Consumers have 64 columns each.
    registers_increase<240>();
    const int part = warpgroup - 1;
    // Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.
    const int column = lane % 4 * 2;
    float scores[32], dk[96], dv[64];
    unsigned weights[4][4];
    int stage = 0, phase = 0;
    for (int tile = blockIdx.x; tile < items; tile += gridDim.x) {
      const Place at = place_of(tile, column_tiles, heads, m_end);
      const Span span = span_of(at.n);
      const int blocks = max(1, (span.end - span.first + 63) / 64);  // of 64 tokens; some where no row sees them
      const int i_H = at.head;
      // A row that does not see a column has the score of minus infinity there. Of most blocks rows see all.
      const auto hide = [&](const int* seen) {
        if (at.n + part * 64 >= seen[4 * ROWS + 1] &&
            at.n + part * 64 + 64 <= seen[4 * ROWS + 2] &&
            shared.ranges[part][1] <= seen[4 * ROWS + 4] &&
            shared.ranges[part][2] == seen[4 * ROWS + 7] &&
            shared.ranges[part][3] == seen[4 * ROWS + 6]) return;
        const int mine = anew(thread);
        int s[2], column_0[2], column_1[2];  // of the thread's two columns, 8 apart
        #pragma unroll
        for (int r = 0; r < 2; r++) {
          s[r] = at.n + part * 64 + mine / 32 * 16 + mine % 32 / 4 + r * 8;
          const int i_S = min(s[r], n_end - 1);
          column_0[r] = pos[i_S];
          column_1[r] = seq[i_S];
        }
        #pragma unroll
        for (int j = 0; j < ROWS / 4; j++) {
          const int own = j / 2 * 8 + column + j % 2;
          const int from = seen[0 * ROWS + own], to = seen[1 * ROWS + own], row_0 = seen[2 * ROWS + own],
              row_1 = seen[3 * ROWS + own];
          #pragma unroll
          for (int r = 0; r < 2; r++)
            if (s[r] < from || s[r] >= to || !(column_0[r] <= row_0) || !(column_1[r] == row_1)) scores[j / 2 * 4 + r * 2
                + j % 2] = -infinity();
        }
      };
      named_barrier_sync(1 + part, 128);  // all warps have stored their results
      // ranges of columns
      if (warp == 0) {
        find_range<64>(shared.ranges[part], lane,
            [&](int i) { const int i_S = min(at.n + part * 64 + i, n_end - 1); return pos[i_S]; });
        find_range<64>(shared.ranges[part] + 2, lane,
            [&](int i) { const int i_S = min(at.n + part * 64 + i, n_end - 1); return seq[i_S]; });
      }
      #pragma unroll 1
      for (int i = 0; i < 4; i++) {
        const int mine = anew(thread);
        const int own = i * 16 + mine / 8, chunk = mine % 8, place = own * 128 + (chunk ^ own % 8) * 16;
        const int i_S = min(at.n + part * 64 + own, n_end - 1);
        const int bytes = at.n + part * 64 + own < n_end ? 16 : 0;
        const bf16* p0 = x_6 + (long long)i_S * 16384 + i_H * 128 + chunk * 8;
        cp_async_16(shared.k[part] + place, p0, bytes);
        cp_async_16(shared.k[part] + 8192 + place, p0 + 64, bytes);
        const bf16* p1 = x_8 + (long long)i_S * 64 + chunk * 8;
        cp_async_16(shared.k[part] + 16384 + place, p1, bytes);
        const bf16* p2 = x_3 + (long long)i_S * 16384 + i_H * 128 + chunk * 8;
        cp_async_16(shared.v[part] + place, p2, bytes);
        cp_async_16(shared.v[part] + 8192 + place, p2 + 64, bytes);
      }
      cp_async_commit();
      cp_async_wait<0>();
      fence_async();
      named_barrier_sync(1 + part, 128);  // all of them are there
      for (int block = 0; block < blocks; block++) {
        mbarrier_wait(&shared.full[stage], phase);
        wgmma_fence();
        multiply(scores, shared.k[part], shared.q[stage], DEPTH);
        wgmma_commit();
        wgmma_wait<0>();  // with the sums of the block before
        wgmma_settled(scores);
        wgmma_settled(weights);
        if (block >= 1) __syncwarp();
        if (block >= 1 && lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 2 : stage - 1]);
        // weights
        hide(shared.seen[stage]);
        #pragma unroll
        for (int i = 0; i < ROWS / 2; i++) {
          const float base = shared.statistics[stage][(i / 4 * 8 + column + i % 2) * 2];
          scores[i] = power_of_2(scores[i] * SCALE - base);
        }
        pack_rows(weights, scores);
        wgmma_fence();
        multiply(scores, shared.v[part], shared.up[stage], WIDTH);
        add_to(dv, weights, shared.up[stage], block > 0);
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_settled(scores);
        wgmma_settled(weights);
        // slopes of scores
        #pragma unroll
        for (int i = 0; i < ROWS / 2; i++) {
          const float delta = shared.statistics[stage][(i / 4 * 8 + column + i % 2) * 2 + 1];
          const unsigned pair = weights[i / 8][i / 2 % 4];
          scores[i] = __uint_as_float(i % 2 == 0 ? pair << 16 : pair & 0xffff0000u) * (scores[i] * FACTOR - delta);
        }
        pack_rows(weights, scores);
        wgmma_fence();
        add_to(dk, weights, shared.q[stage], block > 0);
        wgmma_commit();
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      wgmma_wait<0>();
      wgmma_settled(dk);
      wgmma_settled(dv);
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 2 : stage - 1]);
      named_barrier_sync(1 + part, 128);  // no warp needs keys and values
      // results
      const int mine = anew(thread);
      const int place = (mine / 32 * 16 + mine % 16) * 128 + (mine % 32 / 16 ^ mine % 8) * 16;
      #pragma unroll
      for (int c = 0; c < 192 / 16; c++) {
        unsigned packed[4];  // 8 x 8 results each: rows 8 apart, then columns
        #pragma unroll
        for (int e = 0; e < 4; e++) packed[e] = pack_bf16(dk[c * 8 + e * 2], dk[c * 8 + e * 2 + 1]);
        stmatrix_x4(shared.k[part] + c / 4 * 8192 + (place ^ c % 4 * 32), packed[0], packed[1], packed[2], packed[3]);
      }
      #pragma unroll
      for (int c = 0; c < 128 / 16; c++) {
        unsigned packed[4];  // 8 x 8 results each: rows 8 apart, then columns
        #pragma unroll
        for (int e = 0; e < 4; e++) packed[e] = pack_bf16(dv[c * 8 + e * 2], dv[c * 8 + e * 2 + 1]);
        stmatrix_x4(shared.v[part] + c / 4 * 8192 + (place ^ c % 4 * 32), packed[0], packed[1], packed[2], packed[3]);
      }
      named_barrier_sync(1 + part, 128);  // own_warps
      // results leave
      #pragma unroll 1
      for (int i = 0; i < 4; i++) {
        const int mine = anew(thread);
        const int own = i * 16 + mine / 8, chunk = mine % 8, place = own * 128 + (chunk ^ own % 8) * 16;
        const int i_S = min(at.n + part * 64 + own, n_end - 1);
        if (at.n + part * 64 + own < n_end) {
          bf16* p3 = x_15 + (long long)i_S * 16384 + i_H * 128 + chunk * 8;
          *reinterpret_cast<uint4*>(p3) = *reinterpret_cast<const uint4*>(shared.k[part] + place);
          *reinterpret_cast<uint4*>(p3 + 64) = *reinterpret_cast<const uint4*>(shared.k[part] + 8192 + place);
          bf16* p4 = x_13 + (long long)i_S * 8192 + i_H * 64 + chunk * 8;
          *reinterpret_cast<uint4*>(p4) = *reinterpret_cast<const uint4*>(shared.k[part] + 16384 + place);
          bf16* p5 = x_10 + (long long)i_S * 16384 + i_H * 128 + chunk * 8;
          *reinterpret_cast<uint4*>(p5) = *reinterpret_cast<const uint4*>(shared.v[part] + place);
          *reinterpret_cast<uint4*>(p5 + 64) = *reinterpret_cast<const uint4*>(shared.v[part] + 8192 + place);
        }
      }
    }
  }
}
