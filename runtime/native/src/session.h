// A package on the CPU: its programs, the memory they share, and the thread that runs calls one after the other.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "choose.h"
#include "library.h"
#include "memory.h"
#include "program.h"
#include "queue.h"

namespace dsk {

// A param or a state whose bytes are those of a file from an offset on.
struct Mapping {
  std::string store;
  std::string file;
  int64_t offset;
};

struct Config {
  std::string library;
  std::vector<Program> programs;
  std::vector<Mapping> mappings;
  int64_t cache_rows = 0;
  int threads = 1;
  bool profile = false;
};

// A param, a state or a cache.
struct Store {
  Kind kind;
  int64_t bits;
  int64_t bytes;
  // Of the session's own memory or of a mapped file.
  char* data = nullptr;
};

struct Copy {
  int64_t buffer;
  char* data;
  int64_t bytes;
};

struct Call {
  uint64_t id;
  size_t program;
  // Of the run-time dims, in the program's order.
  std::vector<int64_t> sizes;
  // By buffer: where a temp lies in the arena; anything for the others.
  std::vector<int64_t> offsets;
  int64_t arena;
  // What the caller's arrays have: inputs are read by `submit`, outputs are written before the end is reported.
  std::vector<Copy> inputs;
  std::vector<Copy> outputs;
  // Made when the launches are over; written like outputs.
  Choices choices;
};

struct Usage {
  int64_t arena, arena_high_water, scratch, transfers, stores, mapped, caches;
};

// Of a launch, summed over calls.
struct Timing {
  int64_t calls = 0;
  int64_t items = 0;
  int64_t nanoseconds = 0;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  static std::shared_ptr<Session> open(Config config, Queue::Report report, std::function<void()> closed);

  // Checks a call, copies its inputs and puts it behind the others. Throws when it does not fit the program.
  void submit(const Call& call);
  // The memory goes when the queue is closed and the last launch is over.
  Queue& queue() { return queue_; }

  // Bytes of scratch memory of all threads in a call with such sizes, which chooses among so many tokens (0: it does not).
  int64_t scratch_bytes(size_t program, const std::vector<int64_t>& sizes, int64_t tokens) const;
  // The memory of a param or a state. Only while no call is under way.
  const Store& store(const std::string& name) const;
  Usage usage() const;
  // By program and launch.
  std::vector<std::vector<Timing>> timings() const;
  const std::vector<Program>& programs() const { return programs_; }

 private:
  // Scratch memory: of all items of a launch together, and of each thread.
  struct Scratch {
    int64_t shared, stride;
  };
  Scratch scratch_of(size_t program, const std::vector<int64_t>& sizes, int64_t tokens) const;
  int64_t total(const Scratch& scratch) const;
  // A call with all that its launches need but pointers.
  struct Bound;

  Session(Config config, Queue::Report report, std::function<void()> closed);
  void find_stores();
  void map_stores(const Config& config);
  void allocate_stores();
  std::unique_ptr<Bound> bind(const Call& call) const;
  void bind_copies(Bound& bound, const Call& call, const std::vector<int64_t>& bytes) const;
  void bind_choices(Bound& bound, const Call& call) const;
  Outcome execute(Bound& bound);
  Outcome run_launches(Bound& bound);
  void make_choices(const Bound& bound);
  std::vector<char*> place(Bound& bound);

  const Library library_;
  std::vector<Program> programs_;
  const int threads_;
  const int64_t cache_rows_;
  const bool profile_;

  // Params and states share their names; caches have their own.
  std::map<std::string, Store> stores_;
  std::map<std::string, Store> caches_;
  std::map<std::string, FileMap> files_;
  Block store_block_;
  Block cache_block_;
  int64_t mapped_bytes_ = 0;
  // By program and buffer: where params, states and caches are.
  std::vector<std::vector<char*>> kept_;

  // Of the session's thread.
  Block arena_;
  Block scratch_;
  Block outputs_;

  mutable std::mutex mutex_;
  Usage usage_{};
  std::vector<std::vector<Timing>> timings_;

  Queue queue_;
};

}  // namespace dsk
