#include "session.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>

#include "pool.h"

namespace dsk {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

bool is_store(Kind kind) { return kind == Kind::kParam || kind == Kind::kState; }

struct Free {
  void operator()(char* data) const { std::free(data); }
};

}  // namespace

struct Session::Bound : Job {
  using Job::Job;

  size_t program;
  std::vector<int64_t> offsets;
  int64_t arena;
  int64_t high_water = 0;
  Scratch scratch{};
  std::vector<Step> steps;
  // By step, one after the other: values of the kernels' extents.
  std::vector<int64_t> extents;
  // By step and argument: bytes from the beginning of the buffer to the first row of the step's block.
  std::vector<int64_t> begins;
  // The inputs, and by buffer: where in them an input lies; where in the session's outputs an output lies.
  std::unique_ptr<char, Free> inputs;
  std::vector<int64_t> places;
  int64_t input_bytes = 0;
  int64_t output_bytes = 0;
  std::vector<Copy> outputs;
  Choices choices;
  // Logits of a row.
  int64_t vocabulary = 0;
};

std::shared_ptr<Session> Session::open(Config config, Queue::Report report, std::function<void()> closed) {
  Pool::shared().grow(config.threads);
  const std::shared_ptr<Session> session(new Session(std::move(config), std::move(report), std::move(closed)));
  session->queue_.start(session, {.run = [own = session.get()](Job& job) { return own->execute(static_cast<Bound&>(job)); }});
  return session;
}

Session::Session(Config config, Queue::Report report, std::function<void()> closed)
    : library_(config.library),
      programs_(std::move(config.programs)),
      threads_(std::max(1, config.threads)),
      cache_rows_(config.cache_rows),
      profile_(config.profile),
      queue_(std::move(report), std::move(closed)) {
  if (cache_rows_ < 0) fail("cacheRows is " + std::to_string(cache_rows_));
  for (Program& program : programs_) program.check(library_);
  find_stores();
  map_stores(config);
  allocate_stores();
  for (const Program& program : programs_) {
    timings_.emplace_back(program.launches.size());
    std::vector<char*>& kept = kept_.emplace_back();
    for (const Buffer& buffer : program.buffers) {
      const bool cache = buffer.kind == Kind::kCache;
      kept.push_back(cache || is_store(buffer.kind) ? (cache ? caches_ : stores_).at(buffer.name).data : nullptr);
    }
  }
}

void Session::find_stores() {
  for (const Program& program : programs_) {
    for (const Buffer& buffer : program.buffers) {
      const bool cache = buffer.kind == Kind::kCache;
      if (!cache && !is_store(buffer.kind)) continue;
      int64_t bytes = program.bytes(buffer, {});
      if (cache && (__builtin_mul_overflow(bytes, cache_rows_, &bytes) || bytes > (int64_t{1} << 48))) {
        fail("cache " + buffer.name + " would have more than 2^48 bytes");
      }
      const Store store{buffer.kind, buffer.bits, bytes};
      const auto [at, first] = (cache ? caches_ : stores_).emplace(buffer.name, store);
      const Store& other = at->second;
      if (!first && (other.bytes != bytes || other.bits != buffer.bits || other.kind != buffer.kind)) {
        fail("program " + program.name + ": " + buffer.name + " has another kind or size in another program");
      }
    }
  }
}

void Session::map_stores(const Config& config) {
  for (const Mapping& mapping : config.mappings) {
    const auto found = stores_.find(mapping.store);
    if (found == stores_.end()) fail("there is no param or state " + mapping.store);
    Store& store = found->second;
    auto file = files_.find(mapping.file);
    if (file == files_.end()) file = files_.emplace(mapping.file, FileMap(mapping.file)).first;
    const int64_t size = file->second.bytes();
    if (mapping.offset < 0 || mapping.offset > size || store.bytes > size - mapping.offset) {
      fail(mapping.store + " needs " + std::to_string(store.bytes) + " bytes at " + std::to_string(mapping.offset) +
           " of " + mapping.file + ", which has " + std::to_string(size));
    }
    if (mapping.offset * 8 % store.bits != 0) {
      fail(mapping.store + " cannot be mapped: byte " + std::to_string(mapping.offset) + " of " + mapping.file +
           " is no place for elements of " + std::to_string(store.bits) + " bits");
    }
    store.data = file->second.data() + mapping.offset;
    mapped_bytes_ += store.bytes;
  }
}

