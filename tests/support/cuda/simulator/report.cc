#include "sim_report.h"

#include <cstdio>
#include <vector>

#include "sim_mbarrier.h"

namespace dsk::sim {
namespace {

std::string text_of(uint3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

std::string text_of(const Wait& wait) {
  char text[256];
  const std::string what = wait.what;
  if (what == "mbarrier wait") {
    return describe_mbarrier(static_cast<const SharedBarrier*>(wait.object), wait.detail);
  }
  if (what == "__syncthreads" || what == "named barrier" || what == "cluster barrier") {
    const auto& barrier = *static_cast<const Barrier*>(wait.object);
    const std::string name = what == "named barrier" ? what + " " + std::to_string(wait.detail) : what;
    std::snprintf(text, sizeof text, "%s, where %u of %u have arrived", name.c_str(), barrier.arrived, barrier.expected);
    return text;
  }
  if (what == "setmaxnreg") return "registers, to have " + std::to_string(wait.detail) + " (setmaxnreg)";
  if (wait.object == nullptr) return what;
  const auto& collective = *static_cast<const Collective*>(wait.object);
  if (collective.arrived == collective.mask) return what + ", which a lane has begun for all";
  std::snprintf(text, sizeof text, "%s of lanes %08x, where %08x have arrived", what.c_str(), collective.mask,
                collective.arrived);
  return text;
}

// Threads that wait for the same thing.
struct Group {
  Wait wait;
  const Block* block;
  std::vector<uint32_t> threads;
};

std::string ranges(const std::vector<uint32_t>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    if (!text.empty()) text += ", ";
    text += std::to_string(numbers[i]);
    if (end > i) text += "-" + std::to_string(numbers[end]);
    i = end + 1;
  }
  return text;
}

}  // namespace

std::string place_of(const Fiber& fiber) {
  return std::string("kernel ") + machine.kernel->name + ", block " + text_of(fiber.block) + ", thread " +
         text_of(fiber.thread);
}

void fail_deadlock() {
  std::vector<Group> groups;
  for (uint32_t w = 0; w < machine.warp_count; ++w) {
    const Warp& warp = machine.warps[w];
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      if ((warp.live >> lane & 1) == 0) continue;
      const Fiber& fiber = warp.fibers[lane];
      if (fiber.wait.what == nullptr) continue;
      Group* found = nullptr;
      for (Group& group : groups) {
        if (group.wait.object == fiber.wait.object && group.wait.detail == fiber.wait.detail &&
            group.wait.what == fiber.wait.what && group.block == warp.block) {
          found = &group;
        }
      }
      if (found == nullptr) found = &groups.emplace_back(Group{fiber.wait, warp.block, {}});
      found->threads.push_back(fiber.linear);
    }
  }
  std::string text = "deadlock";
  uint32_t waiting = 0;
  for (const Group& group : groups) {
    text += "; threads " + ranges(group.threads) + " of block " + text_of(group.block->index) + " wait for " +
            text_of(group.wait);
    waiting += static_cast<uint32_t>(group.threads.size());
  }
  const uint32_t all = block_dim.x * block_dim.y * block_dim.z * machine.block_count;
  if (machine.live < all) text += "; " + std::to_string(all - machine.live) + " threads have left the kernel";
  fail("%s", text.c_str());
}

}  // namespace dsk::sim
