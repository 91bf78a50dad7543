// Modules. An image is a shared library that g++ built (the bytes of the file), or a line of text "dskc harness module: PATH" that
// names one: so many kernels can share a library and still have an image each.
#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "sim_fiber.h"
#include "state.h"

namespace dsk::driver {
namespace {

constexpr char kText[] = "dskc harness module: ";

// The section headers are the last part of what the linker writes.
size_t elf_bytes(const void* image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  return header.e_shoff + size_t{header.e_shnum} * header.e_shentsize;
}

// A file of its own for each time a library is loaded: the loader takes files of one name for the same library.
std::string fresh_path() {
  static int files = 0;
  return setting("TMPDIR", "/tmp") + "/dskc-module-" + std::to_string(getpid()) + "-" + std::to_string(++files) + ".so";
}

bool write_file(const std::string& path, const void* bytes, size_t count) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return false;
  const bool written = std::fwrite(bytes, 1, count, file) == count;
  return std::fclose(file) == 0 && written;
}

std::vector<char> read_file(const std::string& path) {
  std::vector<char> bytes;
  if (std::FILE* const file = std::fopen(path.c_str(), "rb")) {
    char part[65536];
    for (size_t count; (count = std::fread(part, 1, sizeof part, file)) > 0;) bytes.insert(bytes.end(), part, part + count);
    std::fclose(file);
  }
  return bytes;
}

}  // namespace

bool sanitized() { return sim::has_address_sanitizer() || sim::has_thread_sanitizer(); }

std::shared_ptr<LoadedModule> LoadedModule::load(const void* image) {
  // Images that name the same library share what is loaded of it.
  static auto* const shared = new std::vector<std::weak_ptr<LoadedModule>>;
  auto made = std::make_shared<LoadedModule>();
  if (std::memcmp(image, kText, sizeof kText - 1) == 0) {
    const char* const path = static_cast<const char*>(image) + sizeof kText - 1;
    made->path_.assign(path, std::strcspn(path, "\n"));
    for (const auto& other : *shared) {
      const auto found = other.lock();
      if (found != nullptr && found->path_ == made->path_) return found;
    }
    shared->push_back(made);
  } else if (std::memcmp(image, ELFMAG, SELFMAG) == 0) {
    made->path_ = fresh_path();
    made->own_path_ = true;
    if (!write_file(made->path_, image, elf_bytes(image))) return nullptr;
  } else {
    return nullptr;
  }
  try {
    made->instance(0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "CUDA on the CPU: %s\n", error.what());
    return nullptr;
  }
  return made;
}

LoadedModule::~LoadedModule() {
  for (void* const handle : handles_) dlclose(handle);
  if (own_path_) unlink(path_.c_str());
}

// A copy of the file for each instance, so that each has its own statics. Sanitizers want to find the file that they report about.
const sim::Module& LoadedModule::instance(uint32_t i) {
  while (instances_.size() <= i) {
    const bool copy = !sanitized();
    const std::string path = copy ? fresh_path() : path_;
    if (copy) {
      const std::vector<char> bytes = read_file(path_);
      if (bytes.empty() || !write_file(path, bytes.data(), bytes.size())) throw std::runtime_error(path_ + " cannot be read");
    }
    void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    const std::string error = handle == nullptr ? dlerror() : "";
    if (copy) unlink(path.c_str());
    if (handle == nullptr) throw std::runtime_error(path_ + ": " + error);
    handles_.push_back(handle);
    const auto entry = reinterpret_cast<const sim::Module* (*)()>(dlsym(handle, "dsk_sim_module"));
    if (entry == nullptr) throw std::runtime_error(path_ + " is not a module of the harness");
    const sim::Module* const found = entry();
    if (found->version != sim::kModuleVersion) throw std::runtime_error(path_ + " was built for another version of the harness");
    instances_.push_back(found);
  }
  return *instances_[i];
}

int LoadedModule::find(const std::string& kernel) {
  const sim::Module& module = instance(0);
  for (int i = 0; i < module.kernel_count; ++i) {
    if (kernel == module.kernels[i].name) return i;
  }
  return -1;
}

}  // namespace dsk::driver

using namespace dsk::driver;

DSK_API cuModuleLoadData(CUmodule* module, const void* image) {
  DSK_CALL("cuModuleLoadData");
  auto loaded = LoadedModule::load(image);
  if (loaded == nullptr) return CUDA_ERROR_INVALID_IMAGE;
  *module = new CUmod_st{std::move(loaded), {}};
  return CUDA_SUCCESS;
}

DSK_API cuModuleUnload(CUmodule module) {
  DSK_CALL("cuModuleUnload");
  drain_all(false);
  delete module;
  return CUDA_SUCCESS;
}

DSK_API cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  DSK_CALL("cuModuleGetFunction");
  const int index = module->loaded->find(name);
  if (index < 0) return CUDA_ERROR_NOT_FOUND;
  for (const auto& known : module->functions) {
    if (known->index == index) {
      *function = known.get();
      return CUDA_SUCCESS;
    }
  }
  module->functions.push_back(std::make_unique<CUfunc_st>(CUfunc_st{module->loaded, index}));
  *function = module->functions.back().get();
  return CUDA_SUCCESS;
}

DSK_API cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  DSK_CALL("cuFuncSetAttribute");
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_SUCCESS;
  const dsk::sim::Kernel& kernel = function->loaded->instance(0).kernels[function->index];
  if (value < 0 || static_cast<size_t>(value) + kernel.shared_bytes > 232448) return CUDA_ERROR_INVALID_VALUE;
  function->dynamic_limit = static_cast<uint32_t>(value);
  return CUDA_SUCCESS;
}

DSK_API cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
  DSK_CALL("cuFuncGetAttribute");
  const dsk::sim::Kernel& kernel = function->loaded->instance(0).kernels[function->index];
  switch (static_cast<int>(attribute)) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = static_cast<int>(kernel.max_threads); break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = static_cast<int>(kernel.shared_bytes); break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = static_cast<int>(function->dynamic_limit); break;
    default: *value = 0;
  }
  return CUDA_SUCCESS;
}
