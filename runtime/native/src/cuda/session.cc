#include "session.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "../numbers.h"

namespace dsk::cuda {
namespace {

// Launches that are handed over before the session looks whether the call was cancelled and the GPU follows.
constexpr size_t kWindow = 128;
// Of the blocks that stores are copied through.
constexpr int64_t kPart = int64_t{16} << 20;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

}  // namespace

struct Session::Bound : Job {
  Bound(Session& session, const Call& given) : Job(given.id), call(given), staged(*session.staging_, bytes_of(given)) {
    for (const Copy& input : given.inputs) {
      if (input.bytes > 0) std::memcpy(staged.data() + input_bytes, input.data, input.bytes);
      input_bytes += input.bytes;
    }
  }

  // Inputs one after the other, then outputs.
  static int64_t bytes_of(const Call& call) {
    int64_t sum = 0;
    for (const auto* copies : {&call.inputs, &call.outputs}) {
      for (const Copy& copy : *copies) sum += copy.bytes;
    }
    return sum;
  }

  const Call call;
  const Staged staged;
  int64_t input_bytes = 0;
};

std::shared_ptr<Session> Session::open(Config config, Queue::Report report, std::function<void()> closed) {
  const std::shared_ptr<Session> session(new Session(std::move(config), std::move(report), std::move(closed)));
  session->queue_.start(session, {.run = [own = session.get()](Job& job) { return own->execute(static_cast<Bound&>(job)); },
                                  .end = [own = session.get()] { own->release(); }});
  return session;
}

Session::Session(Config config, Queue::Report report, std::function<void()> closed)
    : driver_(Driver::get()),
      programs_(std::move(config.programs)),
      stores_(std::move(config.stores)),
      profile_(config.profile),
      check_(config.check),
      queue_(std::move(report), std::move(closed)) {
  context_ = std::make_unique<Context>(driver_, config.device);
  use();
  kernels_ = std::make_unique<Kernels>(driver_, config.images, std::move(config.entries));
  stream_ = new_stream(driver_);
  copies_ = new_stream(driver_);
  staging_ = std::make_unique<Staging>(driver_);
  store_block_ = std::make_unique<DeviceBlock>(driver_);
  cache_block_ = std::make_unique<DeviceBlock>(driver_);
  arena_ = std::make_unique<DeviceBlock>(driver_);
  graphs_ = std::make_unique<Graphs>(driver_, *kernels_);
  for (auto& event : windows_) event = new_event(driver_, CU_EVENT_DISABLE_TIMING);
  for (const auto& [block, bytes] : {std::pair{store_block_.get(), config.store_bytes}, {cache_block_.get(), config.cache_bytes}}) {
    if (bytes == 0) continue;
    block->grow(bytes);
    DSK_CUDA(driver_, cuMemsetD8Async, block->data(), 0, static_cast<size_t>(bytes), stream_.get());
  }
  DSK_CUDA(driver_, cuStreamSynchronize, stream_.get());
  usage_.stores = config.store_bytes;
  usage_.caches = config.cache_bytes;
  for (const ProgramSpec& program : programs_) timings_.emplace_back(program.launches.size());
}

Session::~Session() { release(); }

// Frees what is on the GPU, in the order in which it depends on each other. The context may not be that of this thread.
void Session::release() {
  if (context_ == nullptr) return;
  try {
    context_->use();
    // Whatever runs uses what goes now.
    driver_.cuStreamSynchronize(stream_.get());
  } catch (const DriverError&) {
    // A context that is lost: what follows does nothing.
  }
  for (auto& event : windows_) event = {};
  times_.clear();
  graphs_.reset();
  arena_.reset();
  cache_block_.reset();
  store_block_.reset();
  staging_.reset();
  copies_ = {};
  stream_ = {};
  kernels_.reset();
  context_.reset();
}

void Session::use() const {
  {
    const std::lock_guard lock(mutex_);
    if (!lost_.empty()) throw DriverError(lost_, CUDA_ERROR_CONTEXT_IS_DESTROYED);
  }
  context_->use();
}

void Session::lose(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (lost_.empty()) lost_ = why;
}

void Session::submit(const Call& call) {
  if (call.program >= programs_.size()) fail("there is no program " + std::to_string(call.program));
  check_launches(call);
  use();
  queue_.submit(std::make_unique<Bound>(*this, call));
}

// Every place is one of the memories that there are; how far kernels reach from there is theirs.
void Session::check_launches(const Call& call) const {
  const auto& [list, ints, places, dims, lists] = call.launches;
  const int64_t bytes[kSpaces] = {call.arena, usage_.stores, usage_.caches};
  for (const Place& place : places) {
    if (place.offset < 0 || place.offset > bytes[place.space]) {
      fail("program " + programs_[call.program].name + ": byte " + std::to_string(place.offset) + " of a memory of " +
           std::to_string(bytes[place.space]));
    }
  }
  const auto launches = static_cast<int32_t>(programs_[call.program].launches.size());
  for (const Launch& launch : list) {
    if (launch.of >= launches) fail("there is no launch " + std::to_string(launch.of));
  }
  for (const auto* copies : {&call.inputs, &call.outputs}) {
    for (const Copy& copy : *copies) {
      if (copy.offset < 0 || copy.offset > call.arena - copy.bytes) fail("an input or output is not in the arena");
    }
  }
}

std::string Session::named(const Bound& bound, const Launch* launch) const {
  const ProgramSpec& program = programs_[bound.call.program];
  if (launch == nullptr) return "program " + program.name;
  const std::string& entry = kernels_->entry(launch->entry).symbol;
  if (launch->of < 0) return "program " + program.name + ", kernel " + entry;
  return "program " + program.name + ", launch " + std::to_string(launch->of) + " (" + program.launches[launch->of] + ", " + entry + ")";
}

Outcome Session::execute(Bound& bound) {
  const Call& call = bound.call;
  const Launch* at = nullptr;
  try {
    use();
    // Empty buffers need an address as well.
    arena_->grow(std::max<int64_t>(call.arena, 256));
    {
      const std::lock_guard lock(mutex_);
      usage_.arena = std::max(usage_.arena, call.arena);
    }
    const CUdeviceptr bases[kSpaces] = {arena_->data(), store_block_->data(), cache_block_->data()};
    const char* from = bound.staged.data();
    for (const Copy& input : call.inputs) {
      if (input.bytes > 0) DSK_CUDA(driver_, cuMemcpyHtoDAsync_v2, bases[kArena] + input.offset, from, input.bytes, stream_.get());
      from += input.bytes;
    }
    const auto look = [&](const Launch* launch) { at = launch; };
    const bool graph = call.graph && !profile_ && !check_;
    if (!graph || !graphs_->run(call.program, call.launches, bases, stream_.get(), look)) {
      if (!run_launches(bound, bases, look)) {
        at = nullptr;
        DSK_CUDA(driver_, cuStreamSynchronize, stream_.get());
        return {Outcome::kCancelled, "", ""};
      }
    }
    at = nullptr;
    char* to = bound.staged.data() + bound.input_bytes;
    for (const Copy& output : call.outputs) {
      if (output.bytes > 0) DSK_CUDA(driver_, cuMemcpyDtoHAsync_v2, to, bases[kArena] + output.offset, output.bytes, stream_.get());
      to += output.bytes;
    }
    DSK_CUDA(driver_, cuStreamSynchronize, stream_.get());
    if (profile_) take_times(bound);
    const char* made = bound.staged.data() + bound.input_bytes;
    for (const Copy& output : call.outputs) {
      if (output.bytes > 0) std::memcpy(output.data, made, output.bytes);
      made += output.bytes;
    }
    const std::lock_guard lock(mutex_);
    std::tie(usage_.graphs_made, usage_.graphs_launched, usage_.graphs_changed) =
        std::tuple(graphs_->counts().made, graphs_->counts().launched, graphs_->counts().changed);
    return {Outcome::kDone, "", ""};
  } catch (const DriverError& error) {
    // What was handed over before is still running, and may tell of what went wrong.
    std::string message = named(bound, at) + ": " + error.what();
    CUresult result = error.result;
    const CUresult after = driver_.cuStreamSynchronize(stream_.get());
    if (is_lost(after)) result = after;
    if (is_lost(result)) {
      if (!check_) message += "; with DSKC_CUDA_CHECK=1 the launch that did it is named";
      lose(message);
    }
    return {Outcome::kFailed, message, code_of(result)};
  } catch (const std::exception& error) {
    return {Outcome::kFailed, error.what(), ""};
  }
}

// Says false when the call was cancelled.
bool Session::run_launches(const Bound& bound, const CUdeviceptr (&bases)[kSpaces], const std::function<void(const Launch*)>& at) {
  const std::vector<Launch>& list = bound.call.launches.list;
  const auto time = [&](size_t event) {
    if (!profile_) return;
    while (times_.size() <= event) times_.push_back(new_event(driver_, CU_EVENT_DEFAULT));
    DSK_CUDA(driver_, cuEventRecord, times_[event].get(), stream_.get());
  };
  time(0);
  for (size_t i = 0; i < list.size(); ++i) {
    if (bound.cancelled.load(std::memory_order_relaxed)) return false;
    if (i > 0 && i % kWindow == 0) {
      // The window before the last one is over: one that was not recorded yet counts as that.
      const CUevent window = windows_[i / kWindow % 2].get();
      DSK_CUDA(driver_, cuEventSynchronize, window);
      DSK_CUDA(driver_, cuEventRecord, window, stream_.get());
    }
    at(&list[i]);
    kernels_->bind(bound.call.launches, list[i], bases, parameters_);
    kernels_->launch(list[i], parameters_, stream_.get());
    if (check_) DSK_CUDA(driver_, cuStreamSynchronize, stream_.get());
    time(i + 1);
  }
  return true;
}

void Session::take_times(const Bound& bound) {
  const std::vector<Launch>& list = bound.call.launches.list;
  std::vector<Timing> taken(programs_[bound.call.program].launches.size());
  for (size_t i = 0; i < list.size(); ++i) {
    float milliseconds = 0;
    DSK_CUDA(driver_, cuEventElapsedTime, &milliseconds, times_[i].get(), times_[i + 1].get());
    if (list[i].of < 0) continue;
    Timing& timing = taken[list[i].of];
    timing = {1, timing.nanoseconds + static_cast<double>(milliseconds) * 1e6};
  }
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < taken.size(); ++i) {
    timings_[bound.call.program][i].calls += taken[i].calls;
    timings_[bound.call.program][i].nanoseconds += taken[i].nanoseconds;
  }
}

