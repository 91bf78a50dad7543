// int4_down: gemm for the tensor cores of sm_90a
//   read x: bf16[T, 8, 2048]
//   read down: i4[256, 2048, 7168]
//   read scale: bf16[256, 64, 7168]
//   read chosen: i32[T, 8]
//   write x_2: bf16[T, 8, 7168]
// With T = 4096: 962.1 GFLOP, 2483.0 MB; an H200 needs 1218 us, bound by tensor cores.
// Tiles of 128x256x64, 4 stages: 7168 tiles, bound by tensor cores; 99 % of 55 waves; 128x128 costs 2 % more.
#include "dsk_sm90.cuh"
#include "dsk_mma.cuh"
#include "dsk_codes.cuh"

constexpr int TILE_M = 128, TILE_N = 256, TILE_K = 64, STAGES = 4;
constexpr int GROUPS = 256;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char a[STAGES][16384];  // rows of A
  unsigned char b0[STAGES][32768];  // columns of B
  unsigned char staged[2][8192];  // results on their way out
  int starts[GROUPS + 2], tiles[GROUPS + 2];  // where groups and their tiles begin, and the end
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

// A tile has rows of one group, from `m` in their order to `end` at most; `tiles` rows of tiles are before those of a group.
// What runs at once shares A and B in the second-level cache: 8 rows of a group's tiles follow each other column by column.
// The last group are rows without one.
struct Place {
  int m, n, batch, end;
};
DSK_INLINE Place place_of(int tile, int columns, const int* starts, const int* tiles) {
  int group = 0, above = GROUPS + 1;
  while (group + 1 < above) {
    const int middle = (group + above) / 2;
    if (tiles[middle] * columns <= tile) group = middle;
    else above = middle;
  }
  const int rows = tiles[group + 1] - tiles[group], i = tile - tiles[group] * columns;
  const int first = i / (8 * columns) * 8, height = min(8, rows - first), j = i - first * columns;
  return {starts[group] + (first + j % height) * TILE_M, j / height * TILE_N, group, starts[group + 1]};
}

// Block g writes down the rows of group g in their order.
extern "C" __global__ void __launch_bounds__(1024)
int4_down_tensor_sort(int items, int items_before, int T, const bf16* x, const unsigned char* down, const bf16* scale,
    const int* chosen, bf16* x_2, int* order, int* starts) {
  const int thread = threadIdx.x;
  __shared__ int counts[32];
  const int own = blockIdx.x, warp = thread / 32, lane = thread % 32;
  const int sorted_end = T * 8;
  // The group of a row; 256 for none.
  const auto group_of = [&](int i) {
    const int i_K = i % 8;
    const int i_T = i / 8;
    const int group = chosen[(long long)i_T * 8 + i_K];
    return group < 0 || group >= 256 ? 256 : group;
  };
  // Each warp looks at a part of the rows, many at a time.
  const int length = (sorted_end + 1023) / 1024 * 32;
  const int first = warp * length, end = min(first + length, sorted_end);
  int before = 0, all = 0;
  #pragma unroll 8
  for (int i = first + lane; i < end; i += 32) {
    const int group = group_of(i);
    before += group < own;
    all += group == own;
  }
  int at = over_block<Sum, 1024>(before);
  if (thread == 0) starts[own] = at;
  if (thread == 0 && own == 256) starts[own + 1] = sorted_end;
  all = over_lanes<Sum, 32>(all);
  if (lane == 0) counts[warp] = all;
  __syncthreads();
  for (int i = 0; i < 32; i++) at += i < warp ? counts[i] : 0;
  #pragma unroll 8
  for (int line = first; line < end; line += 32) {
    const bool mine = line + lane < end && group_of(line + lane) == own;
    const unsigned found = __ballot_sync(0xffffffffu, mine);
    if (mine) order[at + __popc(found & ((1u << lane) - 1))] = line + lane;
    at += __popc(found);
  }
}

