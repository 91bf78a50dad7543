// Addresses of shared memory.
#include "sim_machine.h"

namespace dsk::sim {
namespace {

constexpr uint32_t kRankShift = 24;

// Where dynamic memory begins: behind the static arrays, on the alignment that the widest swizzle wants.
uint32_t dynamic_start() {
  return kSharedStart + static_cast<uint32_t>((machine.kernel->shared_bytes + 1023) / 1024 * 1024);
}

bool in_static(const char* pointer, size_t bytes) {
  const Kernel& kernel = *machine.kernel;
  return pointer >= kernel.shared && pointer + bytes <= kernel.shared + kernel.shared_bytes;
}

bool in_dynamic(const Block& block, const char* pointer, size_t bytes) {
  return pointer >= block.dynamic_shared &&
         pointer + bytes <= block.dynamic_shared + machine.launch->dynamic_shared_bytes;
}

}  // namespace

uint32_t shared_address(const void* pointer) {
  const char* const p = static_cast<const char*>(pointer);
  if (in_static(p, 0)) return kSharedStart + static_cast<uint32_t>(p - machine.kernel->shared);
  for (uint32_t rank = 0; rank < machine.block_count; ++rank) {
    const Block& block = machine.blocks[rank];
    if (!in_dynamic(block, p, 0)) continue;
    const uint32_t upper = block.rank == machine.current->warp->block->rank ? 0 : (rank + 1) << kRankShift;
    return upper | (dynamic_start() + static_cast<uint32_t>(p - block.dynamic_shared));
  }
  fail("an address of shared memory is asked for, and the pointer %p is none", pointer);
}

void* shared_pointer(uint32_t address) {
  const uint32_t upper = address >> kRankShift;
  const Block& block = upper == 0 ? *machine.current->warp->block : machine.blocks[upper - 1];
  const uint32_t offset = address & ((uint32_t{1} << kRankShift) - 1);
  if (offset >= dynamic_start() && offset - dynamic_start() < machine.launch->dynamic_shared_bytes) {
    return block.dynamic_shared + (offset - dynamic_start());
  }
  if (offset >= kSharedStart && offset - kSharedStart < machine.kernel->shared_bytes) {
    return machine.kernel->shared + (offset - kSharedStart);
  }
  fail("0x%x is not an address of the block's shared memory", address);
}

uint32_t shared_end() { return dynamic_start() + machine.launch->dynamic_shared_bytes; }

void check_shared(const void* pointer, size_t bytes, const char* what) {
  const char* const p = static_cast<const char*>(pointer);
  if (in_static(p, bytes)) return;
  for (uint32_t rank = 0; rank < machine.block_count; ++rank) {
    if (in_dynamic(machine.blocks[rank], p, bytes)) return;
  }
  fail("%s: %zu bytes at %p are not in shared memory (dynamic: %u bytes from %p)", what, bytes, pointer,
       machine.launch->dynamic_shared_bytes, static_cast<const void*>(machine.current->warp->block->dynamic_shared));
}

}  // namespace dsk::sim
