// int8_wo: gemm for the tensor cores of sm_90a
//   read out: bf16[T, 128, 128]
//   read wo: i8[128, 128, 7168]
//   read scale: bf16[128, 2, 7168]
//   read x: bf16[T, 7168]
//   write h: bf16[T, 7168]
// With T = 4096: 962.1 GFLOP, 310.4 MB; an H200 needs 1218 us, bound by tensor cores.
// Tiles of 128x256x64, 4 stages: 896 tiles, bound by tensor cores; 97 % of 7 waves; 128x128 costs 15 % more.
#include "dsk_sm90.cuh"
#include "dsk_codes.cuh"

constexpr int TILE_M = 128, TILE_N = 256, TILE_K = 64, STAGES = 4;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char a[STAGES][16384];  // rows of A
  unsigned char b0[STAGES][32768];  // columns of B
  unsigned char staged[2][2][8192];  // results on their way out
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
int8_wo_tensor(int items, int items_before, int T, const bf16* out, const signed char* wo, const bf16* scale,
    const bf16* x, bf16* h, const __grid_constant__ CUtensorMap out_map, const __grid_constant__ CUtensorMap x_map,
    const __grid_constant__ CUtensorMap h_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = T, n_end = 7168;
  const int tile_rows = (m_end + TILE_M - 1) / TILE_M, tile_columns = (n_end + TILE_N - 1) / TILE_N;
  const int k_blocks = 256;
  if (threadIdx.x == 0) {
    tma_prefetch(&out_map);
    tma_prefetch(&x_map);
    tma_prefetch(&h_map);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.full[i], 5);
      mbarrier_init(&shared.empty[i], 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (warpgroup == 0) {
    // The producer fills the ring.
    registers_decrease<104>();
    unsigned codes0[16][2], factors0[4];
    // A thread has 8 columns of 16 terms of a block.
    const int chunk = thread % 32, own_term = thread / 32 * 16;
    int stage = 0, phase = 0;
    for (int tile = blockIdx.x; tile < items; tile += gridDim.x) {
      const Place at = place_of(tile, tile_rows, tile_columns);
      // begin b0_0: codes of the first block
      const signed char* const codes_of_b0_0 = wo + at.n;
      const bf16* const factors_of_b0_0 = scale + at.n;
      for (int ahead = 1; ahead < 4; ahead++) {
        if (ahead < k_blocks) {
          const int first = ahead * TILE_K;
          prefetch_rows<TILE_K, 8>(codes_of_b0_0 + (long long)first * 7168, 7168, thread, 64, 256);
          prefetch_rows<1, 16>(factors_of_b0_0 + (long long)(first / 64) * 7168, 14336, thread, 1, 512);
        }
      }
      {
        const int first = own_term;
        const int count = 16;
        read_codes(codes0, codes_of_b0_0 + (long long)first * 7168 + chunk * 8, 7168, count);
        read_factors(factors0, factors_of_b0_0 + chunk * 8 + (long long)(first / 64) * 7168, count > 0);
      }
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
        if (thread == 0) mbarrier_expect(&shared.full[stage], 16384);
        if (thread == 0) {
          tma_load_2d(shared.a[stage], &out_map, &shared.full[stage], k_block * TILE_K, at.m);
        }
        // decode b0_0
        write_codes<8>(shared.b0[stage] + chunk / 8 * 8192, own_term, chunk % 8, codes0, factors0);
        // read b0_0: those of the next block are on their way meanwhile
        if (k_block + 4 < k_blocks) {
          const int first = (k_block + 4) * TILE_K;
          prefetch_rows<TILE_K, 8>(codes_of_b0_0 + (long long)first * 7168, 7168, thread, 64, 256);
          prefetch_rows<1, 16>(factors_of_b0_0 + (long long)(first / 64) * 7168, 14336, thread, 1, 512);
        }
        {
          const int first = (k_block + 1) * TILE_K + own_term;
          const int count = k_block + 1 < k_blocks ? 16 : 0;
          read_codes(codes0, codes_of_b0_0 + (long long)first * 7168 + chunk * 8, 7168, count);
          read_factors(factors0, factors_of_b0_0 + chunk * 8 + (long long)(first / 64) * 7168, count > 0);
        }
        fence_async();
        __syncwarp();
        if (lane == 0) mbarrier_arrive(&shared.full[stage]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      for (int slice = 0; slice < 4; slice++) {
        mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
        if (thread == 0) mbarrier_expect(&shared.full[stage], 16384);
        if (thread == 0) {
          tma_load_2d(shared.a[stage], &x_map, &shared.full[stage], at.n + slice * 64, at.m);
        }
        if (lane == 0) mbarrier_arrive(&shared.full[stage]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
    }
  }
  else {
    // Consumers multiply what is there: each its own rows of A with all columns of B.
    registers_increase<200>();
    const int part = warpgroup - 1;
    float sums0[128];
    int stage = 0, phase = 0;
    int stored = 0;
    for (int tile = blockIdx.x; tile < items; tile += gridDim.x) {
      const Place at = place_of(tile, tile_rows, tile_columns);
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
        if (k_block >= 1 && lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 3 : stage - 1]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      wgmma_wait<0>();  // here, where ptxas sees it: else it would serialize the products
      wgmma_settled(sums0);
      if (lane == 0) mbarrier_arrive(&shared.empty[stage == 0 ? 3 : stage - 1]);
      #pragma unroll
      for (int slice = 0; slice < 4; slice++) {
        mbarrier_wait(&shared.full[stage], phase);
        // results h
        unsigned results0[16];  // pairs of columns
        #pragma unroll
        for (int c = 0; c < 16; c++) {
          const int place = (part * 64 + warp * 16 + c % 2 * 8 + lane / 4) * 128 + (c / 2 ^ lane / 4) * 16 + lane % 4 * 4;
          const unsigned given0_pair = *reinterpret_cast<const unsigned*>(shared.a[stage] + place);
          float pair0[2] = {};
          #pragma unroll
          for (int j = 0; j < 2; j++) {
            const int i = slice * 32 + c * 2 + j;
            const float given0 = unpack_bf16(given0_pair, j);
            const float product = sums0[i];
            pair0[j] = given0 + product;
          }
          results0[c] = pack_bf16(pair0[0], pair0[1]);
        }
        __syncwarp();  // the inputs were read
        if (lane == 0) mbarrier_arrive(&shared.empty[stage]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
        if (thread == 0) tma_wait_read<1>();  // the slot was read
        named_barrier_sync(1 + part, 128);  // own_warps
        // stage h
        #pragma unroll
        for (int c = 0; c < 4; c++) {
          // 8 x 8 results each: rows 8 apart, then columns.
          const int own = warp * 16 + lane % 16, chunk = c * 2 + lane / 16;
          stmatrix_x4(shared.staged[part][stored] + own * 128 + (chunk ^ own % 8) * 16, results0[c * 4], results0[c * 4 + 1],
              results0[c * 4 + 2], results0[c * 4 + 3]);
        }
        fence_async();
        named_barrier_sync(1 + part, 128);  // all warps have written and published it
        if (thread == 0) {
          tma_store_2d(&h_map, shared.staged[part][stored], at.n + slice * 64, at.m + part * 64);
        }
        if (thread == 0) tma_commit();
        stored = stored + 1 == 2 ? 0 : stored + 1;
      }
    }
    if (thread == 0) tma_wait_read<0>();  // shared memory goes when the block ends
  }
}
