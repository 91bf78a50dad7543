#include "border.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../promises.h"
#include "../values.h"
#include "nvrtc.h"
#include "session.h"

namespace dsk::cuda {
namespace {

using namespace values;

std::vector<uint32_t> words(const Napi::Value& value, const std::string& what) {
  return list(value, what, [](const Napi::Value& v, const std::string& w) {
    const int64_t one = integer(v, w);
    if (one < 0 || one > UINT32_MAX) fail(w + ": " + std::to_string(one) + " is no such number");
    return static_cast<uint32_t>(one);
  });
}

EntrySpec entry(const Napi::Value& value, const std::string& what) {
  const Napi::Object given = object(value, what);
  const auto number = [&](const char* name, int64_t most) {
    const int64_t one = integer(given.Get(name), what + "." + name);
    if (one < 0 || one > most) fail(what + "." + name + " is " + std::to_string(one));
    return one;
  };
  EntrySpec result{number("module", INT32_MAX), text(given.Get("symbol"), what + ".symbol"),
                   number("threads", 1024), number("shared", INT32_MAX),
                   number("ints", 1024), number("pointers", 1024), {}};
  result.maps = list(given.Get("maps"), what + ".maps", [&](const Napi::Value& v, const std::string& w) {
    const Napi::Object map = object(v, w);
    MapSpec spec{integer(map.Get("pointer"), w + ".pointer"), static_cast<int>(integer(map.Get("type"), w + ".type")),
                 static_cast<int>(integer(map.Get("swizzle"), w + ".swizzle")), words(map.Get("box"), w + ".box")};
    if (spec.pointer < 0 || spec.pointer >= result.pointers) fail(w + ".pointer: there is no such pointer");
    if (spec.box.empty() || spec.box.size() > 5) fail(w + ".box: from 1 to 5 dims are needed");
    return spec;
  });
  if (const Napi::Value lists = given.Get("lists"); !lists.IsUndefined()) {
    const Napi::Object own = object(lists, what + ".lists");
    result.lists = {integer(own.Get("most"), what + ".lists.most"), integer(own.Get("args"), what + ".lists.args")};
    if (result.lists.most < 1 || result.lists.most > 4096 || result.lists.args < 0 || result.lists.args > 1024) fail(what + ".lists");
  }
  return result;
}

Config configuration(const Napi::Value& value) {
  const Napi::Object given = object(value, "options");
  const auto string = [](const Napi::Value& v, const std::string& w) { return text(v, w); };
  Config config;
  config.device = static_cast<int>(integer(given.Get("device"), "device"));
  config.images = list(given.Get("images"), "images", [](const Napi::Value& v, const std::string& w) {
    const Napi::Object image = object(v, w);
    return Image{text(image.Get("name"), w + ".name"), bytes(image.Get("data"), w + ".data").data};
  });
  config.entries = list(given.Get("entries"), "entries", entry);
  for (const EntrySpec& one : config.entries) {
    if (one.module >= static_cast<int64_t>(config.images.size())) fail("entry " + one.symbol + ": there is no such module");
  }
  config.programs = list(given.Get("programs"), "programs", [&](const Napi::Value& v, const std::string& w) {
    const Napi::Object program = object(v, w);
    return ProgramSpec{text(program.Get("name"), w + ".name"), list(program.Get("launches"), w + ".launches", string)};
  });
  const auto size = [&](const char* name) {
    const int64_t number = integer(given.Get(name), name);
    if (number < 0) fail(std::string(name) + " is " + std::to_string(number));
    return number;
  };
  config.store_bytes = size("storeBytes");
  config.cache_bytes = size("cacheBytes");
  list(given.Get("stores"), "stores", [&](const Napi::Value& v, const std::string& w) {
    const Napi::Object store = object(v, w);
    const Store one{integer(store.Get("offset"), w + ".offset"), integer(store.Get("bytes"), w + ".bytes")};
    if (one.offset < 0 || one.bytes < 0 || one.offset > config.store_bytes - one.bytes) fail(w + " has no room");
    return config.stores.emplace(text(store.Get("name"), w + ".name"), one).second;
  });
  config.profile = given.Get("profile").ToBoolean();
  config.check = given.Get("check").ToBoolean();
  return config;
}

// Of each launch one after the other: its index in the program, the entry, the blocks, the ints, a memory and an offset for each
// pointer, of each tensor map the sizes of its dims and the strides, and of a table how many lists and blocks it has, and each list.
Launches launches(const Napi::Value& value, const Kernels& kernels) {
  const std::vector<int64_t> numbers = integers(value, "launches");
  Launches result;
  const int64_t* next = numbers.data();
  const int64_t* const end = next + numbers.size();
  const auto number = [&](int64_t least, int64_t most) {
    if (next == end) fail("launches: there are too few numbers");
    if (*next < least || *next > most) fail("launches: " + std::to_string(*next) + " is not from " + std::to_string(least) + " to " + std::to_string(most));
    return *next++;
  };
  while (next < end) {
    Launch launch{};
    launch.of = static_cast<int32_t>(number(-1, INT32_MAX));
    launch.entry = static_cast<uint32_t>(number(0, static_cast<int64_t>(kernels.count()) - 1));
    launch.blocks = static_cast<uint32_t>(number(1, INT32_MAX));
    launch.ints = static_cast<uint32_t>(result.ints.size());
    launch.places = static_cast<uint32_t>(result.places.size());
    launch.dims = static_cast<uint32_t>(result.dims.size());
    const EntrySpec& entry = kernels.entry(launch.entry);
    for (int64_t i = 0; i < entry.ints; ++i) result.ints.push_back(static_cast<int32_t>(number(INT32_MIN, INT32_MAX)));
    const auto places = [&](int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        const auto space = static_cast<Space>(number(0, kSpaces - 1));
        result.places.push_back({space, number(0, int64_t{1} << 48)});
      }
    };
    places(entry.pointers);
    for (const MapSpec& map : entry.maps) {
      for (size_t i = 0; i < 2 * map.box.size() - 1; ++i) result.dims.push_back(number(0, int64_t{1} << 48));
    }
    launch.lists = static_cast<uint32_t>(result.lists.size());
    if (entry.lists.most > 0) {
      launch.list_count = static_cast<uint32_t>(number(1, entry.lists.most));
      launch.list_blocks = static_cast<int32_t>(number(1, INT32_MAX));
      for (uint32_t i = 0; i < launch.list_count; ++i) {
        const auto first = static_cast<int32_t>(number(0, INT32_MAX));
        result.lists.push_back({first, static_cast<int32_t>(number(0, INT32_MAX))});
        places(entry.lists.args);
      }
    }
    result.list.push_back(launch);
  }
  return result;
}

// A failure of the driver as an error with a code (runtime/device/cuda/errors.ts).
[[noreturn]] void throw_error(Napi::Env env, const std::string& message, const char* code) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  throw error;
}

