#include "pool.h"

#include <algorithm>

#include "state.h"

namespace dsk::driver {

Pool& Pool::shared() {
  // Never destroyed: its threads wait until the process ends.
  static auto* const pool = new Pool;
  return *pool;
}

Pool::Pool() {
  const std::string wished = setting("DSK_WORKERS", "");
  // Race detector and address sanitizer keep track of one module instance.
  size_ = sanitized() ? 1 : wished.empty() ? std::clamp(std::thread::hardware_concurrency(), 1u, 8u) : std::max(1, std::stoi(wished));
  for (uint32_t i = 1; i < size_; ++i) std::thread([this, i] { serve(i); }).detach();
}

void Pool::run(uint32_t count, const std::function<void(uint32_t)>& work) {
  if (count > 1) {
    const std::lock_guard held(lock_);
    work_ = &work;
    count_ = count;
    ++jobs_;
    begun_.notify_all();
  }
  work(0);
  if (count > 1) {
    // Whoever has not begun need not begin any more: what there was to do is done.
    std::unique_lock held(lock_);
    count_ = 0;
    ended_.wait(held, [this] { return running_ == 0; });
  }
}

void Pool::serve(uint32_t i) {
  uint64_t seen = 0;
  std::unique_lock held(lock_);
  for (;;) {
    begun_.wait(held, [&] { return jobs_ != seen; });
    seen = jobs_;
    if (i >= count_) continue;
    const auto* const work = work_;
    ++running_;
    held.unlock();
    (*work)(i);
    held.lock();
    if (--running_ == 0) ended_.notify_one();
  }
}

}  // namespace dsk::driver
