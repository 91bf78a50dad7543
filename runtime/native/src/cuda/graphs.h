// Calls whose launches are the same again and again, but for their parameters: a decode step, say. The driver gets them as one graph.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"

namespace dsk::cuda {

class Graphs {
 public:
  Graphs(const Driver& driver, const Kernels& kernels) : driver_(driver), kernels_(kernels) {}

  // Runs the launches as a graph on the stream. False when this is the first call of its kind: it has to be run launch by launch,
  // since what is called once needs no graph. `at` is told which launch is looked at.
  bool run(size_t program, const Launches& launches, const CUdeviceptr (&bases)[kSpaces], CUstream stream,
           const std::function<void(const Launch*)>& at);

  // How often a graph was made, launched, and a launch in one given other parameters.
  struct Counts {
    int64_t made = 0, launched = 0, changed = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Node {
    CUgraphNode node;
    // Of `Parameters`, as the graph has them.
    std::string bytes;
  };
  struct Made {
    // The graph owns the nodes, by which what was made of it is changed.
    Owned<CUgraph> graph;
    Owned<CUgraphExec> exec;
    std::vector<Node> nodes;
  };
  struct Known {
    std::unique_ptr<Made> made;
    uint64_t used = 0;
  };
  // The program, and the entry of each launch: nodes cannot change what they run.
  using Key = std::vector<uint32_t>;

  std::unique_ptr<Made> make(const Launches& launches, const CUdeviceptr (&bases)[kSpaces],
                             const std::function<void(const Launch*)>& at);
  void change(Made& made, const Launches& launches, const CUdeviceptr (&bases)[kSpaces],
              const std::function<void(const Launch*)>& at);

  const Driver& driver_;
  const Kernels& kernels_;
  std::map<Key, Known> known_;
  uint64_t clock_ = 0;
  Parameters parameters_;
  Counts counts_;
};

}  // namespace dsk::cuda