extern "C" __global__ void __launch_bounds__(384, 1)
int4_down_tensor(int items, int items_before, int T, const bf16* x, const unsigned char* down, const bf16* scale,
    const int* chosen, bf16* x_2, int* order, int* starts) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int n_end = 7168;
  const int tile_columns = (n_end + TILE_N - 1) / TILE_N;
  const int k_blocks = 32;
  for (int i = threadIdx.x; i < GROUPS + 2; i += blockDim.x) shared.starts[i] = starts[i];
  if (threadIdx.x < 32) {
    int before = 0;
    for (int first = 0; first < GROUPS + 2; first += 32) {
      const int group = first + lane, next = min(group, GROUPS) + 1;
      const int own = group > GROUPS ? 0 : (starts[next] - starts[next - 1] + TILE_M - 1) / TILE_M;
      int sum = own;
      for (int distance = 1; distance < 32; distance *= 2) {
        const int below = __shfl_up_sync(0xffffffffu, sum, distance);
        if (lane >= distance) sum += below;
      }
      if (group < GROUPS + 2) shared.tiles[group] = before + sum - own;
      before += __shfl_sync(0xffffffffu, sum, 31);
    }
  }
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.full[i], 4);
      mbarrier_init(&shared.empty[i], 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  const int tiles = shared.tiles[GROUPS + 1] * tile_columns;
  if (warpgroup == 0) {
    // The producer fills the ring.
    registers_decrease<104>();
    unsigned codes0[16][1], factors0[4];
    // A thread has 8 columns of 16 terms of a block.
    const int chunk = thread % 32, own_term = thread / 32 * 16;
    int stage = 0, phase = 0;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const Place at = place_of(tile, tile_columns, shared.starts, shared.tiles);
      // begin b0_0: codes of the first block
      const unsigned char* const codes_of_b0_0 = down + (at.n + (long long)min(at.batch, GROUPS - 1) * 14680064) / 2;
      const bf16* const factors_of_b0_0 = scale + at.n + (long long)min(at.batch, GROUPS - 1) * 458752;
      for (int ahead = 1; ahead < 4; ahead++) {
        if (ahead < k_blocks) {
          const int first = ahead * TILE_K;
          prefetch_rows<TILE_K, 4>(codes_of_b0_0 + (long long)first * 3584, 3584, thread, 64, 128);
          prefetch_rows<2, 16>(factors_of_b0_0 + (long long)(first / 32) * 7168, 14336, thread, 2, 512);
        }
      }
      {
        const int first = own_term;
        const int count = 16;
        read_codes(codes0, codes_of_b0_0 + (long long)first * 3584 + chunk * 4, 3584, count);
        read_factors(factors0, factors_of_b0_0 + chunk * 8 + (long long)(first / 32) * 7168, count > 0);
      }
      // Where this thread's rows begin, in lines of 16 bytes: those beyond the end are as the last one.
      int from_0[8];
      #pragma unroll
      for (int i = 0; i < 8; i++) {
        const int row = order[min(at.m + thread / 8 + i * 16, at.end - 1)];
        const int i_K = row % 8;
        const int i_T = row / 8;
        from_0[i] = (int)(((long long)i_T * 16384 + i_K * 2048) / 8) + thread % 8;
      }
      const int bytes_0 = at.batch == GROUPS ? 0 : 16;  // rows without a group are 0
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
        #pragma unroll
        for (int i = 0; i < 8; i++) {
          unsigned char* const line_to = shared.a[stage] + i * 2048 + thread / 8 * 128 + (thread % 8 ^ thread / 8 % 8) * 16;
          cp_async_16(line_to, x + (long long)(from_0[i] + k_block * 8) * 8, bytes_0);
        }
        // decode b0_0
        write_codes<4>(shared.b0[stage] + chunk / 8 * 8192, own_term, chunk % 8, codes0, factors0);
        // read b0_0: those of the next block are on their way meanwhile
        if (k_block + 4 < k_blocks) {
          const int first = (k_block + 4) * TILE_K;
          prefetch_rows<TILE_K, 4>(codes_of_b0_0 + (long long)first * 3584, 3584, thread, 64, 128);
          prefetch_rows<2, 16>(factors_of_b0_0 + (long long)(first / 32) * 7168, 14336, thread, 2, 512);
        }
        {
          const int first = (k_block + 1) * TILE_K + own_term;
          const int count = k_block + 1 < k_blocks ? 16 : 0;
          read_codes(codes0, codes_of_b0_0 + (long long)first * 3584 + chunk * 4, 3584, count);
          read_factors(factors0, factors_of_b0_0 + chunk * 8 + (long long)(first / 32) * 7168, count > 0);
        }
        cp_async_commit();
        if (k_block >= 1) cp_async_wait<1>();  // what was asked for before
        if (k_block >= 1) fence_async();
        if (k_block >= 1) __syncwarp();
        if (k_block >= 1 && lane == 0) mbarrier_arrive(&shared.full[stage == 0 ? 3 : stage - 1]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      cp_async_wait<0>();  // the last blocks of the tile
      fence_async();
      __syncwarp();
      if (lane == 0) mbarrier_arrive(&shared.full[stage == 0 ? 3 : stage - 1]);
    }
  }
  else {
    // Consumers multiply what is there: each its own rows of A with all columns of B.
    registers_increase<200>();
    const int part = warpgroup - 1;
    float sums0[128];
    int stage = 0, phase = 0;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const Place at = place_of(tile, tile_columns, shared.starts, shared.tiles);
      // Rows that this lane copies, or -1.
      int scattered[4];
      #pragma unroll
      for (int i = 0; i < 4; i++) {
        const int at_row = at.m + part * 64 + warp * 16 + i * 4 + lane / 8;
        scattered[i] = at_row < at.end ? order[at_row] : -1;
      }
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
        // results x_2
        unsigned results0[16];  // pairs of columns
        #pragma unroll
        for (int c = 0; c < 16; c++) {
          float pair0[2] = {};
          #pragma unroll
          for (int j = 0; j < 2; j++) {
            const int i = slice * 32 + c * 2 + j;
            const float product = sums0[i];
            pair0[j] = product;
          }
          results0[c] = pack_bf16(pair0[0], pair0[1]);
        }
        // scatter x_2
        __syncwarp();  // what was staged before is copied
        #pragma unroll
        for (int c = 0; c < 4; c++) {
          // 8 x 8 results each: rows 8 apart, then columns.
          const int own = warp * 16 + lane % 16, chunk = c * 2 + lane / 16;
          stmatrix_x4(shared.staged[part] + own * 128 + (chunk ^ own % 8) * 16, results0[c * 4], results0[c * 4 + 1],
              results0[c * 4 + 2], results0[c * 4 + 3]);
        }
        __syncwarp();
        #pragma unroll
        for (int i = 0; i < 4; i++) {
          const int own = warp * 16 + i * 4 + lane / 8, line = lane % 8, m = anew(scattered[i]);
          const int n = at.n + slice * 64 + line * 8;
          if (m >= 0 && n < n_end) {
            const int i_K = m % 8;
            const int i_T = m / 8;
            bf16* const to = x_2 + ((long long)i_T * 57344 + i_K * 7168) + n;
            *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(shared.staged[part] + own * 128
                + (line ^ own % 8) * 16);
          }
        }
      }
    }
  }
}
