// The border to JavaScript (runtime/native/addon.ts). Whatever comes from there is checked here or behind; nothing wrong in it
// may end the process.
#include <napi.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "isa.h"
#include "numbers.h"
#include "session.h"

namespace dsk {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

constexpr double kLargestInteger = 9007199254740991;

int64_t integer(double number, const std::string& what) {
  if (std::trunc(number) != number || std::abs(number) > kLargestInteger) fail(what + ": a whole number is needed");
  return static_cast<int64_t>(number);
}

int64_t integer(const Napi::Value& value, const std::string& what) {
  if (!value.IsNumber()) fail(what + ": a number is needed");
  return integer(value.As<Napi::Number>().DoubleValue(), what);
}

std::string text(const Napi::Value& value, const std::string& what) {
  if (!value.IsString()) fail(what + ": a string is needed");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object object(const Napi::Value& value, const std::string& what) {
  if (!value.IsObject()) fail(what + ": an object is needed");
  return value.As<Napi::Object>();
}

Napi::Array array(const Napi::Value& value, const std::string& what) {
  if (!value.IsArray()) fail(what + ": an array is needed");
  return value.As<Napi::Array>();
}

struct Bytes {
  char* data;
  int64_t size;
};

// Of any typed array, over shared memory as well.
Bytes bytes(const Napi::Value& value, const std::string& what) {
  if (!value.IsTypedArray()) fail(what + ": a typed array is needed");
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok) {
    fail(what + ": the typed array cannot be read");
  }
  return {static_cast<char*>(data), static_cast<int64_t>(length * value.As<Napi::TypedArray>().ElementSize())};
}

std::vector<int64_t> integers(const Napi::Value& value, const std::string& what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    fail(what + ": a Float64Array is needed");
  }
  const Bytes all = bytes(value, what);
  const auto* const numbers = reinterpret_cast<const double*>(all.data);
  std::vector<int64_t> result;
  for (int64_t i = 0; i < all.size / 8; ++i) result.push_back(integer(numbers[i], what));
  return result;
}

template <class Convert>
auto list(const Napi::Value& value, const std::string& what, Convert convert) {
  const Napi::Array all = array(value, what);
  std::vector<decltype(convert(value, what))> result;
  for (uint32_t i = 0; i < all.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    result.push_back(convert(all.Get(i), what + "[" + std::to_string(i) + "]"));
  }
  return result;
}

Kind kind(const std::string& name, const std::string& what) {
  static const std::map<std::string, Kind> kinds{{"input", Kind::kInput}, {"param", Kind::kParam},
                                                 {"state", Kind::kState}, {"cache", Kind::kCache},
                                                 {"output", Kind::kOutput}, {"temp", Kind::kTemp}};
  const auto found = kinds.find(name);
  if (found == kinds.end()) fail(what + ": there is no kind " + name);
  return found->second;
}

// A `LaunchProgram` of runtime/program/launch.ts.
Program program(const Napi::Value& value, const std::string& what) {
  const Napi::Object given = object(value, what);
  const auto string = [](const Napi::Value& v, const std::string& w) { return text(v, w); };
  Program result;
  result.name = text(given.Get("name"), what + ".name");
  result.dims = list(given.Get("dims"), what + ".dims", string);
  const auto extent = [&](const Napi::Value& v, const std::string& w) {
    if (!v.IsString()) return Extent{integer(v, w), -1};
    const std::string name = text(v, w);
    for (size_t i = 0; i < result.dims.size(); ++i) {
      if (result.dims[i] == name) return Extent{0, static_cast<int32_t>(i)};
    }
    fail(w + ": the program has no run-time dim " + name);
  };
  result.buffers = list(given.Get("buffers"), what + ".buffers", [&](const Napi::Value& v, const std::string& w) {
    const Napi::Object buffer = object(v, w);
    const Napi::Value block = buffer.Get("block");
    return Buffer{kind(text(buffer.Get("kind"), w + ".kind"), w + ".kind"), text(buffer.Get("name"), w + ".name"),
                  element_bits(text(buffer.Get("dtype"), w + ".dtype")), list(buffer.Get("shape"), w + ".shape", extent),
                  block.IsUndefined() ? -1 : integer(block, w + ".block")};
  });
  result.launches = list(given.Get("launches"), what + ".launches", [&](const Napi::Value& v, const std::string& w) {
    const Napi::Object launch = object(v, w);
    const auto index = [](const Napi::Value& a, const std::string& b) { return integer(a, b); };
    return Launch{text(launch.Get("kernel"), w + ".kernel"), nullptr, list(launch.Get("args"), w + ".args", index),
                  list(launch.Get("extents"), w + ".extents", extent)};
  });
  if (given.Get("blocks").IsUndefined()) return result;
  result.blocks = list(given.Get("blocks"), what + ".blocks", [&](const Napi::Value& v, const std::string& w) {
    const Napi::Object blocks = object(v, w);
    const auto number = [&](const char* name) { return integer(blocks.Get(name), w + "." + name); };
    return Blocks{extent(blocks.Get("dim"), w + ".dim").dim, number("rows"), number("first"), number("count")};
  });
  return result;
}