const Store& Session::store(const std::string& name) const {
  const auto found = stores_.find(name);
  if (found == stores_.end()) fail("there is no param or state " + name);
  return found->second;
}

template <class Each>
void Session::each_part(const Store& store, bool reads, Each each) {
  use();
  const CUdeviceptr base = store_block_->data() + store.offset;
  const int64_t size = std::min(kPart, store.bytes);
  const Staged staged[2] = {{*staging_, size}, {*staging_, size}};
  const auto bytes_at = [&](int64_t at) { return static_cast<size_t>(std::min(kPart, store.bytes - at)); };
  const auto copy = [&](int64_t at, int which) {
    if (reads) DSK_CUDA(driver_, cuMemcpyDtoHAsync_v2, staged[which].data(), base + at, bytes_at(at), copies_.get());
    else DSK_CUDA(driver_, cuMemcpyHtoDAsync_v2, base + at, staged[which].data(), bytes_at(at), copies_.get());
    DSK_CUDA(driver_, cuEventRecord, windows_[which].get(), copies_.get());
  };
  try {
    if (reads && store.bytes > 0) copy(0, 0);
    for (int64_t at = 0; at < store.bytes; at += kPart) {
      const int which = static_cast<int>(at / kPart % 2);
      if (reads && at + kPart < store.bytes) copy(at + kPart, 1 - which);
      // The copy of this part is here, or what was copied from this block is there.
      if (reads || at >= 2 * kPart) DSK_CUDA(driver_, cuEventSynchronize, windows_[which].get());
      if (!each(staged[which].data(), at, static_cast<int64_t>(bytes_at(at)))) break;
      if (!reads) copy(at, which);
    }
    DSK_CUDA(driver_, cuStreamSynchronize, copies_.get());
  } catch (const DriverError& error) {
    // Nothing may write to the blocks that go back.
    driver_.cuStreamSynchronize(copies_.get());
    if (is_lost(error.result)) lose(error.what());
    throw;
  }
}

void Session::read(const Store& store, char* into) {
  each_part(store, true, [&](const char* part, int64_t at, int64_t bytes) {
    std::memcpy(into + at, part, bytes);
    return true;
  });
}

void Session::write(const Store& store, const char* from) {
  each_part(store, false, [&](char* part, int64_t at, int64_t bytes) {
    std::memcpy(part, from + at, bytes);
    return true;
  });
}

int64_t Session::first_non_finite(const Store& store, const std::string& dtype) {
  int64_t found = -1;
  const int64_t bits = element_bits(dtype);
  each_part(store, true, [&](const char* part, int64_t at, int64_t bytes) {
    const int64_t index = dsk::first_non_finite(dtype, part, bytes * 8 / bits);
    if (index >= 0) found = at * 8 / bits + index;
    return index < 0;
  });
  return found;
}

std::pair<int64_t, int64_t> Session::free_memory() {
  use();
  size_t free = 0;
  size_t total = 0;
  DSK_CUDA(driver_, cuMemGetInfo_v2, &free, &total);
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

Usage Session::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

std::vector<std::vector<Timing>> Session::timings() const {
  const std::lock_guard lock(mutex_);
  return timings_;
}

}  // namespace dsk::cuda
