// wgmma: products of a warpgroup that run beside it. A product runs once all four warps have asked for it, at any time until one of
// them waits for it: then all of its reads are done, and a thread of one warp may speak for the warpgroup. Sums are in the machine's
// hands from the product until the warp's own wgmma.wait_group: in between its registers hold NaN.
#include <algorithm>
#include <cmath>
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

// One product of the warpgroup.
struct Product {
  WgmmaCall call;
  // Warps that have asked for it, and what each brought: its sums, and A's rows when they are in registers.
  uint32_t issued = 0;
  std::shared_ptr<Sums> sums[kWarps];
  unsigned a[kWarps][kLanes][4];
  bool done = false;
  Waiters waiters;
};

// What one warp has under way.
struct WarpProducts {
  bool fenced = false;
  std::vector<std::shared_ptr<Sums>> sums;
  std::vector<std::shared_ptr<Product>> open;
  std::vector<std::vector<std::shared_ptr<Product>>> groups;
  // How many it has asked for.
  uint64_t issued = 0;
};

}  // namespace

// A warpgroup.
struct WgmmaState {
  WarpProducts warps[kWarps];
  // Those that were not run yet, in their order; `finished` are gone.
  std::vector<std::shared_ptr<Product>> products;
  uint64_t finished = 0;
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

// A's 16 rows from a warp's registers (laid out as those of mma.m16n8), as [term][row].
void read_registers(const unsigned (&registers)[kLanes][4], Number number, float (*to)[kMaxN]) {
  const uint32_t width = 4 / element_bytes(number), terms = terms_of(number);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    for (uint32_t i = 0; i < 4; ++i) {
      float values[4];
      to_floats(&registers[lane][i], width, number, values);
      for (uint32_t j = 0; j < width; ++j) to[i / 2 * terms / 2 + lane % 4 * width + j][lane / 4 + i % 2 * 8] = values[j];
    }
  }
}

// The tensor cores of Hopper shift all addends of a sum of e4m3 products to the exponent of the largest one and keep 13 bits behind its
// first one: sums are coarser than f32 (DeepSeek-V3, arXiv 2412.19437, section 3.5.2).
void add_aligned(float& sum, const float (&products)[32]) {
  float largest = std::fabs(sum);
  for (const float product : products) largest = std::max(largest, std::fabs(product));
  if (largest == 0 || !std::isfinite(largest)) {
    for (const float product : products) sum += product;
    return;
  }
  int exponent;
  std::frexp(largest, &exponent);
  const double unit = std::ldexp(1.0, exponent - 1 - 13);
  double whole = std::trunc(sum / unit);
  for (const float product : products) whole += std::trunc(product / unit);
  sum = static_cast<float>(whole * unit);
}

void compute(Product& product) {
  static float a[32][kMaxN], b[32][kMaxN];
  const WgmmaCall& call = product.call;
  const uint32_t terms = terms_of(call.number);
  read_tile(Tile(call.b, call.b_mn_major), call.b_mn_major, call.number, 0, call.n, b);
  for (uint32_t warp = 0; warp < kWarps; ++warp) {
    if (call.a_registers != nullptr) {
      read_registers(product.a[warp], call.number, a);
    } else {
      read_tile(Tile(call.a, call.a_mn_major), call.a_mn_major, call.number, warp * kRows, kRows, a);
    }
    Sums& sums = *product.sums[warp];
    if (!call.accumulate) std::memset(sums.values, 0, sizeof sums.values);
    for (uint32_t i = 0; i < kRows; ++i) {
      float* const row = sums.values[i];
      if (call.number == Number::kE4m3) {
        float products[32];
        for (uint32_t j = 0; j < call.n; ++j) {
          for (uint32_t k = 0; k < 32; ++k) products[k] = a[k][i] * b[k][j];
          add_aligned(row[j], products);
        }
        continue;
      }
      for (uint32_t k = 0; k < terms; ++k) {
        const float factor = a[k][i];
        const float* const column = b[k];
        for (uint32_t j = 0; j < call.n; ++j) row[j] += factor * column[j];
      }
    }
  }
  product.done = true;
}

// The warp's part of what its warpgroup has under way.
struct Mine {
  WgmmaState& group;
  WarpProducts& warp;
  uint32_t number;
};

Mine mine_of(Warp& warp) {
  if (!warp.wgmma) {
    Warp* const first = &warp - warp.in_block % kWarps;
    if (first->in_block + kWarps > (block_dim.x * block_dim.y * block_dim.z) / kLanes) {
      fail("wgmma by a warp whose warpgroup does not have four of them");
    }
    const auto made = std::make_shared<WgmmaState>();
    for (uint32_t i = 0; i < kWarps; ++i) first[i].wgmma = made;
  }
  const uint32_t number = warp.in_block % kWarps;
  return {*warp.wgmma, warp.wgmma->warps[number], number};
}

// The sums of a product: those that are under way with the same registers, or new ones, which takes the registers away.
std::shared_ptr<Sums> take_sums(WarpProducts& warp, const WgmmaCall& call, void* const* records) {
  for (const auto& sums : warp.sums) {
    if (sums->registers[0] != call.d) continue;
    if (sums->n != call.n) fail("wgmma: sums of n = %u that are under way as n = %u", call.n, sums->n);
    return sums;
  }
  if (!warp.fenced) fail("wgmma: its sums are registers that were used since the last wgmma.fence");
  auto made = std::make_shared<Sums>();
  made->n = call.n;
  for (uint32_t lane = 0; lane < kLanes; ++lane) made->registers[lane] = static_cast<WgmmaCall*>(records[lane])->d;
  for_sums(*made, [](float& held, float& value) {
    value = held;
    held = __builtin_nanf("");
  });
  warp.sums.push_back(made);
  return made;
}

