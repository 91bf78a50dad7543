// The threads that share the work items of a launch.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace dsk {

// One launch: a kernel's `run` with its arguments (abi.h).
struct Task {
  void (*run)(void* const* args, const int64_t* extents, int64_t begin, int64_t end, char* scratch);
  void* const* args;
  const int64_t* extents;
  int64_t items;
  // Thread i (0 is the caller) has the scratch memory from `scratch + i * stride` on.
  char* scratch;
  int64_t stride;
};

// The workers of the process, which all sessions share: more threads than processors would only wait for each other.
//
// A decode step has hundreds of launches of a few microseconds, so a launch is handed over without system calls: workers
// look for the next one for a while before they sleep. Items are claimed in chunks, and a launch is over when its chunks are
// done: nobody waits for a worker that is asleep or that the system took the processor from before it claimed anything.
//
// Thread i begins with the i-th part of the items. The items of most launches are rows in the same order, so a thread finds
// in its cache what it wrote there: from the cache of another core, reading takes four times as long.
class Pool {
 public:
  static Pool& shared();

  // Makes sure that launches can have so many threads, the caller among them.
  void grow(int threads);
  // Runs the items on the caller and up to `threads` - 1 workers, and returns when all are done. With more than one thread,
  // the caller has the turn.
  void run(const Task& task, int threads);

 private:
  friend class Turn;

  static constexpr int kMaxThreads = 1024;

  void publish(const Task& task, int threads);
  void work(uint64_t job, int index);
  void loop(int index);
  void sleep(uint64_t seen);

  // The number of the launch.
  alignas(64) std::atomic<uint64_t> job_{0};
  // Chunks that are not done.
  alignas(64) std::atomic<uint32_t> pending_{0};
  alignas(64) std::atomic<uint32_t> wakes_{0};
  std::atomic<int32_t> sleepers_{0};

  // The launch. A worker may read these while the next launch is written, but then its claim fails.
  alignas(64) std::atomic<decltype(Task::run)> run_{nullptr};
  std::atomic<void* const*> args_{nullptr};
  std::atomic<const int64_t*> extents_{nullptr};
  std::atomic<int64_t> items_{0};
  std::atomic<char*> scratch_{nullptr};
  std::atomic<int64_t> stride_{0};
  std::atomic<uint32_t> chunks_{0};
  std::atomic<int> threads_{0};
  // What is unclaimed of each thread's share: one word with the number of the launch, so that a claim can only succeed for
  // the launch that was looked at.
  struct alignas(64) Share {
    std::atomic<uint64_t> unclaimed{0};
  };
  Share shares_[kMaxThreads];

  // Whose turn it is to share out launches, in the order of asking.
  alignas(64) std::atomic<uint32_t> asked_{0};
  std::atomic<uint32_t> served_{0};

  std::mutex growth_;
  int workers_ = 0;
};

// The right to share out launches, for as long as the object lives. A session keeps it for a while, since handing it over
// costs more than a small launch does.
class Turn {
 public:
  // Waits for those that asked before.
  explicit Turn(Pool& pool);
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  // Between launches: lets those go first that wait, once this one had its time. Returns whether it did.
  bool pass();

 private:
  void take();
  void give();

  Pool& pool_;
  std::chrono::steady_clock::time_point since_;
};

// Runs on a thread of its own that gets no signals: they are for the threads of Node.
void start_thread(const char* name, void (*body)(void*), void* argument);

}  // namespace dsk
