// TMA: boxes of tensors between global and shared memory (PTX ISA, "Tensors" and "cp.async.bulk.tensor").
#include <algorithm>
#include <cstring>

#include "harness_memory.h"
#include "harness_numbers.h"
#include "sim_bulk.h"
#include "sim_copies.h"
#include "sim_machine.h"
#include "sim_tensor_map.h"

namespace dsk::sim {
namespace {

// Shared memory is swizzled in units of 16 bytes.
constexpr uint32_t kChunk = 16;

// Where 16 bytes of a swizzled box lie: within rows of 32, 64, or 128 bytes, chunks change places by the address bits above 7.
uint32_t swizzled(uint32_t address, uint32_t swizzle) {
  const uint32_t chunks = swizzle / kChunk;
  return chunks < 2 ? address : address ^ (address >> 7 & (chunks - 1)) << 4;
}

TensorMap decode(const CUtensorMap* map, uint32_t rank, const char* what) {
  TensorMap found;
  std::memcpy(&found, map, sizeof found);
  if (found.mark != TensorMap::kMark) fail("%s: the tensor map was not made by cuTensorMapEncodeTiled", what);
  if (found.rank != rank) fail("%s: %u coordinates for a tensor of %u", what, rank, found.rank);
  return found;
}

uint32_t box_bytes(const TensorMap& map) {
  uint32_t bytes = map.element_bytes;
  for (uint32_t i = 0; i < map.rank; ++i) bytes *= map.box[i];
  return bytes;
}

// One box: calls `run(global, shared, bytes, inside)` for every chunk of 16 bytes, of which `inside` bytes lie in the tensor.
template <class Run>
void for_chunks(const TensorMap& map, const int* at, char* shared, uint32_t address, Run run) {
  const uint32_t row_bytes = map.box[0] * map.element_bytes;
  const uint32_t rows = box_bytes(map) / row_bytes;
  const int64_t first_byte = int64_t{at[0]} * map.element_bytes;
  const int64_t end_byte = static_cast<int64_t>(map.dims[0]) * map.element_bytes;
  for (uint32_t row = 0; row < rows; ++row) {
    // The row's place in the dimensions behind the first.
    uint32_t left = row;
    int64_t offset = 0;
    bool row_inside = true;
    for (uint32_t i = 1; i < map.rank; ++i) {
      const int64_t coordinate = int64_t{at[i]} + left % map.box[i];
      left /= map.box[i];
      row_inside = row_inside && coordinate >= 0 && coordinate < static_cast<int64_t>(map.dims[i]);
      offset += coordinate * static_cast<int64_t>(map.strides[i - 1]);
    }
    for (uint32_t byte = 0; byte < row_bytes; byte += kChunk) {
      const uint32_t to = swizzled(address + row * row_bytes + byte, map.swizzle) - address;
      const int64_t begin = first_byte + byte;
      // In front of the tensor's rows elements are 0, too: chunks that begin there are split by the caller's bytes.
      const int64_t skip = row_inside ? std::clamp<int64_t>(-begin, 0, kChunk) : kChunk;
      const int64_t end = row_inside ? std::clamp<int64_t>(end_byte - begin, skip, kChunk) : kChunk;
      run(map.base + offset + begin, shared + to, static_cast<uint32_t>(skip), static_cast<uint32_t>(end));
    }
  }
}

struct Box {
  TensorMap map;
  int at[5];
  char* shared;
  uint32_t address;
};

Box make_box(const CUtensorMap* map, uint32_t rank, const int* at, const void* shared, const char* what) {
  Box box{decode(map, rank, what), {}, static_cast<char*>(const_cast<void*>(shared)), 0};
  std::copy(at, at + rank, box.at);
  check_shared(shared, box_bytes(box.map), what);
  box.address = shared_address(shared);
  if (box.address % 128 != 0) fail("%s: shared memory at 0x%x is not on 128 bytes", what, box.address);
  return box;
}

struct TmaLoad : AsyncCopy {
  explicit TmaLoad(const Box& box) : box(box) {}
  bool step() override {
    for_chunks(box.map, box.at, box.shared, box.address, [](const char* global, char* shared, uint32_t begin, uint32_t end) {
      std::memset(shared, 0, kChunk);
      if (end > begin && begin < kChunk) std::memcpy(shared + begin, global + begin, end - begin);
    });
    mbarrier_complete_tx(barrier, static_cast<int>(box_bytes(box.map)));
    return false;
  }
  bool may_outlive_block() const override { return false; }

