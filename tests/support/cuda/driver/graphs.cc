// Graphs of launches. Nodes that no edge orders run in an order that the seed decides.
#include <algorithm>
#include <random>

#include "state.h"

struct CUgraphNode_st {
  dsk::driver::KernelCall call;
  std::vector<CUgraphNode> before;
};

struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};

struct CUgraphExec_st {
  // Nodes keep the handles of the graph they were made from.
  struct Node {
    CUgraphNode handle;
    dsk::driver::KernelCall call;
    std::vector<size_t> before;
  };
  std::vector<Node> nodes;
};

namespace dsk::driver {
namespace {

CUresult set_call(const CUDA_KERNEL_NODE_PARAMS& params, KernelCall& call) {
  if (params.extra != nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return make_call(params.func, {params.gridDimX, params.gridDimY, params.gridDimZ},
                   {params.blockDimX, params.blockDimY, params.blockDimZ}, params.sharedMemBytes, params.kernelParams, call);
}

void run_nodes(const std::vector<CUgraphExec_st::Node>& nodes) {
  static std::mt19937 random(static_cast<uint32_t>(std::stoul(setting("DSK_SEED", "1"))));
  std::vector<bool> done(nodes.size(), false);
  for (size_t left = nodes.size(); left > 0; --left) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const auto& before = nodes[i].before;
      if (!done[i] && std::all_of(before.begin(), before.end(), [&](size_t node) { return done[node]; })) ready.push_back(i);
    }
    const size_t chosen = ready[random() % ready.size()];
    if (broken() == CUDA_SUCCESS) run_call(nodes[chosen].call);
    done[chosen] = true;
  }
}

}  // namespace
}  // namespace dsk::driver

using namespace dsk::driver;

DSK_API cuGraphCreate(CUgraph* graph, unsigned int) {
  DSK_CALL("cuGraphCreate");
  *graph = new CUgraph_st;
  return CUDA_SUCCESS;
}

DSK_API cuGraphDestroy(CUgraph graph) {
  DSK_CALL("cuGraphDestroy");
  delete graph;
  return CUDA_SUCCESS;
}

DSK_API cuGraphAddKernelNode_v2(CUgraphNode* node, CUgraph graph, const CUgraphNode* before, size_t count,
                                const CUDA_KERNEL_NODE_PARAMS* params) {
  DSK_CALL("cuGraphAddKernelNode");
  auto made = std::make_unique<CUgraphNode_st>();
  const CUresult result = set_call(*params, made->call);
  if (result != CUDA_SUCCESS) return result;
  if (count > 0) made->before.assign(before, before + count);
  *node = made.get();
  graph->nodes.push_back(std::move(made));
  return CUDA_SUCCESS;
}

DSK_API cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  DSK_CALL("cuGraphInstantiate");
  auto made = std::make_unique<CUgraphExec_st>();
  for (const auto& node : graph->nodes) {
    std::vector<size_t> before;
    for (const CUgraphNode handle : node->before) {
      size_t i = 0;
      while (i < made->nodes.size() && made->nodes[i].handle != handle) ++i;
      if (i == made->nodes.size()) return CUDA_ERROR_INVALID_VALUE;
      before.push_back(i);
    }
    made->nodes.push_back({node.get(), node->call, std::move(before)});
  }
  *exec = made.release();
  return CUDA_SUCCESS;
}

DSK_API cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* params) {
  DSK_CALL("cuGraphExecKernelNodeSetParams");
  for (auto& known : exec->nodes) {
    if (known.handle == node) return set_call(*params, known.call);
  }
  return CUDA_ERROR_INVALID_VALUE;
}

// Parameters are those of now: what is set later is for later launches.
DSK_API cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  DSK_CALL("cuGraphLaunch");
  enqueue(stream, [nodes = exec->nodes] { run_nodes(nodes); });
  return CUDA_SUCCESS;
}

DSK_API cuGraphExecDestroy(CUgraphExec exec) {
  DSK_CALL("cuGraphExecDestroy");
  delete exec;
  return CUDA_SUCCESS;
}
