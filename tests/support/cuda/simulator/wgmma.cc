// wgmma: products of a warpgroup that run beside it. Each warp computes its 16 rows on its own, as the hardware does; nothing here
// makes the four warps wait for one another. Sums are in the machine's hands from the product until wgmma.wait_group: in between the
// registers hold NaN.
#include <algorithm>
#include <cstring>

#include "sim_elements.h"
#include "sim_machine.h"
#include "sim_report.h"
#include "sim_tensor_cores.h"
#include "sim_wgmma.h"

namespace dsk::sim {

namespace {

constexpr uint32_t kRows = 16;
constexpr uint32_t kWarps = 4;
constexpr uint32_t kMaxN = 256;

// A warp's sums: where its lanes keep them, and their values while products are under way.
struct Sums {
  float* registers[kLanes];
  uint32_t n;
  uint32_t products = 0;
  float values[kRows][kMaxN];
};

struct Product {
  WgmmaCall call;
  std::shared_ptr<Sums> sums;
  // A's rows, when they came in registers.
  unsigned a[kLanes][4];
  bool done = false;
};

}  // namespace

struct WgmmaState {
  bool fenced = false;
  std::vector<std::shared_ptr<Sums>> sums;
  std::vector<std::shared_ptr<Product>> open;
  std::vector<std::vector<std::shared_ptr<Product>>> groups;
};

namespace {

// The fragment's place of each lane's i-th sum (PTX ISA, "Register Fragments for wgmma.mma_async.m64nNk16").
template <class Move>
void for_sums(Sums& sums, Move move) {
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    for (uint32_t i = 0; i < sums.n / 2; ++i) {
      move(sums.registers[lane][i], sums.values[lane / 4 + i % 4 / 2 * 8][i / 4 * 8 + lane % 4 * 2 + i % 2]);
    }
  }
}

// A tile of shared memory as a descriptor says it lies (PTX ISA, "Matrix Descriptor" and "Strides").
class Tile {
 public:
  Tile(Descriptor descriptor, bool mn_major)
      : start_(static_cast<uint32_t>(descriptor & 0x3fff) << 4),
        leading_(static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4),
        stride_(static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4),
        mn_major_(mn_major) {
    constexpr uint32_t kSwizzles[] = {16, 128, 64, 32};
    row_bytes_ = kSwizzles[descriptor >> 62];
    if ((descriptor >> 49 & 7) != 0) fail("wgmma: a base offset in the descriptor");
    base_ = static_cast<char*>(shared_pointer(start_)) - start_;
    end_ = shared_end();
  }

  // 16 bytes: K-major of row `i`, chunk `j` of its terms; MN-major of rows from 8 i on, term `j`.
  const char* chunk(uint32_t i, uint32_t j) const {
    uint32_t address = start_ + (mn_major_ ? mn_offset(i, j) : k_offset(i, j));
    address ^= (address >> 7 & (row_bytes_ / 16 - 1)) << 4;
    if (address + 16 > end_) fail("wgmma: a tile from 0x%x on reads 0x%x, shared memory ends at 0x%x", start_, address, end_);
    return base_ + address;
  }

 private:
  uint32_t k_offset(uint32_t row, uint32_t chunk) const {
    const uint32_t groups = row / 8 * stride_ + row % 8 * row_bytes_;
    return groups + (row_bytes_ == 16 ? chunk * leading_ : chunk * 16);
  }
  uint32_t mn_offset(uint32_t rows, uint32_t term) const {
    if (row_bytes_ == 16) return rows * stride_ + term % 8 * 16 + term / 8 * leading_;
    const uint32_t chunks = row_bytes_ / 16;
    return rows / chunks * leading_ + rows % chunks * 16 + term % 8 * row_bytes_ + term / 8 * stride_;
  }

  uint32_t start_, leading_, stride_, row_bytes_, end_;
  bool mn_major_;
  char* base_;
};

// Rows `first` up to `first + count` of a tile, as [term][row].
void read_tile(const Tile& tile, bool mn_major, Number number, uint32_t first, uint32_t count, float (*to)[kMaxN]) {
  const uint32_t terms = terms_of(number), in_chunk = 16 / element_bytes(number);
  float values[16];
  if (mn_major) {
    for (uint32_t term = 0; term < terms; ++term) {
      for (uint32_t row = 0; row < count; row += 8) {
        to_floats(tile.chunk((first + row) / 8, term), 8, number, &to[term][row]);
      }
    }
    return;
  }
  for (uint32_t row = 0; row < count; ++row) {
    for (uint32_t chunk = 0; chunk < 2; ++chunk) {
      to_floats(tile.chunk(first + row, chunk), in_chunk, number, values);
      for (uint32_t i = 0; i < in_chunk; ++i) to[chunk * in_chunk + i][row] = values[i];
    }
  }
}

// A's 16 rows from the lanes' registers (laid out as those of mma.m16n8), as [term][row].
void read_registers(const Product& product, float (*to)[kMaxN]) {
  const Number number = product.call.number;
  const uint32_t width = 4 / element_bytes(number), terms = terms_of(number);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    for (uint32_t i = 0; i < 4; ++i) {
      float values[4];
      to_floats(&product.a[lane][i], width, number, values);
      for (uint32_t j = 0; j < width; ++j) to[i / 2 * terms / 2 + lane % 4 * width + j][lane / 4 + i % 2 * 8] = values[j];
    }
  }
}

