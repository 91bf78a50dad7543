// fp8_exact: gemm for the tensor cores of sm_90a
//   read codes: f8e4m3[T, 56, 128]
//   read scale: f32[T, 56]
//   read codes_2: f8e4m3[12, 128, 56, 128]
//   read scale_2: f32[56, 12]
//   write exact: f32[T, 1536]
// With T = 4096: 90.2 GFLOP, 65.5 MB; an H200 needs 58 us, bound by tensor cores.
// Tiles of 128x192x128, 4 stages: 256 tiles, bound by second-level cache; 97 % of 2 waves; 128x128 costs 19 % more.
#include "dsk_sm90.cuh"

constexpr int TILE_M = 128, TILE_N = 192, TILE_K = 128, STAGES = 4;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char a[STAGES][16384];  // rows of A
  unsigned char b0[STAGES][24576];  // columns of B
  unsigned char staged[2][2][8192];  // results on their way out
  Barrier full[STAGES];  // tiles of A and B are there
  Barrier empty[STAGES];  // all warps of the consumers have multiplied them
};
static_assert(sizeof(Shared) <= 232448, "a block has 232448 bytes of shared memory");

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 192 columns, 32 terms.
// Of A terms are neighbors, of B terms are neighbors.
DSK_INLINE void wgmma_e4m3_n192_kk(float (&d)[96], Descriptor a, Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_e4m3<192>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %98, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n192k32.f32.e4m3.e4m3 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
               "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
               "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, "
               "%96, %97, p, 1, 1;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24), DSK_SUMS_8(d, 32), DSK_SUMS_8(d, 40),
                 DSK_SUMS_8(d, 48), DSK_SUMS_8(d, 56), DSK_SUMS_8(d, 64), DSK_SUMS_8(d, 72), DSK_SUMS_8(d, 80),
                     DSK_SUMS_8(d, 88)
               : "l"(a), "l"(b), "r"(adds));
#endif
}

// What runs at once shares A and B in the second-level cache: 8 rows of tiles follow each other column by column.
struct Place {
  int m, n, batch;
};
DSK_INLINE Place place_of(int tile, int rows, int columns) {
  const int batch = tile / (rows * columns), i = tile % (rows * columns);
  const int first = i / (8 * columns) * 8, height = min(8, rows - first), j = i - first * columns;
  return {(first + j % height) * TILE_M, j / height * TILE_N, batch};
}

