// gemm_h: gemm for the tensor cores of sm_90a
//   read out: bf16[T, 128, 128]
//   read wo: bf16[128, 128, 7168]
//   read x: bf16[T, 7168]
//   write h: bf16[T, 7168]
// With 64 rows: 15.0 GFLOP, 237.9 MB; an H200 needs 56 us, bound by memory.
// Tiles of 64x256x64, 5 stages: 112 blocks of 4096 terms in 1 wave.
#include "dsk_sm90.cuh"

constexpr int TILE_M = 64, TILE_N = 256, TILE_K = 64, STAGES = 5;
constexpr int PARTS = 4, K_BLOCKS = 64;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char a[STAGES][8192];  // rows of A
  unsigned char b0[STAGES][32768];  // columns of B
  Barrier full[STAGES];  // tiles of A and B are there
  Barrier empty[STAGES];  // all warps of the consumers have multiplied them
};
static_assert(sizeof(Shared) <= 232448, "a block has 232448 bytes of shared memory");

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 256 columns, 16 terms.
// Of A terms are neighbors, of B columns are neighbors.
DSK_INLINE void wgmma_n256_kn(float (&d)[128], Descriptor a, Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_bf16<256, 0, 1>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
               "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
               "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
               "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
               "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
               "%128, %129, p, 1, 1, 0, 1;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24), DSK_SUMS_8(d, 32), DSK_SUMS_8(d, 40),
                 DSK_SUMS_8(d, 48), DSK_SUMS_8(d, 56), DSK_SUMS_8(d, 64), DSK_SUMS_8(d, 72), DSK_SUMS_8(d, 80),
                     DSK_SUMS_8(d, 88),
                 DSK_SUMS_8(d, 96), DSK_SUMS_8(d, 104), DSK_SUMS_8(d, 112), DSK_SUMS_8(d, 120)
               : "l"(a), "l"(b), "r"(adds));
#endif
}

// The parts of a tile's terms follow each other.
struct Place {
  int m, n, batch, part;
};
DSK_INLINE Place place_of(int tile, int, int columns) {
  const int i = tile / PARTS;
  return {0, i % columns * TILE_N, i / columns, tile % PARTS};
}

extern "C" __global__ void __launch_bounds__(256, 1)
gemm_h_split(int items, int items_before, int T, const bf16* out, const bf16* wo, const bf16* x, bf16* h, float* partials,
    const __grid_constant__ CUtensorMap out_map, const __grid_constant__ CUtensorMap wo_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = T, n_end = 7168;
  const int tile_rows = (m_end + TILE_M - 1) / TILE_M, tile_columns = (n_end + TILE_N - 1) / TILE_N;
  if (threadIdx.x == 0) {
    tma_prefetch(&out_map);
    tma_prefetch(&wo_map);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.full[i], 1);
      mbarrier_init(&shared.empty[i], 4);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (warpgroup == 0) {
    // The producer fills the ring.
    if (thread == 0) {
      int stage = 0, phase = 0;
      for (int tile = blockIdx.x; tile < items_before; tile += gridDim.x) {
        const Place at = place_of(tile, tile_rows, tile_columns);
        const int k_blocks = min(K_BLOCKS, 256 - at.part * K_BLOCKS);
        for (int k_block = 0; k_block < k_blocks; k_block++) {
          mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
          mbarrier_expect(&shared.full[stage], 40960);
          tma_load_2d(shared.a[stage], &out_map, &shared.full[stage], (at.part * K_BLOCKS + k_block) * TILE_K, at.m);
          tma_load_2d(shared.b0[stage], &wo_map, &shared.full[stage], at.n, (at.part * K_BLOCKS + k_block) * TILE_K);
          tma_load_2d(shared.b0[stage] + 8192, &wo_map, &shared.full[stage], at.n + 64,
              (at.part * K_BLOCKS + k_block) * TILE_K);
          tma_load_2d(shared.b0[stage] + 16384, &wo_map, &shared.full[stage], at.n + 128,
              (at.part * K_BLOCKS + k_block) * TILE_K);
          tma_load_2d(shared.b0[stage] + 24576, &wo_map, &shared.full[stage], at.n + 192,
              (at.part * K_BLOCKS + k_block) * TILE_K);
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
      }
    }
  }
  else {
    // Consumers multiply what is there: each its own rows of A with all columns of B.
    const int part = warpgroup - 1;
    // Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.
    const int row = warp * 16 + lane / 4, column = lane % 4 * 2;
    float sums0[128];
    int stage = 0, phase = 0;
    for (int tile = blockIdx.x; tile < items_before; tile += gridDim.x) {
      const Place at = place_of(tile, tile_rows, tile_columns);
      const int k_blocks = min(K_BLOCKS, 256 - at.part * K_BLOCKS);
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        mbarrier_wait(&shared.full[stage], phase);
        wgmma_fence();
        {
          const Descriptor a = wgmma_descriptor(shared.a[stage] + part * 8192, 0, 1024);
          const Descriptor b = wgmma_descriptor(shared.b0[stage], 8192, 1024);
          #pragma unroll
          for (int k = 0; k < TILE_K / 16; k++)
            wgmma_n256_kn(sums0, wgmma_behind(a, k * 32), wgmma_behind(b, k * 2048), k_block + k > 0);
        }
        wgmma_commit();
        wgmma_wait<1>();  // the block before is done, this one is on its way
        if (k_block >= 1 && lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 4 : stage - 1]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      wgmma_wait<0>();  // here, where ptxas sees it: else it would serialize the products
      wgmma_settled(sums0);
      if (lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 4 : stage - 1]);
      // finish
      #pragma unroll
      for (int i = 0; i < TILE_N / 2; i++) {
        const int m = row + i / 2 % 2 * 8, n = at.n + i / 4 * 8 + column + i % 2;
        if (m < m_end && n < n_end) {
          partials[(at.part * 64 + m) * n_end + n] = sums0[i];
        }
      }
    }
  }
}

// Adds up the parts of a sum in their order: a thread for each result.
extern "C" __global__ void __launch_bounds__(256)
gemm_h_add(int items, int items_before, int T, const bf16* out, const bf16* wo, const bf16* x, bf16* h, float* partials) {
  const int m_end = T, n_end = 7168, columns = (n_end + 255) / 256;
  const int n = blockIdx.x % columns * 256 + threadIdx.x, m = blockIdx.x / columns % m_end;
  if (n >= n_end) return;
  float product = 0.0f;
  #pragma unroll
  for (int part = 0; part < PARTS; part++) product += partials[(part * 64 + m) * n_end + n];
  {
    const int i_T = m;
    const int i_D = n;
    h[(long long)i_T * 7168 + i_D] = bf16(float(x[(long long)i_T * 7168 + i_D]) + product);
  }
}
