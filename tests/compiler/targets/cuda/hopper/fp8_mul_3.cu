// fp8_mul_3: gemm for the tensor cores of sm_90a
//   read chosen: i32[T, 8]
//   read codes: f8e4m3[T, 56, 128]
//   read scale: f32[T, 56]
//   read codes_2: f8e4m3[256, 16, 128, 56, 128]
//   read scale_2: f32[256, 56, 16]
//   read codes_3: f8e4m3[256, 16, 128, 56, 128]
//   read scale_3: f32[256, 56, 16]
//   write x: bf16[T, 8, 2048]
//   write x_2: bf16[T, 8, 2048]
//   write x_3: bf16[T, 8, 2048]
// With T = 4096: 1924.1 GFLOP, 8153.7 MB; an H200 needs 1897 us, bound by memory.
// Tiles of 128x128x128, 4 stages: 4096 tiles, bound by second-level cache; 97 % of 32 waves; 128x64 costs 30 % more.
#include "dsk_sm90.cuh"
#include "dsk_mma.cuh"

constexpr int TILE_M = 128, TILE_N = 128, TILE_K = 128, STAGES = 4;
constexpr int GROUPS = 256;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char a[STAGES][16384];  // rows of A
  unsigned char b0[STAGES][16384];  // columns of B
  unsigned char b1[STAGES][16384];  // columns of B
  unsigned char staged[2][8192];  // results on their way out
  int starts[GROUPS + 2], tiles[GROUPS + 2];  // where groups and their tiles begin, and the end
  Barrier full[STAGES];  // tiles of A and B are there
  Barrier empty[STAGES];  // all warps of the consumers have multiplied them
};
static_assert(sizeof(Shared) <= 232448, "a block has 232448 bytes of shared memory");

