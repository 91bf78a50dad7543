// The border to JavaScript (runtime/native/addon.ts). Whatever comes from there is checked here or behind; nothing wrong in it
// may end the process.
#include <napi.h>

#include <cmath>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include "cuda/border.h"
#include "given_choices.h"
#include "isa.h"
#include "numbers.h"
#include "promises.h"
#include "session.h"
#include "values.h"

namespace dsk {
namespace {

using namespace values;

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
    static const std::regex tiles("(.+?)/(\\d{1,9})(?:\\*(\\d{1,9}))?(?:\\+(\\d{1,9}))?");
    std::smatch parts;
    const bool tiled = std::regex_match(name, parts, tiles);
    const std::string dim = tiled ? parts[1].str() : name;
    const int64_t by = tiled ? std::stoll(parts[2]) : 1;
    const int64_t times = tiled && parts[3].matched ? std::stoll(parts[3]) : 1;
    const int64_t plus = tiled && parts[4].matched ? std::stoll(parts[4]) : 0;
    for (size_t i = 0; i < result.dims.size(); ++i) {
      if (result.dims[i] == dim) return Extent{0, static_cast<int32_t>(i), by, times, plus};
    }
    fail(w + ": the program has no run-time dim " + dim);
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

  explicit NativeSession(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<NativeSession>(info), env_(info.Env()), promises_(info.Env()) {
    Config config = configuration(info[0]);
    session_ = promises_.open<Session>([&](auto report, auto closed) {
      return Session::open(std::move(config), std::move(report), std::move(closed));
    });
  }

  ~NativeSession() override {
    if (session_ != nullptr) session_->queue().close();
  }

 private:
  Session& open() const {
    if (session_ == nullptr) fail("the session is closed");
    return *session_;
  }

  // For what may not happen while a call is under way.
  const Store& store(const Napi::CallbackInfo& info) const {
    if (promises_.any()) fail("params and states cannot be accessed while calls are under way");
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
    std::vector<Napi::ObjectReference> kept;
    kept.push_back(Napi::Persistent(info[8].As<Napi::Object>()));
    if (chooses) kept.push_back(Napi::Persistent(info[10].As<Napi::Object>()));
    kept.push_back(Napi::Persistent(info.This().As<Napi::Object>()));
    return promises_.of(call.id, std::move(kept), [&] { session.submit(call); });
  }

  void cancel(const Napi::CallbackInfo& info) {
    if (session_ != nullptr) session_->queue().cancel(static_cast<uint64_t>(integer(info[0], "id")));
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
    session_->queue().close();
    session_.reset();
  }

  const Napi::Env env_;
  // Null when it is closed.
  std::shared_ptr<Session> session_;
  Promises promises_;
};

Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("Session", NativeSession::define(env));
  cuda::define(env, exports);
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