void Session::allocate_stores() {
  const auto allocate = [](std::map<std::string, Store>& stores, Block& block) {
    int64_t bytes = 0;
    for (const auto& [name, store] : stores) bytes += store.data == nullptr ? aligned(store.bytes) : 0;
    // Empty stores need an address as well.
    block = Block(std::max(bytes, kAlignment));
    char* at = block.data();
    for (auto& [name, store] : stores) {
      if (store.data != nullptr) continue;
      store.data = at;
      at += aligned(store.bytes);
    }
    return bytes;
  };
  usage_.stores = allocate(stores_, store_block_);
  usage_.caches = allocate(caches_, cache_block_);
  usage_.mapped = mapped_bytes_;
}

void Session::submit(const Call& call) { queue_.submit(bind(call)); }

std::unique_ptr<Session::Bound> Session::bind(const Call& call) const {
  if (call.program >= programs_.size()) fail("there is no program " + std::to_string(call.program));
  const Program& program = programs_[call.program];
  const std::string where = "program " + program.name + ": ";
  program.check_sizes(call.sizes);
  if (call.offsets.size() != program.buffers.size()) fail(where + "there must be an offset for each buffer");
  if (call.arena < 0) fail(where + "the arena cannot have " + std::to_string(call.arena) + " bytes");

  auto bound = std::make_unique<Bound>(call.id);
  bound->program = call.program;
  bound->offsets = call.offsets;
  bound->arena = call.arena;
  bound->scratch = scratch_of(call.program, call.sizes, call.choices.known);
  std::vector<int64_t> bytes;
  for (const Buffer& buffer : program.buffers) {
    bytes.push_back(buffer.kind == Kind::kCache || is_store(buffer.kind) ? 0 : program.bytes(buffer, call.sizes));
  }
  bound->steps = program.steps(call.sizes);
  for (const Step& step : bound->steps) {
    const Launch& launch = program.launches[step.launch];
    for (const Extent& extent : launch.extents) bound->extents.push_back(size_of(extent, call.sizes, step));
    for (const int64_t arg : launch.args) {
      const Buffer& buffer = program.buffers[arg];
      const bool cut = step.dim >= 0 && buffer.block < 0 && !buffer.shape.empty() && buffer.shape[0].dim == step.dim;
      bound->begins.push_back(cut ? bytes[arg] / call.sizes[step.dim] * step.begin : 0);
      if (program.buffers[arg].kind != Kind::kTemp) continue;
      const int64_t offset = call.offsets[arg];
      if (offset < 0 || offset % kAlignment != 0 || offset > call.arena - aligned(bytes[arg])) {
        fail(where + program.buffers[arg].name + " has " + std::to_string(bytes[arg]) + " bytes at " +
             std::to_string(offset) + " of an arena of " + std::to_string(call.arena));
      }
      bound->high_water = std::max(bound->high_water, offset + aligned(bytes[arg]));
    }
  }
  bind_copies(*bound, call, bytes);
  bind_choices(*bound, call);
  return bound;
}

void Session::bind_choices(Bound& bound, const Call& call) const {
  if (call.choices.list.empty()) return;
  const Program& program = programs_[call.program];
  const std::string where = "program " + program.name + ": ";
  const int64_t at = call.choices.buffer;
  if (at < 0 || at >= static_cast<int64_t>(program.buffers.size()) || program.buffers[at].kind != Kind::kOutput) {
    fail(where + "buffer " + std::to_string(at) + " is no output");
  }
  const Buffer& buffer = program.buffers[at];
  if (buffer.shape.size() != 2 || buffer.bits != 32) fail(where + buffer.name + " is no table of logits");
  const int64_t rows = size_of(buffer.shape[0], call.sizes);
  bound.vocabulary = size_of(buffer.shape[1], call.sizes);
  try {
    check_choices(call.choices, rows, bound.vocabulary);
  } catch (const std::exception& error) {
    fail(where + error.what());
  }
  bound.choices = call.choices;
}

