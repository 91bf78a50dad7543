#include "pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>

namespace dsk {
namespace {

// Chunks per thread: threads that got slow items, or lost their processor for a while, leave the rest to others.
constexpr int kChunksPerThread = 8;
constexpr int kMaxThreads = 1024;

// How long a thread looks before it sleeps: longer than what usually lies between two launches.
constexpr auto kSpin = std::chrono::microseconds(100);

// How long a session keeps the turn while others wait.
constexpr auto kTurn = std::chrono::milliseconds(1);

constexpr int kChunkBits = 24;
constexpr uint64_t kChunkMask = (uint64_t{1} << kChunkBits) - 1;

uint64_t job_of(uint64_t word) { return word >> kChunkBits; }
uint32_t unclaimed_of(uint64_t word) { return static_cast<uint32_t>(word & kChunkMask); }

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
    task.run(task.args, task.extents, 0, task.items, task.scratch);
    return;
  }
  const auto chunks = static_cast<uint32_t>(std::min<int64_t>(task.items, int64_t{threads} * kChunksPerThread));
  publish(task, threads, chunks);
  work(ticket_.load(std::memory_order_relaxed), 0);
  if (!spin([&] { return pending_.load(std::memory_order_acquire) == 0; })) {
    for (uint32_t pending; (pending = pending_.load()) != 0;) pending_.wait(pending);
  }
}

void Pool::publish(const Task& task, int threads, uint32_t chunks) {
  constexpr auto relaxed = std::memory_order_relaxed;
  run_.store(task.run, relaxed);
  args_.store(task.args, relaxed);
  extents_.store(task.extents, relaxed);
  items_.store(task.items, relaxed);
  scratch_.store(task.scratch, relaxed);
  stride_.store(task.stride, relaxed);
  chunks_.store(chunks, relaxed);
  threads_.store(threads, relaxed);
  pending_.store(chunks, relaxed);
  // Sequentially consistent with `sleep`: either the worker sees the launch, or the caller sees that it sleeps.
  ticket_.store((job_of(ticket_.load(relaxed)) + 1) << kChunkBits | chunks);
  if (sleepers_.load() > 0) {
    wakes_.fetch_add(1);
    wakes_.notify_all();
  }
}

// Claims chunks of the launch of `word` as long as there are some.
void Pool::work(uint64_t word, int index) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const uint64_t job = job_of(word);
  const Task task{run_.load(relaxed),   args_.load(relaxed),    extents_.load(relaxed),
                  items_.load(relaxed), scratch_.load(relaxed), stride_.load(relaxed)};
  const int64_t chunks = chunks_.load(relaxed);
  if (index >= threads_.load(relaxed)) return;
  uint32_t done = 0;
  while (job_of(word) == job && unclaimed_of(word) > 0) {
    if (!ticket_.compare_exchange_weak(word, word - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    // From here on, what was read above is known to be of this launch.
    const int64_t chunk = chunks - unclaimed_of(word);
    --word;
    const int64_t size = task.items / chunks;
    const int64_t larger = task.items % chunks;
    const int64_t begin = chunk * size + std::min(chunk, larger);
    const int64_t end = begin + size + (chunk < larger ? 1 : 0);
    task.run(task.args, task.extents, begin, end, task.scratch + index * task.stride);
    ++done;
  }
  if (done > 0 && pending_.fetch_sub(done) == done) pending_.notify_one();
}

void Pool::loop(int index) {
  for (uint64_t seen = 0;;) {
    uint64_t word = 0;
    const auto next = [&] { return job_of(word = ticket_.load(std::memory_order_acquire)) != seen; };
    while (!spin(next)) sleep(seen);
    seen = job_of(word);
    work(word, index);
  }
}

void Pool::sleep(uint64_t seen) {
  const uint32_t wakes = wakes_.load();
  sleepers_.fetch_add(1);
  if (job_of(ticket_.load()) == seen) wakes_.wait(wakes);
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
