// gemm_h: gemm for the tensor cores of sm_90a
//   read out: bf16[T, 128, 128]
//   read wo: bf16[128, 128, 7168]
//   read x: bf16[T, 7168]
//   write h: bf16[T, 7168]
// With 128 rows: 30.1 GFLOP, 240.9 MB; an H200 needs 57 us, bound by memory.
// Tiles of 128x128x64, 7 stages: 112 blocks of 8192 terms in 1 wave.
#include "dsk_sm90.cuh"

constexpr int TILE_N = 128, TILE_K = 64, STAGES = 7;
constexpr int PARTS = 2, SHARE = 8;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char a[STAGES][16384];  // rows of A
  unsigned char b0[STAGES][16384];  // columns of B
  Barrier full[STAGES];  // tiles of A and B are there
  Barrier empty[STAGES];  // all warps of the consumers have multiplied them
};
static_assert(sizeof(Shared) <= 232448, "a block has 232448 bytes of shared memory");

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

// The parts of a tile's terms follow each other: they are a cluster.
struct Place {
  int m, n, batch, part;
};
DSK_INLINE Place place_of(int block, int columns) {
  const int i = block / PARTS;
  return {0, i % columns * TILE_N, i / columns, block % PARTS};
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(384, 1)
gemm_h_tensor_few(int items, int items_before, int T, const bf16* out, const bf16* wo, const bf16* x, bf16* h,
    const __grid_constant__ CUtensorMap out_map, const __grid_constant__ CUtensorMap wo_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = T, n_end = 7168;
  const int tile_columns = (n_end + TILE_N - 1) / TILE_N;
  const Place at = place_of(blockIdx.x, tile_columns);
  const int first_block = 256 * at.part / PARTS, k_blocks = 256 * (at.part + 1) / PARTS - first_block;
  if (threadIdx.x == 0) {
    tma_prefetch(&out_map);
    tma_prefetch(&wo_map);
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
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
        mbarrier_expect(&shared.full[stage], 32768);
        tma_load_2d(shared.a[stage], &out_map, &shared.full[stage], (first_block + k_block) * TILE_K, at.m);
        tma_load_2d(shared.b0[stage], &wo_map, &shared.full[stage], at.n, (first_block + k_block) * TILE_K);
        tma_load_2d(shared.b0[stage] + 8192, &wo_map, &shared.full[stage], at.n + 64, (first_block + k_block) * TILE_K);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
    }
    __syncwarp();  // all threads meet those of the other blocks
    cluster_sync();
    cluster_sync();
  }
  else {
    // Consumers multiply what is there: each its own rows of A with all columns of B.
    registers_increase<232>();
    const int part = warpgroup - 1;
    // Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.
    const int row = warp * 16 + lane / 4, column = lane % 4 * 2;
    // The block adds up 8 * SHARE columns of the tile. What it receives lies over the ring; rows that are not there are not sent.
    float4* const received = reinterpret_cast<float4*>(&shared) + threadIdx.x - 128;
    constexpr int CONSUMERS = 256;
    const bool has_rows = part * 64 + warp * 16 < m_end;
    float sums0[64];
    int stage = 0, phase = 0;
    for (int k_block = 0; k_block < k_blocks; k_block++) {
      mbarrier_wait(&shared.full[stage], phase);
      wgmma_fence();
      {
        const Descriptor a = wgmma_descriptor(shared.a[stage] + part * 8192, 0, 1024);
        const Descriptor b = wgmma_descriptor(shared.b0[stage], 8192, 1024);
        #pragma unroll
        for (int k = 0; k < TILE_K / 16; k++)
          wgmma_n128_kn(sums0, wgmma_behind(a, k * 32), wgmma_behind(b, k * 2048), k_block + k > 0);
      }
      wgmma_commit();
      wgmma_wait<1>();  // the block before is done, this one is on its way
      if (k_block >= 1 && lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 6 : stage - 1]);
      if (++stage == STAGES) stage = 0, phase ^= 1;
    }
    wgmma_wait<0>();  // here, where ptxas sees it: else it would serialize the products
    wgmma_settled(sums0);
    cluster_sync();  // nobody in the cluster multiplies any more
    // send sums
    if (has_rows) {
      #pragma unroll
      for (int i = 0; i < PARTS * SHARE; i++) {
        store_at(received + (at.part * SHARE + i % SHARE) * CONSUMERS, i / SHARE,
            float4{sums0[i * 4], sums0[i * 4 + 1], sums0[i * 4 + 2], sums0[i * 4 + 3]});
      }
    }
    cluster_sync();  // all sums are there
    // add: the parts of a sum in their order
    if (has_rows) {
      #pragma unroll
      for (int i = 0; i < SHARE; i++) {
        {
          const float4 sent = received[(0 * SHARE + i) * CONSUMERS];
          sums0[i * 4] = sent.x, sums0[i * 4 + 1] = sent.y, sums0[i * 4 + 2] = sent.z, sums0[i * 4 + 3] = sent.w;
        }
        #pragma unroll
        for (int from = 1; from < PARTS; from++) {
          {
            const float4 sent = received[(from * SHARE + i) * CONSUMERS];
            sums0[i * 4] += sent.x, sums0[i * 4 + 1] += sent.y, sums0[i * 4 + 2] += sent.z, sums0[i * 4 + 3] += sent.w;
          }
        }
      }
    }
    // finish
    #pragma unroll
    for (int r = 0; r < 2; r++) {
      const int m = at.m + part * 64 + row + r * 8;
      if (m < m_end) {
        #pragma unroll
        for (int j = 0; j < SHARE * 2; j++) {
          const int i = j / 2 * 4 + r * 2 + j % 2, n = at.n + at.part * SHARE * 8 + i / 4 * 8 + column + j % 2;
          if (n < n_end) {
            {
              const int i_T = m;
              const int i_D = n;
              const float product = sums0[i];
              h[(long long)i_T * 7168 + i_D] = bf16(float(x[(long long)i_T * 7168 + i_D]) + product);
            }
          }
        }
      }
    }
  }
}
