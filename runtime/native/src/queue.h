// Calls of a session, one after the other on a thread of its own: off JavaScript's, whatever the device.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace dsk {

struct Outcome {
  enum Status { kDone, kCancelled, kFailed } status;
  std::string message;
  // Of a failure: what kind it is, for whoever tells JavaScript; empty for none.
  std::string code;
};

// A call that waits or runs.
struct Job {
  explicit Job(uint64_t call) : id(call) {}
  virtual ~Job() = default;

  const uint64_t id;
  std::atomic<bool> cancelled{false};
};

class Queue {
 public:
  // `report` is called on the session's thread for every call that `submit` took, `closed` once, as the last thing.
  using Report = std::function<void(uint64_t id, const Outcome&)>;
  // What runs a call. Of `end`: what is done on the thread behind the last call.
  struct Work {
    std::function<Outcome(Job&)> run;
    std::function<void()> end = [] {};
  };

  Queue(Report report, std::function<void()> closed) : report_(std::move(report)), closed_(std::move(closed)) {}

  // Starts the thread, which keeps the owner alive until its last call is over.
  void start(std::shared_ptr<void> owner, Work work);
  // Puts a call behind the others.
  void submit(std::unique_ptr<Job> job);
  // Ends a call before its next launch, or before it begins.
  void cancel(uint64_t id);
  // Ends all calls.
  void close();
  // Waits until nothing runs any more. After `close`.
  void wait();

 private:
  void loop();

  const Report report_;
  const std::function<void()> closed_;
  Work work_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Job>> waiting_;
  Job* running_ = nullptr;
  bool closing_ = false;
  bool finished_ = false;
};

}  // namespace dsk