Config configuration(const Napi::Value& value) {
  const Napi::Object given = object(value, "options");
  Config config;
  config.library = text(given.Get("library"), "library");
  config.programs = list(given.Get("programs"), "programs", program);
  config.mappings = list(given.Get("mappings"), "mappings", [](const Napi::Value& v, const std::string& w) {
    const Napi::Object mapping = object(v, w);
    return Mapping{text(mapping.Get("store"), w + ".store"), text(mapping.Get("file"), w + ".file"),
                   integer(mapping.Get("offset"), w + ".offset")};
  });
  config.cache_rows = integer(given.Get("cacheRows"), "cacheRows");
  const int64_t threads = integer(given.Get("threads"), "threads");
  if (threads < 1 || threads > 1024) fail("threads: a number from 1 to 1024 is needed");
  config.threads = static_cast<int>(threads);
  config.profile = given.Get("profile").ToBoolean();
  return config;
}

// `NativeChoices` of runtime/native/addon.ts.
Choices choices_of(const Napi::Value& wanted, const Napi::Value& chosen) {
  const auto numbers = [](const Napi::Value& array, const char* what) {
    if (array.IsTypedArray() && array.As<Napi::TypedArray>().TypedArrayType() == napi_float64_array) return bytes(array, what);
    fail(std::string(what) + ": a Float64Array is needed");
  };
  const Bytes all = numbers(wanted, "wanted");
  const auto* next = reinterpret_cast<const double*>(all.data);
  const double* const end = next + all.size / 8;
  const auto number = [&] { return next < end ? *next++ : (fail("wanted: there are too few numbers"), 0.0); };
  const auto whole = [&] { return integer(number(), "wanted"); };
  const auto word = [&] { return static_cast<uint32_t>(whole()); };
  const auto token = [&] {
    const int64_t one = whole();
    if (one < 0 || one > INT32_MAX) fail("wanted: " + std::to_string(one) + " is no token");
    return static_cast<int32_t>(one);
  };
  Choices result;
  result.buffer = whole();
  result.known = whole();
  int64_t entries = 0;
  while (next < end) {
    Choice choice;
    choice.row = whole();
    choice.temperature = number();
    choice.top_k = whole();
    choice.top_p = number();
    choice.log_min_p = number();
    choice.frequency_penalty = number();
    choice.presence_penalty = number();
    choice.repetition_penalty = number();
    for (uint32_t& noise : choice.noise) noise = word();
    choice.alternatives = whole();
    const int64_t touched = whole();
    const int64_t biased = whole();
    for (int64_t i = 0; i < touched; ++i) choice.touched.push_back(token());
    for (int64_t i = 0; i < touched; ++i) choice.counts.push_back(number());
    for (int64_t i = 0; i < biased; ++i) choice.biased.push_back(token());
    for (int64_t i = 0; i < biased; ++i) choice.biases.push_back(number());
    entries += numbers_of(choice);
    result.list.push_back(std::move(choice));
  }
  const Bytes into = numbers(chosen, "chosen");
  if (into.size / 8 != entries) fail("chosen: the choices write " + std::to_string(entries) + " numbers");
  result.chosen = reinterpret_cast<double*>(into.data);
  return result;
}