  Box box;
  SharedBarrier* barrier;
};

template <class T>
void add_elements(char* global, const char* shared, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i += sizeof(T)) {
    T value;
    std::memcpy(&value, shared + i, sizeof value);
    atomic_change(reinterpret_cast<T*>(global + i), [value](T old) { return static_cast<T>(old + value); });
  }
}

void add_chunk(Element element, char* global, const char* shared, uint32_t bytes) {
  switch (element) {
    case Element::kF32: return add_elements<float>(global, shared, bytes);
    case Element::kBf16: return add_elements<__nv_bfloat16>(global, shared, bytes);
    case Element::kF16: return add_elements<__half>(global, shared, bytes);
    case Element::kU32: return add_elements<unsigned>(global, shared, bytes);
    case Element::kI32: return add_elements<int>(global, shared, bytes);
    case Element::kU64: return add_elements<unsigned long long>(global, shared, bytes);
    default: fail("cp.reduce.async.bulk.tensor: no sums of this element type");
  }
}

struct TmaStore : BulkStore {
  TmaStore(const Box& box, Store store) : box(box), store(store) {}
  void read() override {
    held.resize(box_bytes(box.map));
    std::memcpy(held.data(), box.shared, held.size());
  }
  void write() override {
    for_chunks(box.map, box.at, held.data(), box.address, [this](char* global, char* shared, uint32_t begin, uint32_t end) {
      if (end <= begin || begin >= kChunk) return;
      if (store == Store::kAdd) return add_chunk(box.map.element, global + begin, shared + begin, end - begin);
      std::memcpy(global + begin, shared + begin, end - begin);
    });
  }

  Box box;
  Store store;
  std::vector<char> held;
};

}  // namespace

void tma_load(void* to, const CUtensorMap* map, SharedBarrier* barrier, const int* at, uint32_t rank, uint32_t blocks) {
  const Box box = make_box(map, rank, at, to, "cp.async.bulk.tensor");
  check_shared(barrier, sizeof *barrier, "cp.async.bulk.tensor");
  for (uint32_t block = 0; block < (blocks == 0 ? 1 : machine.block_count); ++block) {
    if (blocks != 0 && (blocks >> block & 1) == 0) continue;
    auto load = std::make_shared<TmaLoad>(box);
    load->barrier = barrier;
    if (blocks != 0) {
      load->box.shared = static_cast<char*>(map_shared(to, static_cast<int>(block)));
      load->barrier = static_cast<SharedBarrier*>(map_shared(barrier, static_cast<int>(block)));
    }
    machine.copies.push_back(std::move(load));
  }
  if (blocks >> machine.block_count != 0) fail("multicast to blocks 0x%x of a cluster of %u", blocks, machine.block_count);
}

void tma_store(const CUtensorMap* map, const void* from, const int* at, uint32_t rank, Store store) {
  start_store(std::make_shared<TmaStore>(make_box(map, rank, at, from, "cp.async.bulk.tensor store"), store));
}

void tma_prefetch(const CUtensorMap* map) {
  uint32_t mark;
  std::memcpy(&mark, map, sizeof mark);
  if (mark != TensorMap::kMark) fail("prefetch.tensormap: the tensor map was not made by cuTensorMapEncodeTiled");
}

}  // namespace dsk::sim
