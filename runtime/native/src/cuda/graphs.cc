#include "graphs.h"

#include <algorithm>

namespace dsk::cuda {
namespace {

// Kinds of calls that are known; the least recently used one goes.
constexpr size_t kMost = 64;

}  // namespace

bool Graphs::run(size_t program, const Launches& launches, const CUdeviceptr (&bases)[kSpaces], CUstream stream,
                 const std::function<void(const Launch*)>& at) {
  Key key{static_cast<uint32_t>(program)};
  for (const Launch& launch : launches.list) key.push_back(launch.entry);
  const auto [found, first] = known_.try_emplace(std::move(key));
  found->second.used = ++clock_;
  if (first) {
    if (known_.size() > kMost) {
      const auto older = [](const auto& a, const auto& b) { return a.second.used < b.second.used; };
      known_.erase(std::min_element(known_.begin(), known_.end(), older));
    }
    return false;
  }
  std::unique_ptr<Made>& made = found->second.made;
  if (made == nullptr) {
    made = make(launches, bases, at);
  } else {
    try {
      change(*made, launches, bases, at);
    } catch (...) {
      // Part of it is changed, and nobody knows which.
      made.reset();
      throw;
    }
  }
  at(nullptr);
  DSK_CUDA(driver_, cuGraphLaunch, made->exec.get(), stream);
  ++counts_.launched;
  return true;
}

std::unique_ptr<Graphs::Made> Graphs::make(const Launches& launches, const CUdeviceptr (&bases)[kSpaces],
                                           const std::function<void(const Launch*)>& at) {
  auto made = std::make_unique<Made>();
  CUgraph graph = nullptr;
  DSK_CUDA(driver_, cuGraphCreate, &graph, 0);
  made->graph = {graph, driver_.cuGraphDestroy};
  for (const Launch& launch : launches.list) {
    at(&launch);
    kernels_.bind(launches, launch, bases, parameters_);
    const CUDA_KERNEL_NODE_PARAMS_v2 given = kernels_.node(launch, parameters_);
    // Each waits for the one before it.
    const CUgraphNode* const before = made->nodes.empty() ? nullptr : &made->nodes.back().node;
    CUgraphNode node = nullptr;
    DSK_CUDA(driver_, cuGraphAddKernelNode_v2, &node, graph, before, before == nullptr ? 0 : 1, &given);
    made->nodes.push_back({node, parameters_.bytes()});
  }
  at(nullptr);
  CUgraphExec exec = nullptr;
  DSK_CUDA(driver_, cuGraphInstantiateWithFlags, &exec, graph, 0);
  made->exec = {exec, driver_.cuGraphExecDestroy};
  ++counts_.made;
  return made;
}

void Graphs::change(Made& made, const Launches& launches, const CUdeviceptr (&bases)[kSpaces],
                    const std::function<void(const Launch*)>& at) {
  for (size_t i = 0; i < made.nodes.size(); ++i) {
    const Launch& launch = launches.list[i];
    Node& node = made.nodes[i];
    at(&launch);
    kernels_.bind(launches, launch, bases, parameters_);
    if (parameters_.bytes() == node.bytes) continue;
    const CUDA_KERNEL_NODE_PARAMS_v2 given = kernels_.node(launch, parameters_);
    DSK_CUDA(driver_, cuGraphExecKernelNodeSetParams_v2, made.exec.get(), node.node, &given);
    node.bytes = parameters_.bytes();
    ++counts_.changed;
  }
}

}  // namespace dsk::cuda