extern "C" __global__ void __launch_bounds__(384, 1)
fp8_exact_tensor(int items, int items_before, int T, const f8e4m3* codes, const float* scale, const f8e4m3* codes_2,
    const float* scale_2, float* exact, const __grid_constant__ CUtensorMap codes_map,
    const __grid_constant__ CUtensorMap codes_2_map, const __grid_constant__ CUtensorMap exact_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = T, n_end = 1536;
  const int tile_rows = (m_end + TILE_M - 1) / TILE_M, tile_columns = (n_end + TILE_N - 1) / TILE_N;
  const int k_blocks = 56;
  if (threadIdx.x == 0) {
    tma_prefetch(&codes_map);
    tma_prefetch(&codes_2_map);
    tma_prefetch(&exact_map);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.full[i], 1);
      mbarrier_init(&shared.empty[i], 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (warpgroup == 0) {
    // The producer fills the ring.
    registers_decrease<40>();
    if (thread == 0) {
      int stage = 0, phase = 0;
      for (int tile = blockIdx.x; tile < items; tile += gridDim.x) {
        const Place at = place_of(tile, tile_rows, tile_columns);
        for (int k_block = 0; k_block < k_blocks; k_block++) {
          mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
          mbarrier_expect(&shared.full[stage], 40960);
          tma_load_2d(shared.a[stage], &codes_map, &shared.full[stage], k_block * TILE_K, at.m);
          tma_load_2d(shared.b0[stage], &codes_2_map, &shared.full[stage], k_block * TILE_K, at.n);
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
      }
    }
  }
  else {
    // Consumers multiply what is there: each its own rows of A with all columns of B.
    registers_increase<232>();
    const int part = warpgroup - 1;
    // Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.
    const int row = warp * 16 + lane / 4, column = lane % 4 * 2;
    float sums0[96];
    float partial[96];
    float scales[5];
    int stage = 0, phase = 0;
    int stored = 0;
    for (int tile = blockIdx.x; tile < items; tile += gridDim.x) {
      const Place at = place_of(tile, tile_rows, tile_columns);
      // Rows beyond the end are not stored; what is read for them is that of the last one.
      const int m_low = min(at.m + part * 64 + row, m_end - 1), m_high = min(at.m + part * 64 + row + 8, m_end - 1);
      // clear sums0
      const auto rows_0 = [&](int m) {
        const int i_T = m;
        return scale + (long long)i_T * 56;
      };
      const float *const low_0 = rows_0(m_low), *const high_0 = rows_0(m_high);
      const auto columns0_0 = [&](int n) {
        const int i_Q = n;
        return scale_2 + i_Q / 128;
      };
      const float* const of_b0_0[3] = {columns0_0(at.n), columns0_0(min(at.n + 64, n_end - 1)),
          columns0_0(min(at.n + 128, n_end - 1))};
      #pragma unroll
      for (int i = 0; i < TILE_N / 2; i++) sums0[i] = 0.0f;
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        // scales for sums0: on their way while the tiles are waited for
        scales[0] = low_0[k_block], scales[1] = high_0[k_block];
        scales[2] = of_b0_0[0][k_block * 12], scales[3] = of_b0_0[1][k_block * 12], scales[4] = of_b0_0[2][k_block * 12];
        mbarrier_wait(&shared.full[stage], phase);
        wgmma_fence();
        {
          const Descriptor a = wgmma_descriptor(shared.a[stage] + part * 8192, 0, 1024);
          const Descriptor b = wgmma_descriptor(shared.b0[stage], 0, 1024);
          #pragma unroll
          for (int k = 0; k < TILE_K / 32; k++)
            wgmma_e4m3_n192_kk(partial, wgmma_behind(a, k * 32), wgmma_behind(b, k * 32), k > 0);
        }
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_settled(partial);
        if (lane == 0) mbarrier_arrive(&shared.empty[stage]);
        // promote sums0
        #pragma unroll
        for (int i = 0; i < TILE_N / 2; i++) sums0[i] += partial[i] * (scales[i / 2 % 2] * scales[2 + i / 32]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      #pragma unroll
      for (int slice = 0; slice < 3; slice++) {
        // results exact
        float results0[32];
        #pragma unroll
        for (int c = 0; c < 16; c++) {
          float pair0[2] = {};
          #pragma unroll
          for (int j = 0; j < 2; j++) {
            const int i = slice * 32 + c * 2 + j;
            const float product = sums0[i];
            pair0[j] = product;
          }
          results0[c * 2] = pair0[0], results0[c * 2 + 1] = pair0[1];
        }
        #pragma unroll
        for (int piece = 0; piece < 2; piece++) {
          if (thread == 0) tma_wait_read<1>();  // the slot was read
          named_barrier_sync(1 + part, 128);  // own_warps
          // stage exact
          #pragma unroll
          for (int f = 0; f < 8; f++) {
            // 8 columns behind each other; of them rows 8 apart in turn.
            const int own = row + f % 2 * 8, chunk = f / 2 * 2 + column / 4;
            float* const to = reinterpret_cast<float*>(shared.staged[part][stored] + own * 128 + (chunk ^ own % 8) * 16);
            to[column % 4] = results0[piece * 16 + f * 2];
            to[column % 4 + 1] = results0[piece * 16 + f * 2 + 1];
          }
          fence_async();
          named_barrier_sync(1 + part, 128);  // all warps have written and published it
          if (thread == 0) {
            tma_store_2d(&exact_map, shared.staged[part][stored], at.n + slice * 64 + piece * 32, at.m + part * 64);
          }
          if (thread == 0) tma_commit();
          stored = stored + 1 == 2 ? 0 : stored + 1;
        }
      }
    }
    if (thread == 0) tma_wait_read<0>();  // shared memory goes when the block ends
  }
}