bool same(const WgmmaCall& x, const WgmmaCall& y) {
  return x.n == y.n && x.number == y.number && (x.a_registers == nullptr) == (y.a_registers == nullptr) && x.a == y.a &&
         x.b == y.b && x.a_mn_major == y.a_mn_major && x.b_mn_major == y.b_mn_major && x.accumulate == y.accumulate;
}

// The warp's next product: one that another warp of its warpgroup has asked for already, or a new one.
std::shared_ptr<Product> next_product(const Mine& mine, const WgmmaCall& call) {
  auto& products = mine.group.products;
  const uint64_t at = mine.warp.issued++ - mine.group.finished;
  if (at == products.size()) {
    products.push_back(std::make_shared<Product>());
    products.back()->call = call;
  }
  if (!same(products[at]->call, call)) fail("wgmma: another product than that of the other warps of the warpgroup");
  return products[at];
}

void add_product(Warp& warp, uint32_t, void* const* records) {
  const WgmmaCall& call = *static_cast<WgmmaCall*>(records[0]);
  const Mine mine = mine_of(warp);
  const auto product = next_product(mine, call);
  const auto sums = take_sums(mine.warp, call, records);
  ++sums->products;
  product->sums[mine.number] = sums;
  if (call.a_registers != nullptr) {
    if (!mine.warp.fenced) fail("wgmma: A is in registers that were used since the last wgmma.fence");
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      std::memcpy(product->a[mine.number][lane], static_cast<WgmmaCall*>(records[lane])->a_registers, sizeof product->a[0][0]);
    }
  }
  mine.warp.open.push_back(product);
  product->issued |= uint32_t{1} << mine.number;
  if (product->issued == (uint32_t{1} << kWarps) - 1) wake(product->waiters);
}

// Runs the warpgroup's products in their order, up to this one or to the first that a warp has not asked for.
void run_products(WgmmaState& group, const Product* until) {
  auto& products = group.products;
  size_t i = 0;
  while (i < products.size() && products[i]->issued == (uint32_t{1} << kWarps) - 1) {
    compute(*products[i]);
    ++i;
    if (products[i - 1].get() == until) break;
  }
  products.erase(products.begin(), products.begin() + static_cast<long>(i));
  group.finished += i;
}

void finish(const Mine& mine, const std::vector<std::shared_ptr<Product>>& group) {
  for (const auto& product : group) {
    while (product->issued != (uint32_t{1} << kWarps) - 1) {
      block_on(product->waiters, {"the other warps of its warpgroup, to ask for the same wgmma", nullptr, 0});
    }
    if (!product->done) run_products(mine.group, product.get());
    Sums& sums = *product->sums[mine.number];
    if (--sums.products > 0) continue;
    for_sums(sums, [](float& held, float& value) { held = value; });
    mine.warp.sums.erase(std::find(mine.warp.sums.begin(), mine.warp.sums.end(), product->sums[mine.number]));
  }
}

void for_warp(const char* name, void* record, void (*run)(Warp&, uint32_t, void* const*)) {
  if (live_lanes() != kFullMask) fail("%s, and not all lanes of the warp are there", name);
  collective(kFullMask, name, record, run);
}

}  // namespace

void wgmma(const WgmmaCall& call) {
  if (call.n % 8 != 0 || call.n < 8 || call.n > kMaxN) fail("wgmma: n = %u", call.n);
  if (call.number == Number::kE4m3 && (call.a_mn_major || call.b_mn_major)) fail("wgmma: e4m3 is K-major only");
  WgmmaCall mine = call;
  for_warp("wgmma.mma_async", &mine, add_product);
}

void wgmma_fence() {
  for_warp("wgmma.fence", nullptr, [](Warp& warp, uint32_t, void* const*) { mine_of(warp).warp.fenced = true; });
}

void wgmma_commit() {
  for_warp("wgmma.commit_group", nullptr, [](Warp& warp, uint32_t, void* const*) {
    const Mine mine = mine_of(warp);
    mine.warp.groups.emplace_back();
    mine.warp.groups.back().swap(mine.warp.open);
    // Half of the time what can run runs now, before what it reads may have come; else when it is waited for, when others may have
    // written over it.
    if (draw(2) == 0) run_products(mine.group, nullptr);
  });
}

void wgmma_wait(uint32_t groups) {
  for_warp("wgmma.wait_group", &groups, [](Warp& warp, uint32_t, void* const* records) {
    const Mine mine = mine_of(warp);
    const uint32_t left = *static_cast<uint32_t*>(records[0]);
    while (mine.warp.groups.size() > left) {
      finish(mine, mine.warp.groups.front());
      mine.warp.groups.erase(mine.warp.groups.begin());
    }
    mine.warp.fenced = false;
  });
}

void check_wgmma_finished() {
  const WarpProducts& mine = mine_of(*machine.current->warp).warp;
  if (!mine.open.empty() || !mine.groups.empty()) fail("left the kernel, and did not wait for its wgmma products");
}

Descriptor wgmma_descriptor(const void* tile, int leading, int stride) {
  return static_cast<Descriptor>((shared_address(tile) & 0x3ffff) >> 4) | static_cast<Descriptor>(leading >> 4) << 16 |
         static_cast<Descriptor>(stride >> 4) << 32 | Descriptor{1} << 62;
}

}  // namespace dsk::sim