template <class Work>
auto guarded(Napi::Env env, Work work) {
  try {
    return work();
  } catch (const NoDriverError& error) {
    throw_error(env, error.what(), "none");
  } catch (const DriverError& error) {
    throw_error(env, error.what(), code_of(error.result));
  }
}

class NativeCudaSession : public Napi::ObjectWrap<NativeCudaSession> {
 public:
  static Napi::Function define(Napi::Env env) {
    using Self = NativeCudaSession;
    return DefineClass(
        env, "CudaSession",
        {InstanceMethod<&Self::run>("run"), InstanceMethod<&Self::cancel>("cancel"), InstanceMethod<&Self::read>("read"),
         InstanceMethod<&Self::write>("write"), InstanceMethod<&Self::first_non_finite>("firstNonFinite"),
         InstanceMethod<&Self::free_memory>("freeMemory"), InstanceMethod<&Self::usage>("usage"),
         InstanceMethod<&Self::profile>("profile"), InstanceMethod<&Self::close>("close")});
  }

  explicit NativeCudaSession(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<NativeCudaSession>(info), env_(info.Env()), promises_(info.Env()) {
    Config config = configuration(info[0]);
    session_ = guarded(env_, [&] {
      return promises_.open<Session>([&](auto report, auto closed) {
        return Session::open(std::move(config), std::move(report), std::move(closed));
      });
    });
  }

  ~NativeCudaSession() override {
    if (session_ != nullptr) session_->queue().close();
  }

 private:
  Session& open() const {
    if (session_ == nullptr) fail("the session is closed");
    return *session_;
  }

  // run(id, program, launches, arenaBytes, graph, inputOffsets, inputs, outputOffsets, outputs)
  Napi::Value run(const Napi::CallbackInfo& info) {
    Session& session = open();
    const auto copies = [&](size_t at, const char* what) {
      const std::vector<int64_t> offsets = integers(info[at], what);
      const std::vector<Bytes> given = list(info[at + 1], what, [](const Napi::Value& v, const std::string& w) { return bytes(v, w); });
      if (given.size() != offsets.size()) fail(std::string(what) + ": an array for each offset is needed");
      std::vector<Copy> result;
      for (size_t i = 0; i < given.size(); ++i) result.push_back({offsets[i], given[i].data, given[i].size});
      return result;
    };
    Call call;
    call.id = static_cast<uint64_t>(integer(info[0], "id"));
    call.program = static_cast<size_t>(integer(info[1], "program"));
    call.launches = launches(info[2], session.kernels());
    call.arena = integer(info[3], "arenaBytes");
    call.graph = info[4].ToBoolean();
    call.inputs = copies(5, "inputs");
    call.outputs = copies(7, "outputs");
    std::vector<Napi::ObjectReference> kept;
    kept.push_back(Napi::Persistent(info[8].As<Napi::Object>()));
    kept.push_back(Napi::Persistent(info.This().As<Napi::Object>()));
    return guarded(env_, [&] { return promises_.of(call.id, std::move(kept), [&] { session.submit(call); }); });
  }

  void cancel(const Napi::CallbackInfo& info) {
    if (session_ != nullptr) session_->queue().cancel(static_cast<uint64_t>(integer(info[0], "id")));
  }

  // A store, while no call is under way.
  const Store& store(const Napi::CallbackInfo& info) const {
    if (promises_.any()) fail("params and states cannot be accessed while calls are under way");
    return open().store(text(info[0], "store"));
  }

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
    guarded(env_, [&] { open().read(from, array.data); });
  }

