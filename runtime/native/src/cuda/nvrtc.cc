#include "nvrtc.h"

#include <memory>
#include <stdexcept>

#include "library.h"

namespace dsk::cuda {
namespace {

using Program = struct NvrtcProgram*;

#define DSK_NVRTC_FUNCTIONS(X)                                                                              \
  X(nvrtcVersion, (int* major, int* minor))                                                                 \
  X(nvrtcCreateProgram, (Program* program, const char* source, const char* name, int headers,               \
                         const char* const* texts, const char* const* names))                               \
  X(nvrtcDestroyProgram, (Program* program))                                                                \
  X(nvrtcCompileProgram, (Program program, int count, const char* const* options))                          \
  X(nvrtcGetCUBINSize, (Program program, size_t* bytes))                                                    \
  X(nvrtcGetCUBIN, (Program program, char* cubin))                                                          \
  X(nvrtcGetProgramLogSize, (Program program, size_t* bytes))                                               \
  X(nvrtcGetProgramLog, (Program program, char* log))

struct Nvrtc {
  // The name of the library; empty when there is none.
  std::string library;
  std::string problem;
#define DSK_NVRTC_MEMBER(name, parameters) int(*name) parameters = nullptr;
  DSK_NVRTC_FUNCTIONS(DSK_NVRTC_MEMBER)
#undef DSK_NVRTC_MEMBER
  const char* (*nvrtcGetErrorString)(int result) = nullptr;
};

Nvrtc load() {
  static const Library library("DSKC_LIBNVRTC", {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"});
  Nvrtc nvrtc;
  nvrtc.problem = library.problem();
  if (!library.found()) return nvrtc;
  bool complete = true;
#define DSK_NVRTC_LOAD(name, parameters)                                  \
  nvrtc.name = reinterpret_cast<int(*) parameters>(library.symbol(#name)); \
  complete = complete && nvrtc.name != nullptr;
  DSK_NVRTC_FUNCTIONS(DSK_NVRTC_LOAD)
#undef DSK_NVRTC_LOAD
  nvrtc.nvrtcGetErrorString = reinterpret_cast<const char* (*)(int)>(library.symbol("nvrtcGetErrorString"));
  if (complete && nvrtc.nvrtcGetErrorString != nullptr) {
    nvrtc.library = library.name();
  } else {
    nvrtc.problem = library.name() + " lacks functions: it is older than CUDA 12";
  }
  return nvrtc;
}

const Nvrtc& nvrtc() {
  static const Nvrtc instance = load();
  return instance;
}

void check(int result, const char* call) {
  if (result != 0) throw std::runtime_error(std::string(call) + ": " + nvrtc().nvrtcGetErrorString(result));
}

// Ends with its scope.
struct Compilation {
  Program program = nullptr;
  ~Compilation() {
    if (program != nullptr) nvrtc().nvrtcDestroyProgram(&program);
  }
  std::string log() const {
    size_t bytes = 0;
    if (nvrtc().nvrtcGetProgramLogSize(program, &bytes) != 0) return "";
    std::string text(bytes, '\0');
    if (bytes == 0 || nvrtc().nvrtcGetProgramLog(program, text.data()) != 0) return "";
    return text.c_str();
  }
};

}  // namespace

NvrtcFound find_nvrtc() {
  const Nvrtc& found = nvrtc();
  NvrtcFound result{found.library, 0, 0, found.problem};
  if (!result.name.empty()) check(found.nvrtcVersion(&result.major, &result.minor), "nvrtcVersion");
  return result;
}

std::string compile_cubin(const std::string& source, const std::string& name, const std::vector<std::string>& options) {
  const Nvrtc& with = nvrtc();
  if (with.library.empty()) throw std::runtime_error(with.problem);
  Compilation compilation;
  check(with.nvrtcCreateProgram(&compilation.program, source.c_str(), name.c_str(), 0, nullptr, nullptr),
        "nvrtcCreateProgram");
  std::vector<const char*> given;
  for (const std::string& option : options) given.push_back(option.c_str());
  const int result = with.nvrtcCompileProgram(compilation.program, static_cast<int>(given.size()), given.data());
  if (result != 0) {
    const std::string log = compilation.log();
    throw std::runtime_error(name + " does not compile: " + with.nvrtcGetErrorString(result) + (log.empty() ? "" : "\n" + log));
  }
  size_t bytes = 0;
  check(with.nvrtcGetCUBINSize(compilation.program, &bytes), "nvrtcGetCUBINSize");
  std::string cubin(bytes, '\0');
  check(with.nvrtcGetCUBIN(compilation.program, cubin.data()), "nvrtcGetCUBIN");
  return cubin;
}

}  // namespace dsk::cuda