class NativeSession : public Napi::ObjectWrap<NativeSession> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Session",
                       {InstanceMethod<&NativeSession::run>("run"), InstanceMethod<&NativeSession::cancel>("cancel"),
                        InstanceMethod<&NativeSession::scratch_bytes>("scratchBytes"),
                        InstanceMethod<&NativeSession::read>("read"), InstanceMethod<&NativeSession::write>("write"),
                        InstanceMethod<&NativeSession::first_non_finite>("firstNonFinite"),
                        InstanceMethod<&NativeSession::memory>("memory"),
                        InstanceMethod<&NativeSession::profile>("profile"),
                        InstanceMethod<&NativeSession::close>("close")});
  }

  explicit NativeSession(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeSession>(info), env_(info.Env()) {
    Config config = configuration(info[0]);
    const Napi::String name = Napi::String::New(env_, "dskc session");
    if (napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, &deliver, &border_) !=
        napi_ok) {
      fail("cannot make a way back to JavaScript");
    }
    // A session that does nothing keeps no process alive.
    napi_unref_threadsafe_function(env_, border_);
    const auto report = [border = border_](uint64_t id, const Outcome& outcome) {
      auto* const end = new End{id, outcome};
      if (napi_call_threadsafe_function(border, end, napi_tsfn_nonblocking) != napi_ok) delete end;
    };
    const auto closed = [border = border_] { napi_release_threadsafe_function(border, napi_tsfn_release); };
    try {
      session_ = Session::open(std::move(config), report, closed);
    } catch (...) {
      closed();
      throw;
    }
    alive_ = session_;
    napi_add_env_cleanup_hook(env_, &leave, this);
  }

  ~NativeSession() override {
    napi_remove_env_cleanup_hook(env_, &leave, this);
    if (session_ != nullptr) session_->close();
  }

 private:
  // How a call ended, on its way to the thread of JavaScript.
  struct End {
    uint64_t id;
    Outcome outcome;
  };

  struct Pending {
    napi_deferred deferred;
    // The arrays that the session writes to, and this object.
    Napi::ObjectReference outputs;
    Napi::ObjectReference chosen;
    Napi::ObjectReference self;
  };

  // The environment goes: no launch may write to its arrays any more.
  static void leave(void* self) {
    if (const auto session = static_cast<NativeSession*>(self)->alive_.lock()) {
      session->close();
      session->wait();
    }
  }

  static void deliver(napi_env env, napi_value, void* context, void* data) {
    const std::unique_ptr<End> end(static_cast<End*>(data));
    if (env == nullptr) return;
    static_cast<NativeSession*>(context)->settle(*end);
  }

  // Without node-addon-api: a worker that is being ended lets nothing be called, and that is no error.
  void settle(const End& end) {
    const auto found = pending_.find(end.id);
    if (found == pending_.end()) return;
    const Pending pending = std::move(found->second);
    pending_.erase(found);
    if (pending_.empty()) napi_unref_threadsafe_function(env_, border_);
    const std::string& message = end.outcome.message;
    napi_value value = nullptr;
    napi_value error = nullptr;
    if (end.outcome.status != Outcome::kFailed) {
      if (napi_get_boolean(env_, end.outcome.status == Outcome::kDone, &value) == napi_ok) {
        napi_resolve_deferred(env_, pending.deferred, value);
      }
    } else if (napi_create_string_utf8(env_, message.data(), message.size(), &value) == napi_ok &&
               napi_create_error(env_, nullptr, value, &error) == napi_ok) {
      napi_reject_deferred(env_, pending.deferred, error);
    }
  }

  Session& open() const {
    if (session_ == nullptr) fail("the session is closed");
    return *session_;
  }

  // For what may not happen while a call is under way.
  const Store& store(const Napi::CallbackInfo& info) const {
    if (!pending_.empty()) fail("params and states cannot be accessed while calls are under way");
    return open().store(text(info[0], "store"));
  }

  // run(id, program, sizes, offsets, arenaBytes, inputBuffers, inputs, outputBuffers, outputs, wanted, chosen): Promise<boolean>
  Napi::Value run(const Napi::CallbackInfo& info) {
    Session& session = open();
    const auto copies = [&](size_t at, const char* what) {
      const std::vector<int64_t> buffers = integers(info[at], what);
      const std::vector<Bytes> given = list(info[at + 1], what, [](const Napi::Value& v, const std::string& w) { return bytes(v, w); });
      if (given.size() != buffers.size()) fail(std::string(what) + ": an array for each buffer is needed");
      std::vector<Copy> result;
      for (size_t i = 0; i < given.size(); ++i) result.push_back({buffers[i], given[i].data, given[i].size});
      return result;
    };
    Call call;
    call.id = static_cast<uint64_t>(integer(info[0], "id"));
    call.program = static_cast<size_t>(integer(info[1], "program"));
    call.sizes = integers(info[2], "sizes");
    call.offsets = integers(info[3], "offsets");
    call.arena = integer(info[4], "arenaBytes");
    call.inputs = copies(5, "inputs");
    call.outputs = copies(7, "outputs");
    const bool chooses = !info[9].IsUndefined();
    if (chooses) call.choices = choices_of(info[9], info[10]);
    if (pending_.contains(call.id)) fail("there is a call " + std::to_string(call.id) + " already");

    Pending pending{nullptr, Napi::Persistent(info[8].As<Napi::Object>()),
                    chooses ? Napi::Persistent(info[10].As<Napi::Object>()) : Napi::ObjectReference(),
                    Napi::Persistent(info.This().As<Napi::Object>())};
    napi_value promise = nullptr;
    if (napi_create_promise(env_, &pending.deferred, &promise) != napi_ok) fail("cannot make a promise");
    session.submit(call);
    if (pending_.empty()) napi_ref_threadsafe_function(env_, border_);
    pending_.emplace(call.id, std::move(pending));
    return {env_, promise};
  }

  void cancel(const Napi::CallbackInfo& info) {
    if (session_ != nullptr) session_->cancel(static_cast<uint64_t>(integer(info[0], "id")));
  }

  Napi::Value scratch_bytes(const Napi::CallbackInfo& info) {
    const auto program = static_cast<size_t>(integer(info[0], "program"));
    const std::vector<int64_t> sizes = integers(info[1], "sizes");
    const int64_t tokens = integer(info[2], "tokens");
    return Napi::Number::New(env_, static_cast<double>(open().scratch_bytes(program, sizes, tokens)));
  }

  // The array of a call that reads or writes a whole store.
  static Bytes whole(const Store& store, const Napi::Value& value) {
    const Bytes array = bytes(value, "elements");
    if (array.size != store.bytes) {
      fail("the store has " + std::to_string(store.bytes) + " bytes, the array " + std::to_string(array.size));
    }
    return array;
  }

  void read(const Napi::CallbackInfo& info) {
    const Store& from = store(info);
    const Bytes array = whole(from, info[1]);
    if (array.size > 0) std::memcpy(array.data, from.data, array.size);
  }

  void write(const Napi::CallbackInfo& info) {
    const Store& to = store(info);
    const Bytes array = whole(to, info[1]);
    if (array.size > 0) std::memcpy(to.data, array.data, array.size);
  }

  Napi::Value first_non_finite(const Napi::CallbackInfo& info) {
    const Store& of = store(info);
    const std::string dtype = text(info[1], "dtype");
    if (element_bits(dtype) != of.bits) fail("elements of " + std::to_string(of.bits) + " bits are not " + dtype);
    return Napi::Number::New(env_, static_cast<double>(dsk::first_non_finite(dtype, of.data, of.bytes * 8 / of.bits)));
  }

  Napi::Value memory(const Napi::CallbackInfo&) {
    const Usage usage = open().usage();
    Napi::Object result = Napi::Object::New(env_);
    const auto set = [&](const char* name, int64_t value) { result.Set(name, static_cast<double>(value)); };
    set("arenaBytes", usage.arena);
    set("arenaHighWater", usage.arena_high_water);
    set("scratchBytes", usage.scratch);
    set("transferBytes", usage.transfers);
    set("storeBytes", usage.stores);
    set("mappedBytes", usage.mapped);
    set("cacheBytes", usage.caches);
    return result;
  }

  // By program: calls, items and nanoseconds of each launch, one after the other.
  Napi::Value profile(const Napi::CallbackInfo&) {
    const auto timings = open().timings();
    Napi::Array result = Napi::Array::New(env_, timings.size());
    for (size_t i = 0; i < timings.size(); ++i) {
      Napi::Float64Array numbers = Napi::Float64Array::New(env_, timings[i].size() * 3);
      for (size_t j = 0; j < timings[i].size(); ++j) {
        numbers[3 * j] = static_cast<double>(timings[i][j].calls);
        numbers[3 * j + 1] = static_cast<double>(timings[i][j].items);
        numbers[3 * j + 2] = static_cast<double>(timings[i][j].nanoseconds);
      }
      result.Set(i, numbers);
    }
    return result;
  }

  void close(const Napi::CallbackInfo&) {
    if (session_ == nullptr) return;
    session_->close();
    session_.reset();
  }

  const Napi::Env env_;
  // Null when it is closed.
  std::shared_ptr<Session> session_;
  std::weak_ptr<Session> alive_;
  napi_threadsafe_function border_ = nullptr;
  std::map<uint64_t, Pending> pending_;
};

Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("Session", NativeSession::define(env));
  exports.Set("isa", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Napi::String::New(info.Env(), isa());
              }));
  exports.Set("untouchedBytes", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Napi::Number::New(info.Env(), static_cast<double>(Block::untouched()));
              }));
  return exports;
}

NODE_API_MODULE(dskc, start)

}  // namespace
}  // namespace dsk
