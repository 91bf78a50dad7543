// cp.async, and what is common to bulk copies: when they take their steps, and how threads wait for them.
#include "sim_copies.h"

#include <cstring>

#include "sim_bulk.h"
#include "sim_machine.h"

namespace dsk::sim {
namespace {

void arrive(const PendingCopies::Copy& copy) {
  std::memcpy(copy.to, copy.from, copy.bytes);
  std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, copy.zeros);
}

PendingCopies& mine() {
  PendingCopies& copies = machine.current->copies;
  copies.used = true;
  return copies;
}

// A bulk copy of bytes to shared memory.
struct BulkLoad : AsyncCopy {
  BulkLoad(void* to, const void* from, int bytes, SharedBarrier* barrier)
      : to(to), from(from), bytes(bytes), barrier(barrier) {}
  bool step() override {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    mbarrier_complete_tx(barrier, bytes);
    return false;
  }
  bool may_outlive_block() const override { return false; }

  void* to;
  const void* from;
  int bytes;
  SharedBarrier* barrier;
};

void check_bulk(const void* a, const void* b, int bytes, const char* what) {
  if (bytes <= 0 || bytes % 16 != 0) fail("%s: %d bytes; it takes multiples of 16", what, bytes);
  if (reinterpret_cast<uintptr_t>(a) % 16 != 0 || reinterpret_cast<uintptr_t>(b) % 16 != 0) {
    fail("%s: an address is not a multiple of 16", what);
  }
}

}  // namespace

void cp_async(void* to, const void* from, uint32_t bytes, uint32_t read) {
  check_shared(to, bytes, "cp.async");
  if (read > bytes) fail("cp.async: %u bytes of %u", read, bytes);
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || (read > 0 && reinterpret_cast<uintptr_t>(from) % bytes != 0)) {
    fail("cp.async of %u bytes: an address is not a multiple of that", bytes);
  }
  const PendingCopies::Copy copy{to, from, read, bytes - read};
  // Half of them come at once, before whoever still reads the place is done; the others when they are waited for.
  if (draw(2) == 0) {
    arrive(copy);
  } else {
    mine().open.push_back(copy);
  }
}

void cp_async_commit() {
  PendingCopies& copies = mine();
  copies.groups.emplace_back();
  copies.groups.back().swap(copies.open);
}

void cp_async_wait(uint32_t groups) {
  auto& all = mine().groups;
  if (all.size() <= groups) return;
  const auto end = all.end() - groups;
  for (auto group = all.begin(); group != end; ++group) {
    for (const auto& copy : *group) arrive(copy);
  }
  all.erase(all.begin(), end);
}

bool BulkStore::step() {
  if (!was_read) {
    read();
    was_read = true;
    return true;
  }
  if (!was_written) write();
  was_written = true;
  return false;
}

void start_store(std::shared_ptr<BulkStore> store) {
  if (!machine.current->warp->block->proxy_fence) {
    fail("a bulk store, and no thread of the block has called fence.proxy.async since it wrote shared memory");
  }
  mine().open_stores.push_back(store);
  machine.copies.push_back(std::move(store));
}

void bulk_load(void* to, const void* from, int bytes, SharedBarrier* barrier) {
  check_bulk(to, from, bytes, "cp.async.bulk");
  check_shared(to, static_cast<size_t>(bytes), "cp.async.bulk");
  machine.copies.push_back(std::make_shared<BulkLoad>(to, from, bytes, barrier));
}

void bulk_store(void* to, const void* from, int bytes) {
  check_bulk(to, from, bytes, "cp.async.bulk");
  check_shared(from, static_cast<size_t>(bytes), "cp.async.bulk");
  struct Bytes : BulkStore {
    Bytes(void* to, const void* from, int bytes) : to(to), from(from), held(static_cast<size_t>(bytes)) {}
    void read() override { std::memcpy(held.data(), from, held.size()); }
    void write() override { std::memcpy(to, held.data(), held.size()); }
    void* to;
    const void* from;
    std::vector<char> held;
  };
  start_store(std::make_shared<Bytes>(to, from, bytes));
}

void tma_commit() {
  PendingCopies& copies = mine();
  copies.store_groups.emplace_back();
  copies.store_groups.back().swap(copies.open_stores);
}

void tma_wait(uint32_t groups, bool read) {
  auto& all = mine().store_groups;
  if (all.size() <= groups) return;
  const auto end = all.end() - groups;
  for (auto group = all.begin(); group != end; ++group) {
    for (const auto& store : *group) {
      // The machine's list still has it, and drops it at its next step.
      while (read ? !store->was_read : !store->was_written) store->step();
      store->waited = true;
    }
  }
  if (!read) all.erase(all.begin(), end);
}

void fence_async() { machine.current->warp->block->proxy_fence = true; }

void check_stores_finished() {
  const PendingCopies& copies = machine.current->copies;
  if (!copies.used) return;
  if (!copies.open_stores.empty()) fail("left the kernel with a bulk store that was not committed");
  for (const auto& group : copies.store_groups) {
    for (const auto& store : group) {
      if (!store->waited) fail("left the kernel, and did not wait until its bulk stores have read shared memory");
    }
  }
}

}  // namespace dsk::sim
