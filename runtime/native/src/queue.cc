#include "queue.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "pool.h"

namespace dsk {
namespace {

constexpr const char* kClosed = "the session was closed";

}  // namespace

void Queue::start(std::shared_ptr<void> owner, Work work) {
  work_ = std::move(work);
  struct Kept {
    std::shared_ptr<void> owner;
    Queue* queue;
  };
  auto* const kept = new Kept{std::move(owner), this};
  try {
    start_thread(
        "dskc-session",
        [](void* argument) {
          auto* const own = static_cast<Kept*>(argument);
          own->queue->loop();
          delete own;
        },
        kept);
  } catch (...) {
    delete kept;
    throw;
  }
}

void Queue::submit(std::unique_ptr<Job> job) {
  const std::lock_guard lock(mutex_);
  if (closing_) throw std::runtime_error("the session is closed");
  waiting_.push_back(std::move(job));
  changed_.notify_all();
}

void Queue::cancel(uint64_t id) {
  std::unique_ptr<Job> job;
  {
    const std::lock_guard lock(mutex_);
    if (running_ != nullptr && running_->id == id) running_->cancelled = true;
    const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& one) { return one->id == id; });
    if (found == waiting_.end()) return;
    job = std::move(*found);
    waiting_.erase(found);
  }
  report_(id, {Outcome::kCancelled, "", ""});
}

void Queue::close() {
  const std::lock_guard lock(mutex_);
  closing_ = true;
  if (running_ != nullptr) running_->cancelled = true;
  changed_.notify_all();
}

void Queue::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return finished_; });
}

void Queue::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
    if (waiting_.empty()) break;
    const std::unique_ptr<Job> job = std::move(waiting_.front());
    waiting_.pop_front();
    running_ = job.get();
    Outcome outcome{Outcome::kFailed, kClosed, ""};
    if (!closing_) {
      lock.unlock();
      outcome = work_.run(*job);
      lock.lock();
      if (outcome.status == Outcome::kCancelled && closing_) outcome = {Outcome::kFailed, kClosed, ""};
    }
    running_ = nullptr;
    lock.unlock();
    report_(job->id, outcome);
    lock.lock();
  }
  lock.unlock();
  work_.end();
  closed_();
  lock.lock();
  finished_ = true;
  changed_.notify_all();
}

}  // namespace dsk
