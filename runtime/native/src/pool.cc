#include "pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>

namespace dsk {
namespace {

// Chunks per thread: threads that got slow items, or lost their processor for a while, leave the rest to others.
constexpr int kChunksPerThread = 8;

// How long a thread looks before it sleeps: longer than what usually lies between two launches.
constexpr auto kSpin = std::chrono::microseconds(100);

// How long a session keeps the turn while others wait.
constexpr auto kTurn = std::chrono::milliseconds(1);

// A thread's share of a launch: the launch's number and which of its chunks are unclaimed, `first` up to `end`.
constexpr int kBits = 4;
constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
static_assert(kChunksPerThread <= kMask);

uint64_t share_of(uint64_t job, uint64_t first, uint64_t end) { return job << 2 * kBits | first << kBits | end; }
uint64_t job_of(uint64_t share) { return share >> 2 * kBits; }
uint64_t first_of(uint64_t share) { return share >> kBits & kMask; }
uint64_t end_of(uint64_t share) { return share & kMask; }

// The first chunk of thread i's share of a launch; that of `threads` is the end.
uint32_t first_chunk(uint32_t chunks, int threads, int i) {
  return static_cast<uint32_t>(uint64_t{chunks} * static_cast<uint64_t>(i) / static_cast<uint64_t>(threads));
}

// What a kernel finds at the beginning of its scratch memory (abi.h).
void clear(const Task& task, char* scratch) {
  if (task.stride > 0) std::memset(scratch, 0, static_cast<size_t>(std::min<int64_t>(task.stride, 64)));
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Looks for a while. Returns whether it came true.
template <class Condition>
bool spin(Condition condition) {
  for (auto end = std::chrono::steady_clock::time_point::max();;) {
    for (int i = 0; i < 64; ++i) {
      if (condition()) return true;
      pause();
    }
    const auto now = std::chrono::steady_clock::now();
    if (now >= end) return false;
    end = std::min(end, now + kSpin);
  }
}

}  // namespace

Pool& Pool::shared() {
  // Never destroyed: workers outlive static objects when the process ends.
  static auto* const pool = new Pool;
  return *pool;
}

void Pool::grow(int threads) {
  const std::lock_guard lock(growth_);
  struct Start {
    Pool* pool;
    int index;
  };
  for (threads = std::min(threads, kMaxThreads); workers_ < threads - 1; ++workers_) {
    auto* const start = new Start{this, workers_ + 1};
    start_thread(
        "dskc-worker",
        [](void* argument) {
          const Start start = *static_cast<Start*>(argument);
          delete static_cast<Start*>(argument);
          start.pool->loop(start.index);
        },
        start);
  }
}

void Pool::run(const Task& task, int threads) {
  threads = std::min(threads, kMaxThreads);
  if (threads <= 1 || task.items <= 1) {
    clear(task, task.scratch);
    task.run(task.args, task.extents, 0, task.items, task.scratch);
    return;
  }
  publish(task, threads);
  work(job_.load(std::memory_order_relaxed), 0);
  if (!spin([&] { return pending_.load(std::memory_order_acquire) == 0; })) {
    for (uint32_t pending; (pending = pending_.load()) != 0;) pending_.wait(pending);
  }
}

void Pool::publish(const Task& task, int threads) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const auto chunks = static_cast<uint32_t>(std::min<int64_t>(task.items, int64_t{threads} * kChunksPerThread));
  const uint64_t job = job_.load(relaxed) + 1;
  run_.store(task.run, relaxed);
  args_.store(task.args, relaxed);
  extents_.store(task.extents, relaxed);
  items_.store(task.items, relaxed);
  scratch_.store(task.scratch, relaxed);
  stride_.store(task.stride, relaxed);
  chunks_.store(chunks, relaxed);
  threads_.store(threads, relaxed);
  pending_.store(chunks, relaxed);
  for (int i = 0; i < threads; ++i) {
    const uint32_t count = first_chunk(chunks, threads, i + 1) - first_chunk(chunks, threads, i);
    // What was stored above belongs to a claim that succeeds.
    shares_[i].unclaimed.store(share_of(job, 0, count), std::memory_order_release);
  }
  // Sequentially consistent with `sleep`: either the worker sees the launch, or the caller sees that it sleeps.
  job_.store(job);
  if (sleepers_.load() > 0) {
    wakes_.fetch_add(1);
    wakes_.notify_all();
  }
}

// Works off its own share of the launch in order, then takes from the ends of others'.
void Pool::work(uint64_t job, int index) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const Task task{run_.load(relaxed),   args_.load(relaxed),    extents_.load(relaxed),
                  items_.load(relaxed), scratch_.load(relaxed), stride_.load(relaxed)};
  const uint32_t chunks = chunks_.load(relaxed);
  const int threads = threads_.load(relaxed);
  if (index >= threads) return;
  uint32_t done = 0;
  for (int i = 0; i < threads; ++i) {
    const int owner = (index + i) % threads;
    auto& unclaimed = shares_[owner].unclaimed;
    uint64_t share = unclaimed.load(std::memory_order_acquire);
    while (job_of(share) == job && first_of(share) < end_of(share)) {
      const uint64_t first = first_of(share), end = end_of(share);
      const uint64_t rest = i == 0 ? share_of(job, first + 1, end) : share_of(job, first, end - 1);
      if (!unclaimed.compare_exchange_weak(share, rest, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      // From here on, what was read above is known to be of this launch.
      share = rest;
      const int64_t chunk = first_chunk(chunks, threads, owner) + static_cast<int64_t>(i == 0 ? first : end - 1);
      const int64_t size = task.items / chunks;
      const int64_t larger = task.items % chunks;
      const int64_t begin = chunk * size + std::min(chunk, larger);
      const int64_t stop = begin + size + (chunk < larger ? 1 : 0);
      char* const scratch = task.scratch + index * task.stride;
      if (done == 0) clear(task, scratch);
      task.run(task.args, task.extents, begin, stop, scratch);
      ++done;
    }
  }
  if (done > 0 && pending_.fetch_sub(done) == done) pending_.notify_one();
}

void Pool::loop(int index) {
  for (uint64_t seen = 0;;) {
    uint64_t job = 0;
    const auto next = [&] { return (job = job_.load(std::memory_order_acquire)) != seen; };
    while (!spin(next)) sleep(seen);
    seen = job;
    work(job, index);
  }
}

void Pool::sleep(uint64_t seen) {
  const uint32_t wakes = wakes_.load();
  sleepers_.fetch_add(1);
  if (job_.load() == seen) wakes_.wait(wakes);
  sleepers_.fetch_sub(1);
}

Turn::Turn(Pool& pool) : pool_(pool) { take(); }

Turn::~Turn() { give(); }

void Turn::take() {
  const uint32_t mine = pool_.asked_.fetch_add(1);
  for (uint32_t served; (served = pool_.served_.load()) != mine;) pool_.served_.wait(served);
  since_ = std::chrono::steady_clock::now();
}

void Turn::give() {
  pool_.served_.fetch_add(1);
  pool_.served_.notify_all();
}

bool Turn::pass() {
  const bool others_wait = pool_.asked_.load(std::memory_order_relaxed) - pool_.served_.load(std::memory_order_relaxed) > 1;
  if (!others_wait || std::chrono::steady_clock::now() - since_ < kTurn) return false;
  give();
  take();
  return true;
}

void start_thread(const char* name, void (*body)(void*), void* argument) {
  struct Start {
    const char* name;
    void (*body)(void*);
    void* argument;
  };
  auto* const start = new Start{name, body, argument};
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int failed = pthread_create(
      &thread, nullptr,
      [](void* given) -> void* {
        const Start start = *static_cast<Start*>(given);
        delete static_cast<Start*>(given);
#ifdef __linux__
        pthread_setname_np(pthread_self(), start.name);
#endif
        start.body(start.argument);
        return nullptr;
      },
      start);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (failed != 0) {
    delete start;
    throw std::runtime_error("cannot start a thread (error " + std::to_string(failed) + ")");
  }
  pthread_detach(thread);
}

}  // namespace dsk
