// A package on a GPU: its kernels, the memory they share, and the thread that hands calls to the driver one after the other.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "../queue.h"
#include "graphs.h"
#include "kernels.h"
#include "memory.h"

namespace dsk::cuda {

// A param or a state.
struct Store {
  int64_t offset;
  int64_t bytes;
};

struct ProgramSpec {
  std::string name;
  // What errors call each launch: its kernel and the place in the .dsk text.
  std::vector<std::string> launches;
};

struct Config {
  int device = 0;
  std::vector<Image> images;
  std::vector<EntrySpec> entries;
  std::vector<ProgramSpec> programs;
  std::map<std::string, Store> stores;
  int64_t store_bytes = 0;
  int64_t cache_bytes = 0;
  bool profile = false;
  // Waits for every launch, so that an error names the one that made it.
  bool check = false;
};

// Of an input or an output: where it lies in the arena, and memory of the caller.
struct Copy {
  int64_t offset;
  char* data;
  int64_t bytes;
};

struct Call {
  uint64_t id;
  size_t program;
  Launches launches;
  int64_t arena;
  // Whether calls of its kind become graphs.
  bool graph;
  // Inputs are read by `submit`, outputs are written before the end is reported.
  std::vector<Copy> inputs;
  std::vector<Copy> outputs;
};

struct Usage {
  int64_t arena, stores, caches, graphs_made, graphs_launched, graphs_changed;
};

// Of a launch, summed over calls.
struct Timing {
  int64_t calls = 0;
  double nanoseconds = 0;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  // Params, states and caches are zero. Throws NoDriverError, DriverError.
  static std::shared_ptr<Session> open(Config config, Queue::Report report, std::function<void()> closed);
  ~Session();

  // Checks a call, copies its inputs and puts it behind the others. Throws when it does not fit.
  void submit(const Call& call);
  Queue& queue() { return queue_; }

  // Of a whole param or state. Only while no call is under way.
  const Store& store(const std::string& name) const;
  void read(const Store& store, char* into);
  void write(const Store& store, const char* from);
  int64_t first_non_finite(const Store& store, const std::string& dtype);

  // Bytes of the GPU that nobody has, and all of it.
  std::pair<int64_t, int64_t> free_memory();
  Usage usage() const;
  // By program and launch.
  std::vector<std::vector<Timing>> timings() const;
  size_t programs() const { return programs_.size(); }
  const Kernels& kernels() const { return *kernels_; }

 private:
  struct Bound;

  Session(Config config, Queue::Report report, std::function<void()> closed);
  void check_launches(const Call& call) const;
  Outcome execute(Bound& bound);
  bool run_launches(const Bound& bound, const CUdeviceptr (&bases)[kSpaces], const std::function<void(const Launch*)>& at);
  void take_times(const Bound& bound);
  // Copies a store through two blocks of pinned memory: `each` sees a part while the next one is on its way.
  template <class Each>
  void each_part(const Store& store, bool reads, Each each);
  void use() const;
  void lose(const std::string& why);
  std::string named(const Bound& bound, const Launch* launch) const;
  void release();

  const Driver& driver_;
  const std::vector<ProgramSpec> programs_;
  const std::map<std::string, Store> stores_;
  const bool profile_;
  const bool check_;

  // Members are destroyed from the last one on: the context goes last.
  std::unique_ptr<Context> context_;
  std::unique_ptr<Kernels> kernels_;
  Owned<CUstream> stream_;
  // Of copies that no call waits for.
  Owned<CUstream> copies_;
  std::unique_ptr<Staging> staging_;
  std::unique_ptr<DeviceBlock> store_block_;
  std::unique_ptr<DeviceBlock> cache_block_;
  std::unique_ptr<DeviceBlock> arena_;
  std::unique_ptr<Graphs> graphs_;
  // Bounds of launches that are timed; of windows of launches that are on their way.
  std::vector<Owned<CUevent>> times_;
  Owned<CUevent> windows_[2];
  Parameters parameters_;

  mutable std::mutex mutex_;
  // Why nothing works any more; empty as long as it does.
  std::string lost_;
  Usage usage_{};
  std::vector<std::vector<Timing>> timings_;

  Queue queue_;
};

}  // namespace dsk::cuda