DSK_SIM void compute(Product& product, uint32_t warp) {
  static float a[32][kMaxN], b[32][kMaxN];
  const WgmmaCall& call = product.call;
  Sums& sums = *product.sums;
  if (call.a_registers != nullptr) {
    read_registers(product, a);
  } else {
    read_tile(Tile(call.a, call.a_mn_major), call.a_mn_major, call.number, warp * kRows, kRows, a);
  }
  read_tile(Tile(call.b, call.b_mn_major), call.b_mn_major, call.number, 0, call.n, b);
  if (!call.accumulate) std::memset(sums.values, 0, sizeof sums.values);
  const uint32_t terms = terms_of(call.number);
  for (uint32_t i = 0; i < kRows; ++i) {
    float* const row = sums.values[i];
    for (uint32_t k = 0; k < terms; ++k) {
      const float factor = a[k][i];
      const float* const column = b[k];
      for (uint32_t j = 0; j < call.n; ++j) row[j] += factor * column[j];
    }
  }
  product.done = true;
}

DSK_SIM WgmmaState& state_of(Warp& warp) {
  if (!warp.wgmma) warp.wgmma = std::make_shared<WgmmaState>();
  return *warp.wgmma;
}

uint32_t in_warpgroup(const Warp& warp) { return warp.in_block % kWarps; }

// The sums of a product: those that are under way with the same registers, or new ones, which takes the registers away.
DSK_SIM std::shared_ptr<Sums> take_sums(WgmmaState& state, const WgmmaCall& call, void* const* records) {
  for (const auto& sums : state.sums) {
    if (sums->registers[0] != call.d) continue;
    if (sums->n != call.n) fail("wgmma: sums of n = %u that are under way as n = %u", call.n, sums->n);
    return sums;
  }
  if (!state.fenced) fail("wgmma: its sums are registers that were used since the last wgmma.fence");
  auto made = std::make_shared<Sums>();
  made->n = call.n;
  for (uint32_t lane = 0; lane < kLanes; ++lane) made->registers[lane] = static_cast<WgmmaCall*>(records[lane])->d;
  for_sums(*made, [](float& held, float& value) {
    value = held;
    held = __builtin_nanf("");
  });
  state.sums.push_back(made);
  return made;
}

DSK_SIM void add_product(Warp& warp, uint32_t, void* const* records) {
  const WgmmaCall& call = *static_cast<WgmmaCall*>(records[0]);
  WgmmaState& state = state_of(warp);
  auto product = std::make_shared<Product>();
  product->call = call;
  product->sums = take_sums(state, call, records);
  ++product->sums->products;
  if (call.a_registers != nullptr) {
    if (!state.fenced) fail("wgmma: A is in registers that were used since the last wgmma.fence");
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      std::memcpy(product->a[lane], static_cast<WgmmaCall*>(records[lane])->a_registers, sizeof product->a[lane]);
    }
  }
  state.open.push_back(std::move(product));
}

DSK_SIM void finish(WgmmaState& state, std::vector<std::shared_ptr<Product>>& group, uint32_t warp) {
  for (const auto& product : group) {
    if (!product->done) compute(*product, warp);
    Sums& sums = *product->sums;
    if (--sums.products > 0) continue;
    for_sums(sums, [](float& held, float& value) { held = value; });
    state.sums.erase(std::find(state.sums.begin(), state.sums.end(), product->sums));
  }
}

DSK_SIM void for_warp(const char* name, void* record, void (*run)(Warp&, uint32_t, void* const*)) {
  if (live_lanes() != kFullMask) fail("%s, and not all lanes of the warp are there", name);
  collective(kFullMask, name, record, run);
}

}  // namespace

DSK_SIM void wgmma(const WgmmaCall& call) {
  if (call.n % 8 != 0 || call.n < 8 || call.n > kMaxN) fail("wgmma: n = %u", call.n);
  if (call.number == Number::kE4m3 && (call.a_mn_major || call.b_mn_major)) fail("wgmma: e4m3 is K-major only");
  WgmmaCall mine = call;
  for_warp("wgmma.mma_async", &mine, add_product);
}

DSK_SIM void wgmma_fence() {
  for_warp("wgmma.fence", nullptr, [](Warp& warp, uint32_t, void* const*) { state_of(warp).fenced = true; });
}

DSK_SIM void wgmma_commit() {
  for_warp("wgmma.commit_group", nullptr, [](Warp& warp, uint32_t, void* const*) {
    WgmmaState& state = state_of(warp);
    // Half of the time all that is committed runs now, before what it reads may have come; else when it is waited for, when
    // others may have written over it.
    if (draw(2) == 0) {
      for (auto& group : state.groups) {
        for (const auto& product : group) {
          if (!product->done) compute(*product, in_warpgroup(warp));
        }
      }
      for (const auto& product : state.open) compute(*product, in_warpgroup(warp));
    }
    state.groups.emplace_back();
    state.groups.back().swap(state.open);
  });
}

DSK_SIM void wgmma_wait(uint32_t groups) {
  for_warp("wgmma.wait_group", &groups, [](Warp& warp, uint32_t, void* const* records) {
    WgmmaState& state = state_of(warp);
    const uint32_t left = *static_cast<uint32_t*>(records[0]);
    while (state.groups.size() > left) {
      finish(state, state.groups.front(), in_warpgroup(warp));
      state.groups.erase(state.groups.begin());
    }
    state.fenced = false;
  });
}

DSK_SIM void check_wgmma_finished() {
  const WgmmaState& state = *machine.current->warp->wgmma;
  if (!state.open.empty() || !state.groups.empty()) fail("left the kernel, and did not wait for its wgmma products");
}

DSK_SIM Descriptor wgmma_descriptor(const void* tile, int leading, int stride) {
  return static_cast<Descriptor>((shared_address(tile) & 0x3ffff) >> 4) | static_cast<Descriptor>(leading >> 4) << 16 |
         static_cast<Descriptor>(stride >> 4) << 32 | Descriptor{1} << 62;
}

}  // namespace dsk::sim