// Where inputs and outputs lie, and the copies of inputs.
void Session::bind_copies(Bound& bound, const Call& call, const std::vector<int64_t>& bytes) const {
  const Program& program = programs_[call.program];
  const std::string where = "program " + program.name + ": ";
  bound.places.resize(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    const Kind kind = program.buffers[i].kind;
    if (kind != Kind::kInput && kind != Kind::kOutput) continue;
    int64_t& end = kind == Kind::kInput ? bound.input_bytes : bound.output_bytes;
    bound.places[i] = end;
    end += aligned(bytes[i]);
  }
  const auto check = [&](const Copy& copy, Kind kind) {
    if (copy.buffer < 0 || copy.buffer >= static_cast<int64_t>(bytes.size()) ||
        program.buffers[copy.buffer].kind != kind) {
      fail(where + "buffer " + std::to_string(copy.buffer) + (kind == Kind::kInput ? " is no input" : " is no output"));
    }
    if (copy.bytes == bytes[copy.buffer]) return;
    fail(where + program.buffers[copy.buffer].name + " needs " + std::to_string(bytes[copy.buffer]) + " bytes, not " +
         std::to_string(copy.bytes));
  };
  for (const Copy& input : call.inputs) check(input, Kind::kInput);
  for (const Copy& output : call.outputs) check(output, Kind::kOutput);
  bound.outputs = call.outputs;

  bound.inputs.reset(static_cast<char*>(std::aligned_alloc(kAlignment, std::max(bound.input_bytes, kAlignment))));
  if (bound.inputs == nullptr) fail("cannot allocate " + std::to_string(bound.input_bytes) + " bytes of inputs");
  std::vector<bool> given(bytes.size());
  for (const Copy& input : call.inputs) {
    if (input.bytes > 0) std::memcpy(bound.inputs.get() + bound.places[input.buffer], input.data, input.bytes);
    given[input.buffer] = true;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (program.buffers[i].kind == Kind::kInput && !given[i]) fail(where + program.buffers[i].name + " is missing");
  }
}

int64_t Session::scratch_bytes(size_t index, const std::vector<int64_t>& sizes, int64_t tokens) const {
  return total(scratch_of(index, sizes, tokens));
}

int64_t Session::total(const Scratch& scratch) const { return scratch.shared + scratch.stride * threads_; }

Session::Scratch Session::scratch_of(size_t index, const std::vector<int64_t>& sizes, int64_t tokens) const {
  if (index >= programs_.size()) fail("there is no program " + std::to_string(index));
  const Program& program = programs_[index];
  program.check_sizes(sizes);
  if (tokens < 0 || tokens > INT32_MAX) fail("there are not " + std::to_string(tokens) + " tokens");
  Scratch most{0, choosing_bytes(tokens)};
  std::vector<int64_t> extents;
  for (const Step& step : program.steps(sizes)) {
    const Launch& launch = program.launches[step.launch];
    extents.clear();
    for (const Extent& extent : launch.extents) extents.push_back(size_of(extent, sizes, step));
    const auto checked = [&](int64_t bytes) {
      if (bytes < 0 || bytes > (int64_t{1} << 48)) {
        fail("program " + program.name + ": kernel " + launch.name + " asks for " + std::to_string(bytes) + " bytes of scratch");
      }
      return bytes;
    };
    const dsk_kernel& kernel = *launch.kernel;
    most.stride = std::max(most.stride, checked(kernel.scratch(extents.data())));
    if (kernel.shared != nullptr) most.shared = std::max(most.shared, checked(kernel.shared(extents.data())));
  }
  return {aligned(most.shared), aligned(most.stride)};
}

Outcome Session::execute(Bound& bound) {
  try {
    return run_launches(bound);
  } catch (const std::exception& error) {
    return {Outcome::kFailed, error.what(), ""};
  }
}

