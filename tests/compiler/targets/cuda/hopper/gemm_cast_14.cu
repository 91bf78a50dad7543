// gemm_cast_14: gemm for the tensor cores of sm_90a
//   read x: bf16[T, 7168]
//   read x_2: bf16[T, 18432]
//   read x_3: bf16[T, 18432]
//   write x_4: f32[7168, 18432]
//   write x_5: f32[7168, 18432]
// With T = 4096: 2164.7 GFLOP, 1417.7 MB; an H200 needs 2741 us, bound by tensor cores.
// Tiles of 128x128x64, 4 stages: 8064 tiles, bound by second-level cache; 99 % of 62 waves; 128x64 costs 31 % more.
#include "dsk_sm90.cuh"

constexpr int TILE_M = 128, TILE_N = 128, TILE_K = 64, STAGES = 4;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char a[STAGES][16384];  // rows of A
  unsigned char b0[STAGES][16384];  // columns of B
  unsigned char b1[STAGES][16384];  // columns of B
  unsigned char staged[2][2][8192];  // results on their way out
  Barrier full[STAGES];  // tiles of A and B are there
  Barrier empty[STAGES];  // all warps of the consumers have multiplied them
};
static_assert(sizeof(Shared) <= 232448, "a block has 232448 bytes of shared memory");

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 128 columns, 16 terms.
// Of A rows are neighbors, of B columns are neighbors.
DSK_INLINE void wgmma_n128_mn(float (&d)[64], Descriptor a, Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<128, 1, 1>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
               "%64, %65, p, 1, 1, 1, 1;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24), DSK_SUMS_8(d, 32), DSK_SUMS_8(d, 40),
                 DSK_SUMS_8(d, 48), DSK_SUMS_8(d, 56)
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
gemm_cast_14_tensor(int items, int items_before, int T, const bf16* x, const bf16* x_2, const bf16* x_3, float* x_4,
    float* x_5, const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap x_2_map,
    const __grid_constant__ CUtensorMap x_3_map, const __grid_constant__ CUtensorMap x_4_map,
    const __grid_constant__ CUtensorMap x_5_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = 7168, n_end = 18432;
  const int tile_rows = (m_end + TILE_M - 1) / TILE_M, tile_columns = (n_end + TILE_N - 1) / TILE_N;
  const int k_blocks = max(1, (T + TILE_K - 1) / TILE_K);
  if (threadIdx.x == 0) {
    tma_prefetch(&x_map);
    tma_prefetch(&x_2_map);
    tma_prefetch(&x_3_map);
    tma_prefetch(&x_4_map);
    tma_prefetch(&x_5_map);
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
          mbarrier_expect(&shared.full[stage], 49152);
          tma_load_2d(shared.a[stage], &x_map, &shared.full[stage], at.m, k_block * TILE_K);
          tma_load_2d(shared.a[stage] + 8192, &x_map, &shared.full[stage], at.m + 64, k_block * TILE_K);
          tma_load_2d(shared.b0[stage], &x_2_map, &shared.full[stage], at.n, k_block * TILE_K);
          tma_load_2d(shared.b0[stage] + 8192, &x_2_map, &shared.full[stage], at.n + 64, k_block * TILE_K);
          tma_load_2d(shared.b1[stage], &x_3_map, &shared.full[stage], at.n, k_block * TILE_K);
          tma_load_2d(shared.b1[stage] + 8192, &x_3_map, &shared.full[stage], at.n + 64, k_block * TILE_K);
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
    float sums0[64];
    float sums1[64];
    int stage = 0, phase = 0;
    int stored = 0;
    for (int tile = blockIdx.x; tile < items; tile += gridDim.x) {
      const Place at = place_of(tile, tile_rows, tile_columns);
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        mbarrier_wait(&shared.full[stage], phase);
        wgmma_fence();
        {
          const Descriptor a = wgmma_descriptor(shared.a[stage] + part * 8192, 8192, 1024);
          const Descriptor b = wgmma_descriptor(shared.b0[stage], 8192, 1024);
          #pragma unroll
          for (int k = 0; k < TILE_K / 16; k++)
            wgmma_n128_mn(sums0, wgmma_behind(a, k * 2048), wgmma_behind(b, k * 2048), k_block + k > 0);
        }
        {
          const Descriptor a = wgmma_descriptor(shared.a[stage] + part * 8192, 8192, 1024);
          const Descriptor b = wgmma_descriptor(shared.b1[stage], 8192, 1024);
          #pragma unroll
          for (int k = 0; k < TILE_K / 16; k++)
            wgmma_n128_mn(sums1, wgmma_behind(a, k * 2048), wgmma_behind(b, k * 2048), k_block + k > 0);
        }
        wgmma_commit();
        wgmma_wait<1>();  // the block before is done, this one is on its way
        if (k_block >= 1 && lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 3 : stage - 1]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      wgmma_wait<0>();  // here, where ptxas sees it: else it would serialize the products
      wgmma_settled(sums0);
      wgmma_settled(sums1);
      if (lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 3 : stage - 1]);
      #pragma unroll
      for (int slice = 0; slice < 2; slice++) {
        // results x_4, x_5
        float results0[32];
        float results1[32];
        #pragma unroll
        for (int c = 0; c < 16; c++) {
          float pair0[2] = {}, pair1[2] = {};
          #pragma unroll
          for (int j = 0; j < 2; j++) {
            const int i = slice * 32 + c * 2 + j;
            const float product = sums0[i];
            const float product_2 = sums1[i];
            pair0[j] = product;
            pair1[j] = product_2;
          }
          results0[c * 2] = pair0[0], results0[c * 2 + 1] = pair0[1];
          results1[c * 2] = pair1[0], results1[c * 2 + 1] = pair1[1];
        }
        #pragma unroll
        for (int piece = 0; piece < 2; piece++) {
          if (thread == 0) tma_wait_read<1>();  // the slot was read
          named_barrier_sync(1 + part, 128);  // own_warps
          // stage x_4
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
            tma_store_2d(&x_4_map, shared.staged[part][stored], at.n + slice * 64 + piece * 32, at.m + part * 64);
          }
          if (thread == 0) tma_commit();
          stored = stored + 1 == 2 ? 0 : stored + 1;
        }
        #pragma unroll
        for (int piece = 0; piece < 2; piece++) {
          if (thread == 0) tma_wait_read<1>();  // the slot was read
          named_barrier_sync(1 + part, 128);  // own_warps
          // stage x_5
          #pragma unroll
          for (int f = 0; f < 8; f++) {
            // 8 columns behind each other; of them rows 8 apart in turn.
            const int own = row + f % 2 * 8, chunk = f / 2 * 2 + column / 4;
            float* const to = reinterpret_cast<float*>(shared.staged[part][stored] + own * 128 + (chunk ^ own % 8) * 16);
            to[column % 4] = results1[piece * 16 + f * 2];
            to[column % 4 + 1] = results1[piece * 16 + f * 2 + 1];
          }
          fence_async();
          named_barrier_sync(1 + part, 128);  // all warps have written and published it
          if (thread == 0) {
            tma_store_2d(&x_5_map, shared.staged[part][stored], at.n + slice * 64 + piece * 32, at.m + part * 64);
          }
          if (thread == 0) tma_commit();
          stored = stored + 1 == 2 ? 0 : stored + 1;
        }
      }
    }
    if (thread == 0) tma_wait_read<0>();  // shared memory goes when the block ends
  }
}