  void write(const Napi::CallbackInfo& info) {
    const Store& to = store(info);
    const Bytes array = whole(to, info[1]);
    guarded(env_, [&] { open().write(to, array.data); });
  }

  Napi::Value first_non_finite(const Napi::CallbackInfo& info) {
    const Store& of = store(info);
    const std::string dtype = text(info[1], "dtype");
    return guarded(env_, [&] { return Napi::Number::New(env_, static_cast<double>(open().first_non_finite(of, dtype))); });
  }

  Napi::Value free_memory(const Napi::CallbackInfo&) {
    return guarded(env_, [&] {
      const auto [free, total] = open().free_memory();
      Napi::Array result = Napi::Array::New(env_, 2);
      result.Set(0u, static_cast<double>(free));
      result.Set(1u, static_cast<double>(total));
      return result;
    });
  }

  Napi::Value usage(const Napi::CallbackInfo&) {
    const Usage usage = open().usage();
    Napi::Object result = Napi::Object::New(env_);
    const auto set = [&](const char* name, int64_t value) { result.Set(name, static_cast<double>(value)); };
    set("arenaBytes", usage.arena);
    set("storeBytes", usage.stores);
    set("cacheBytes", usage.caches);
    set("graphsMade", usage.graphs_made);
    set("graphsLaunched", usage.graphs_launched);
    set("graphsChanged", usage.graphs_changed);
    return result;
  }