// By buffer: its memory in this call.
std::vector<char*> Session::place(Bound& bound) {
  // Empty buffers need an address as well.
  arena_.grow(std::max(bound.arena, kAlignment));
  scratch_.grow(total(bound.scratch));
  outputs_.grow(std::max(bound.output_bytes, kAlignment));
  const Program& program = programs_[bound.program];
  std::vector<char*> memory(program.buffers.size());
  for (size_t i = 0; i < memory.size(); ++i) {
    const Buffer& buffer = program.buffers[i];
    switch (buffer.kind) {
      case Kind::kInput: memory[i] = bound.inputs.get() + bound.places[i]; break;
      case Kind::kOutput: memory[i] = outputs_.data() + bound.places[i]; break;
      case Kind::kCache:
      case Kind::kParam:
      case Kind::kState: memory[i] = kept_[bound.program][i]; break;
      // A temp without a launch has no place.
      case Kind::kTemp: memory[i] = arena_.data() + std::max<int64_t>(bound.offsets[i], 0); break;
    }
  }
  {
    const std::lock_guard lock(mutex_);
    usage_.arena = std::max(usage_.arena, bound.arena);
    usage_.arena_high_water = std::max(usage_.arena_high_water, bound.high_water);
    usage_.scratch = std::max(usage_.scratch, total(bound.scratch));
    usage_.transfers = std::max(usage_.transfers, bound.input_bytes + bound.output_bytes);
  }
  return memory;
}

Outcome Session::run_launches(Bound& bound) {
  using Clock = std::chrono::steady_clock;
  const Program& program = programs_[bound.program];
  const std::vector<char*> memory = place(bound);
  std::vector<void*> args;
  const int64_t* begin = bound.begins.data();
  for (const Step& step : bound.steps) {
    const Launch& launch = program.launches[step.launch];
    for (const int64_t arg : launch.args) args.push_back(memory[arg] + *begin++);
    if (launch.kernel->shared != nullptr) args.push_back(scratch_.data());
  }
  char* const scratch = scratch_.data() + bound.scratch.shared;
  std::vector<Timing> timings(profile_ ? program.launches.size() : 0);
  void* const* arg = args.data();
  const int64_t* extent = bound.extents.data();
  std::optional<Turn> turn;
  if (threads_ > 1) turn.emplace(Pool::shared());
  Clock::time_point before = Clock::now();
  for (const Step& step : bound.steps) {
    if (turn && turn->pass()) before = Clock::now();
    if (bound.cancelled.load(std::memory_order_relaxed)) return {Outcome::kCancelled, "", ""};
    const dsk_kernel& kernel = *program.launches[step.launch].kernel;
    const int64_t items = kernel.items(arg, extent);
    if (items < 0) {
      fail("program " + program.name + ", launch " + std::to_string(step.launch) + " (" + kernel.name + "): it has " +
           std::to_string(items) + " work items");
    }
    if (items > 0) {
      Pool::shared().run({kernel.run, arg, extent, items, scratch, bound.scratch.stride}, threads_);
    }
    if (profile_) {
      const Clock::time_point now = Clock::now();
      Timing& timing = timings[step.launch];
      timing = {1, timing.items + items, timing.nanoseconds + std::chrono::nanoseconds(now - before).count()};
      before = now;
    }
    arg += kernel.args + (kernel.shared != nullptr ? 1 : 0);
    extent += kernel.extents;
  }
  if (!bound.choices.list.empty()) make_choices(bound);
  turn.reset();
  for (const Copy& output : bound.outputs) {
    if (output.bytes > 0) std::memcpy(output.data, outputs_.data() + bound.places[output.buffer], output.bytes);
  }
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < timings.size(); ++i) {
    Timing& sum = timings_[bound.program][i];
    sum.calls += timings[i].calls;
    sum.items += timings[i].items;
    sum.nanoseconds += timings[i].nanoseconds;
  }
  return {Outcome::kDone, "", ""};
}

void Session::make_choices(const Bound& bound) {
  const auto* const logits = reinterpret_cast<const float*>(outputs_.data() + bound.places[bound.choices.buffer]);
  choose(bound.choices, logits, bound.vocabulary, scratch_.data() + bound.scratch.shared, bound.scratch.stride, threads_);
}

const Store& Session::store(const std::string& name) const {
  const auto found = stores_.find(name);
  if (found == stores_.end()) fail("there is no param or state " + name);
  return found->second;
}

Usage Session::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

std::vector<std::vector<Timing>> Session::timings() const {
  const std::lock_guard lock(mutex_);
  return timings_;
}

}  // namespace dsk