// wgmma.mma_async: d = a * b where `adds` is 0, else d += a * b; 64 rows, 128 columns, 32 terms.
// Of A terms are neighbors, of B terms are neighbors.
DSK_INLINE void wgmma_e4m3_n128_kk(float (&d)[64], Descriptor a, Descriptor b, int adds) {
#ifdef DSK_HARNESS
  dsk::sim::wgmma_e4m3<128>(d, a, b, adds);
#else
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
               "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
               "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
               "%64, %65, p, 1, 1;\n}"
               : DSK_SUMS_8(d, 0), DSK_SUMS_8(d, 8), DSK_SUMS_8(d, 16), DSK_SUMS_8(d, 24), DSK_SUMS_8(d, 32), DSK_SUMS_8(d, 40),
                 DSK_SUMS_8(d, 48), DSK_SUMS_8(d, 56)
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
fp8_mul_3_tensor_sort(int items, int items_before, int T, const int* chosen, const f8e4m3* codes, const float* scale,
    const f8e4m3* codes_2, const float* scale_2, const f8e4m3* codes_3, const float* scale_3, bf16* x, bf16* x_2,
    bf16* x_3, int* order, int* starts) {
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
fp8_mul_3_tensor(int items, int items_before, int T, const int* chosen, const f8e4m3* codes, const float* scale,
    const f8e4m3* codes_2, const float* scale_2, const f8e4m3* codes_3, const float* scale_3, bf16* x, bf16* x_2,
    bf16* x_3, int* order, int* starts, const __grid_constant__ CUtensorMap codes_2_map,
    const __grid_constant__ CUtensorMap codes_3_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int n_end = 2048;
  const int tile_columns = (n_end + TILE_N - 1) / TILE_N;
  const int k_blocks = 56;
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
    tma_prefetch(&codes_2_map);
    tma_prefetch(&codes_3_map);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(&shared.full[i], 5);
      mbarrier_init(&shared.empty[i], 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  const int tiles = shared.tiles[GROUPS + 1] * tile_columns;
  if (warpgroup == 0) {
    // The producer fills the ring.
    registers_decrease<40>();
    int stage = 0, phase = 0;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const Place at = place_of(tile, tile_columns, shared.starts, shared.tiles);
      // Where this thread's rows begin, in lines of 16 bytes: those beyond the end are as the last one.
      int from_0[8];
      #pragma unroll
      for (int i = 0; i < 8; i++) {
        const int row = order[min(at.m + thread / 8 + i * 16, at.end - 1)];
        const int i_T = row / 8;
        from_0[i] = (int)((long long)i_T * 7168 / 16) + thread % 8;
      }
      const int bytes_0 = at.batch == GROUPS ? 0 : 16;  // rows without a group are 0
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
        if (thread == 0) mbarrier_expect(&shared.full[stage], 32768);
        #pragma unroll
        for (int i = 0; i < 8; i++) {
          unsigned char* const line_to = shared.a[stage] + i * 2048 + thread / 8 * 128 + (thread % 8 ^ thread / 8 % 8) * 16;
          cp_async_16(line_to, codes + (long long)(from_0[i] + k_block * 8) * 16, bytes_0);
        }
        if (thread == 0) {
          tma_load_3d(shared.b0[stage], &codes_2_map, &shared.full[stage], k_block * TILE_K, at.n, at.batch);
        }
        if (thread == 0) {
          tma_load_3d(shared.b1[stage], &codes_3_map, &shared.full[stage], k_block * TILE_K, at.n, at.batch);
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
    registers_increase<232>();
    const int part = warpgroup - 1;
    // Of a thread's first sum. Sum i lies i / 2 % 2 * 8 rows and i / 4 * 8 + i % 2 columns behind it.
    const int row = warp * 16 + lane / 4;
    float sums0[64];
    float sums1[64];
    float partial[64];
    float scales[4];
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
      // Rows beyond the end are not stored; what is read for them is that of the last one.
      const int m_low = order[min(at.m + part * 64 + row, at.end - 1)],
          m_high = order[min(at.m + part * 64 + row + 8, at.end - 1)];
      // clear sums0, sums1
      const auto rows_0 = [&](int m) {
        const int i_T = m / 8;
        return scale + (long long)i_T * 56;
      };
      const float *const low_0 = rows_0(m_low), *const high_0 = rows_0(m_high);
      const auto columns0_0 = [&](int n) {
        const int i_E = min(at.batch, GROUPS - 1);
        const int i_F_2 = n;
        return scale_2 + (i_E * 896 + i_F_2 / 128);
      };
      const float* const of_b0_0[1] = {columns0_0(at.n)};
      const auto columns1_0 = [&](int n) {
        const int i_E = min(at.batch, GROUPS - 1);
        const int i_F_2 = n;
        return scale_3 + (i_E * 896 + i_F_2 / 128);
      };
      const float* const of_b1_0[1] = {columns1_0(at.n)};
      #pragma unroll
      for (int i = 0; i < TILE_N / 2; i++) { sums0[i] = 0.0f; sums1[i] = 0.0f; }
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        // scales for sums0, sums1: on their way while the tiles are waited for
        scales[0] = at.batch < GROUPS ? low_0[k_block] : 0.0f, scales[1] = at.batch < GROUPS ? high_0[k_block] : 0.0f;
        scales[2] = of_b0_0[0][k_block * 16], scales[3] = of_b1_0[0][k_block * 16];
        mbarrier_wait(&shared.full[stage], phase);
        wgmma_fence();
        {
          const Descriptor a = wgmma_descriptor(shared.a[stage] + part * 8192, 0, 1024);
          const Descriptor b = wgmma_descriptor(shared.b0[stage], 0, 1024);
          #pragma unroll
          for (int k = 0; k < TILE_K / 32; k++)
            wgmma_e4m3_n128_kk(partial, wgmma_behind(a, k * 32), wgmma_behind(b, k * 32), k > 0);
        }
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_settled(partial);
        // promote sums0
        #pragma unroll
        for (int i = 0; i < TILE_N / 2; i++) sums0[i] += partial[i] * (scales[i / 2 % 2] * scales[2]);
        wgmma_fence();
        {
          const Descriptor a = wgmma_descriptor(shared.a[stage] + part * 8192, 0, 1024);
          const Descriptor b = wgmma_descriptor(shared.b1[stage], 0, 1024);
          #pragma unroll
          for (int k = 0; k < TILE_K / 32; k++)
            wgmma_e4m3_n128_kk(partial, wgmma_behind(a, k * 32), wgmma_behind(b, k * 32), k > 0);
        }
        wgmma_commit();
        wgmma_wait<0>();
        wgmma_settled(partial);
        if (lane == 0) mbarrier_arrive(&shared.empty[stage]);
        // promote sums1
        #pragma unroll
        for (int i = 0; i < TILE_N / 2; i++) sums1[i] += partial[i] * (scales[i / 2 % 2] * scales[3]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      #pragma unroll
      for (int slice = 0; slice < 2; slice++) {
        // results x, x_2, x_3
        unsigned results0[16];  // pairs of columns
        unsigned results1[16];  // pairs of columns
        unsigned results2[16];  // pairs of columns
        #pragma unroll
        for (int c = 0; c < 16; c++) {
          float pair0[2] = {}, pair1[2] = {}, pair2[2] = {};
          #pragma unroll
          for (int j = 0; j < 2; j++) {
            const int i = slice * 32 + c * 2 + j;
            const float product = sums0[i];
            const float product_2 = sums1[i];
            const float v0 = product;
            pair0[j] = v0;
            const float v1 = product_2;
            pair1[j] = v1;
            pair2[j] = silu(v0) * v1;
          }
          results0[c] = pack_bf16(pair0[0], pair0[1]);
          results1[c] = pack_bf16(pair1[0], pair1[1]);
          results2[c] = pack_bf16(pair2[0], pair2[1]);
        }
        // scatter x
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
            bf16* const to = x + ((long long)i_T * 16384 + i_K * 2048) + n;
            *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(shared.staged[part] + own * 128
                + (line ^ own % 8) * 16);
          }
        }
        // scatter x_2
        __syncwarp();  // what was staged before is copied
        #pragma unroll
        for (int c = 0; c < 4; c++) {
          // 8 x 8 results each: rows 8 apart, then columns.
          const int own = warp * 16 + lane % 16, chunk = c * 2 + lane / 16;
          stmatrix_x4(shared.staged[part] + own * 128 + (chunk ^ own % 8) * 16, results1[c * 4], results1[c * 4 + 1],
              results1[c * 4 + 2], results1[c * 4 + 3]);
        }
        __syncwarp();
        #pragma unroll
        for (int i = 0; i < 4; i++) {
          const int own = warp * 16 + i * 4 + lane / 8, line = lane % 8, m = anew(scattered[i]);
          const int n = at.n + slice * 64 + line * 8;
          if (m >= 0 && n < n_end) {
            const int i_K = m % 8;
            const int i_T = m / 8;
            bf16* const to = x_2 + ((long long)i_T * 16384 + i_K * 2048) + n;
            *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(shared.staged[part] + own * 128
                + (line ^ own % 8) * 16);
          }
        }
        // scatter x_3
        __syncwarp();  // what was staged before is copied
        #pragma unroll
        for (int c = 0; c < 4; c++) {
          // 8 x 8 results each: rows 8 apart, then columns.
          const int own = warp * 16 + lane % 16, chunk = c * 2 + lane / 16;
          stmatrix_x4(shared.staged[part] + own * 128 + (chunk ^ own % 8) * 16, results2[c * 4], results2[c * 4 + 1],
              results2[c * 4 + 2], results2[c * 4 + 3]);
        }
        __syncwarp();
        #pragma unroll
        for (int i = 0; i < 4; i++) {
          const int own = warp * 16 + i * 4 + lane / 8, line = lane % 8, m = anew(scattered[i]);
          const int n = at.n + slice * 64 + line * 8;
          if (m >= 0 && n < n_end) {
            const int i_K = m % 8;
            const int i_T = m / 8;
            bf16* const to = x_3 + ((long long)i_T * 16384 + i_K * 2048) + n;
            *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(shared.staged[part] + own * 128
                + (line ^ own % 8) * 16);
          }
        }
      }
    }
  }
}