  // By program: calls and nanoseconds of each launch, one after the other.
  Napi::Value profile(const Napi::CallbackInfo&) {
    const auto timings = open().timings();
    Napi::Array result = Napi::Array::New(env_, timings.size());
    for (size_t i = 0; i < timings.size(); ++i) {
      Napi::Float64Array numbers = Napi::Float64Array::New(env_, timings[i].size() * 2);
      for (size_t j = 0; j < timings[i].size(); ++j) {
        numbers[2 * j] = static_cast<double>(timings[i][j].calls);
        numbers[2 * j + 1] = timings[i][j].nanoseconds;
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

// { driverVersion, devices: [{ name, memoryBytes, major, minor, processors, sharedBytes }] }
Napi::Value devices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const Driver& driver = Driver::get();
    int version = 0;
    int count = 0;
    DSK_CUDA(driver, cuDriverGetVersion, &version);
    DSK_CUDA(driver, cuDeviceGetCount, &count);
    Napi::Array all = Napi::Array::New(env, count);
    for (int i = 0; i < count; ++i) {
      CUdevice device = 0;
      DSK_CUDA(driver, cuDeviceGet, &device, i);
      char name[256] = "";
      DSK_CUDA(driver, cuDeviceGetName, name, static_cast<int>(sizeof name), device);
      size_t bytes = 0;
      DSK_CUDA(driver, cuDeviceTotalMem_v2, &bytes, device);
      Napi::Object one = Napi::Object::New(env);
      one.Set("name", name);
      one.Set("memoryBytes", static_cast<double>(bytes));
      const auto attribute = [&](const char* what, int which) {
        int value = 0;
        DSK_CUDA(driver, cuDeviceGetAttribute, &value, which, device);
        one.Set(what, value);
      };
      attribute("major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
      attribute("minor", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
      attribute("processors", CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
      attribute("sharedBytes", CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
      all.Set(static_cast<uint32_t>(i), one);
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("driverVersion", version);
    result.Set("devices", all);
    return result;
  });
}

// { name, major, minor } or { problem }
Napi::Value nvrtc(const Napi::CallbackInfo& info) {
  const NvrtcFound found = find_nvrtc();
  Napi::Object result = Napi::Object::New(info.Env());
  if (found.name.empty()) {
    result.Set("problem", found.problem);
  } else {
    result.Set("name", found.name);
    result.Set("major", found.major);
    result.Set("minor", found.minor);
  }
  return result;
}

class Compilation : public Napi::AsyncWorker {
 public:
  Compilation(Napi::Env env, std::string source, std::string name, std::vector<std::string> options)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        source_(std::move(source)),
        name_(std::move(name)),
        options_(std::move(options)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { cubin_ = compile_cubin(source_, name_, options_); }
  void OnOK() override { deferred_.Resolve(Napi::Buffer<char>::Copy(Env(), cubin_.data(), cubin_.size())); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  const Napi::Promise::Deferred deferred_;
  const std::string source_;
  const std::string name_;
  const std::vector<std::string> options_;
  std::string cubin_;
};

// compileCuda(source, name, options): Promise<Buffer>
Napi::Value compile(const Napi::CallbackInfo& info) {
  const auto string = [](const Napi::Value& v, const std::string& w) { return text(v, w); };
  auto* const work = new Compilation(info.Env(), text(info[0], "source"), text(info[1], "name"), list(info[2], "options", string));
  work->Queue();
  return work->promise();
}

}  // namespace

void define(Napi::Env env, Napi::Object exports) {
  exports.Set("CudaSession", NativeCudaSession::define(env));
  exports.Set("cudaDevices", Napi::Function::New(env, devices));
  exports.Set("nvrtc", Napi::Function::New(env, nvrtc));
  exports.Set("compileCuda", Napi::Function::New(env, compile));
}

}  // namespace dsk::cuda
