// fp8_gradients_of_experts: gemm for the tensor cores of sm_90a
//   read codes: f8e4m3[T_by_128_times_8_plus_256, 7168, 128]
//   read scale: f32[T_by_128_times_8_plus_256, 7168]
//   read codes_2: f8e4m3[T_by_128_times_8_plus_256, 2048, 128]
//   read scale_2: f32[T_by_128_times_8_plus_256, 2048]
//   read codes_3: f8e4m3[T_by_128_times_8_plus_256, 2048, 128]
//   read scale_3: f32[T_by_128_times_8_plus_256, 2048]
//   read experts: i32[T_by_128_times_8_plus_256]
//   write x: bf16[256, 7168, 2048]
//   write x_2: bf16[256, 7168, 2048]
// With T_by_128_times_8_plus_256 = 512: 3848.3 GFLOP, 15770.6 MB; an H200 needs 3668 us, bound by memory.
// Tiles of 128x128x128, 3 stages: 229376 tiles, bound by second-level cache; 100 % of 1738 waves; 128x64 costs 20 % more.
#include "dsk_sm90.cuh"

constexpr int TILE_M = 128, TILE_N = 128, TILE_K = 128, STAGES = 3;
constexpr int GROUPS = 256;

// Tiles lie at multiples of 1024 bytes: the pattern of 128-byte swizzle repeats there.
struct alignas(1024) Shared {
  unsigned char a[STAGES][16384];  // rows of A
  unsigned char b0[STAGES][16384];  // columns of B
  unsigned char b1[STAGES][16384];  // columns of B
  unsigned char staged[2][2][8192];  // results on their way out
  unsigned char scales_b0[STAGES][512];  // what columns of B are scaled by
  unsigned char scales_b1[STAGES][512];  // what columns of B are scaled by
  int starts[GROUPS + 2];  // where groups and their tiles begin, and the end
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

// A tile's terms are those of its group, from `first` to `end` in their order.
struct Place {
  int m, n, batch, first, end;
};
DSK_INLINE Place place_of(int tile, int rows, int columns, const int* starts) {
  const int group = tile / (rows * columns), i = tile % (rows * columns);
  const int first = i / (8 * columns) * 8, height = min(8, rows - first), j = i - first * columns;
  return {(first + j % height) * TILE_M, j / height * TILE_N, group, starts[group], starts[group + 1]};
}

// Block g writes down the tiles of terms of group g in their order.
extern "C" __global__ void __launch_bounds__(1024)
fp8_gradients_of_experts_tensor_sort(int items, int items_before, int T_by_128_times_8_plus_256, const f8e4m3* codes,
    const float* scale, const f8e4m3* codes_2, const float* scale_2, const f8e4m3* codes_3, const float* scale_3,
    const int* experts, bf16* x, bf16* x_2, int* order, int* starts) {
  const int thread = threadIdx.x;
  __shared__ int counts[32];
  const int own = blockIdx.x, warp = thread / 32, lane = thread % 32;
  const int sorted_end = T_by_128_times_8_plus_256;
  // The group of a row; 256 for none.
  const auto group_of = [&](int i) {
    const int i_T_128_8_256 = i;
    const int group = experts[i_T_128_8_256];
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
fp8_gradients_of_experts_tensor(int items, int items_before, int T_by_128_times_8_plus_256, const f8e4m3* codes,
    const float* scale, const f8e4m3* codes_2, const float* scale_2, const f8e4m3* codes_3, const float* scale_3,
    const int* experts, bf16* x, bf16* x_2, int* order, int* starts, const __grid_constant__ CUtensorMap codes_map,
    const __grid_constant__ CUtensorMap codes_2_map, const __grid_constant__ CUtensorMap scale_2_map,
    const __grid_constant__ CUtensorMap codes_3_map, const __grid_constant__ CUtensorMap scale_3_map,
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap x_2_map) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  // The same in all threads of a warp, as the compiler sees by the shuffle.
  const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0);
  const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
  const int m_end = 7168, n_end = 2048;
  const int tile_rows = (m_end + TILE_M - 1) / TILE_M, tile_columns = (n_end + TILE_N - 1) / TILE_N;
  for (int i = threadIdx.x; i < GROUPS + 2; i += blockDim.x) shared.starts[i] = starts[i];
  if (threadIdx.x == 0) {
    tma_prefetch(&codes_map);
    tma_prefetch(&codes_2_map);
    tma_prefetch(&scale_2_map);
    tma_prefetch(&codes_3_map);
    tma_prefetch(&scale_3_map);
    tma_prefetch(&x_map);
    tma_prefetch(&x_2_map);
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
        const Place at = place_of(tile, tile_rows, tile_columns, shared.starts);
        const int k_blocks = max(1, at.end - at.first);
        int next = at.first < at.end ? order[at.first] : -1;  // the tile of terms that comes next
        for (int k_block = 0; k_block < k_blocks; k_block++) {
          const int block = next, behind = at.first + k_block + 1;
          if (behind < at.end) next = order[behind];
          mbarrier_wait(&shared.empty[stage], phase ^ 1);  // passes at once on the first way round
          mbarrier_expect(&shared.full[stage], 50176);
          tma_load_3d(shared.a[stage], &codes_map, &shared.full[stage], 0, at.m, block);
          tma_load_3d(shared.b0[stage], &codes_2_map, &shared.full[stage], 0, at.n, block);
          tma_load_3d(shared.b1[stage], &codes_3_map, &shared.full[stage], 0, at.n, block);
          tma_load_2d(shared.scales_b0[stage], &scale_2_map, &shared.full[stage], at.n, block);
          tma_load_2d(shared.scales_b1[stage], &scale_3_map, &shared.full[stage], at.n, block);
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
    const int row = warp * 16 + lane / 4;
    float sums0[64];
    float sums1[64];
    float partial[64];
    float scales[2];
    int stage = 0, phase = 0;
    int stored = 0;
    for (int tile = blockIdx.x; tile < items; tile += gridDim.x) {
      const Place at = place_of(tile, tile_rows, tile_columns, shared.starts);
      const int k_blocks = max(1, at.end - at.first);
      // Rows beyond the end are not stored; what is read for them is that of the last one.
      const int m_low = min(at.m + part * 64 + row, m_end - 1), m_high = min(at.m + part * 64 + row + 8, m_end - 1);
      // clear sums0, sums1
      const auto rows_0 = [&](int m) {
        const int i_D = m;
        return scale + i_D;
      };
      const float *const low_0 = rows_0(m_low), *const high_0 = rows_0(m_high);
      #pragma unroll
      for (int i = 0; i < TILE_N / 2; i++) { sums0[i] = 0.0f; sums1[i] = 0.0f; }
      int next = at.first < at.end ? order[at.first] : -1;  // the tile of terms that comes next
      for (int k_block = 0; k_block < k_blocks; k_block++) {
        const int block = next, behind = at.first + k_block + 1;
        if (behind < at.end) next = order[behind];
        // scales for sums0, sums1: on their way while the tiles are waited for
        scales[0] = block >= 0 ? low_0[block * 7168] : 0.0f, scales[1] = block >= 0 ? high_0[block * 7168] : 0.0f;
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
        {
          const float2* const of_columns = reinterpret_cast<const float2*>(shared.scales_b0[stage]) + lane % 4;
          #pragma unroll
          for (int i = 0; i < TILE_N / 2; i += 4) {
            const float2 of_pair = of_columns[i];
            sums0[i + 0] += partial[i + 0] * (scales[0] * of_pair.x);
            sums0[i + 2] += partial[i + 2] * (scales[1] * of_pair.x);
            sums0[i + 1] += partial[i + 1] * (scales[0] * of_pair.y);
            sums0[i + 3] += partial[i + 3] * (scales[1] * of_pair.y);
          }
        }
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
        // promote sums1
        {
          const float2* const of_columns = reinterpret_cast<const float2*>(shared.scales_b1[stage]) + lane % 4;
          #pragma unroll
          for (int i = 0; i < TILE_N / 2; i += 4) {
            const float2 of_pair = of_columns[i];
            sums1[i + 0] += partial[i + 0] * (scales[0] * of_pair.x);
            sums1[i + 2] += partial[i + 2] * (scales[1] * of_pair.x);
            sums1[i + 1] += partial[i + 1] * (scales[0] * of_pair.y);
            sums1[i + 3] += partial[i + 3] * (scales[1] * of_pair.y);
          }
        }
        if (lane == 0) mbarrier_arrive(&shared.empty[stage]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      #pragma unroll
      for (int slice = 0; slice < 2; slice++) {
        // results x, x_2
        unsigned results0[16];  // pairs of columns
        unsigned results1[16];  // pairs of columns
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
          results0[c] = pack_bf16(pair0[0], pair0[1]);
          results1[c] = pack_bf16(pair1[0], pair1[1]);
        }
        if (thread == 0) tma_wait_read<1>();  // the slot was read
        named_barrier_sync(1 + part, 128);  // own_warps
        // stage x
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
          tma_store_3d(&x_map, shared.staged[part][stored], at.n + slice * 64, at.m + part * 64, at.batch);
        }
        if (thread == 0) tma_commit();
        stored = stored + 1 == 2 ? 0 : stored + 1;
        if (thread == 0) tma_wait_read<1>();  // the slot was read
        named_barrier_sync(1 + part, 128);  // own_warps
        // stage x_2
        #pragma unroll
        for (int c = 0; c < 4; c++) {
          // 8 x 8 results each: rows 8 apart, then columns.
          const int own = warp * 16 + lane % 16, chunk = c * 2 + lane / 16;
          stmatrix_x4(shared.staged[part][stored] + own * 128 + (chunk ^ own % 8) * 16, results1[c * 4], results1[c * 4 + 1],
              results1[c * 4 + 2], results1[c * 4 + 3]);
        }
        fence_async();
        named_barrier_sync(1 + part, 128);  // all warps have written and published it
        if (thread == 0) {
          tma_store_3d(&x_2_map, shared.staged[part][stored], at.n + slice * 64, at.m + part * 64, at.batch);
        }
        if (thread == 0) tma_commit();
        stored = stored + 1 == 2 ? 0 : stored + 1;
      }
    }
    if (thread == 0) tma_wait_read<0>();  // shared memory goes when the block ends
  }
}
