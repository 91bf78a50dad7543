#include "library.h"

#include <dlfcn.h>

#include <stdexcept>

namespace dsk {

Library::Library(const std::string& path) : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ == nullptr) {
    const char* const reason = dlerror();
    throw std::runtime_error("cannot load kernels: " + (reason == nullptr ? path : std::string(reason)));
  }
  try {
    read(path);
  } catch (...) {
    dlclose(handle_);
    throw;
  }
}

void Library::read(const std::string& path) {
  const auto table = reinterpret_cast<decltype(&dsk_kernels)>(dlsym(handle_, "dsk_kernels"));
  if (table == nullptr) throw std::runtime_error(path + " is no library of kernels: it lacks dsk_kernels");
  int32_t count = 0;
  const dsk_kernel* const kernels = table(DSK_ABI, &count);
  if (kernels == nullptr) {
    throw std::runtime_error(path + " was made for another version of dskc (this one has version " +
                             std::to_string(DSK_ABI) + " of the interface of kernels): build the package again");
  }
  for (int32_t i = 0; i < count; ++i) {
    const dsk_kernel& kernel = kernels[i];
    if (kernel.name == nullptr || kernel.items == nullptr || kernel.scratch == nullptr || kernel.run == nullptr ||
        kernel.args < 0 || kernel.extents < 0) {
      throw std::runtime_error(path + ": kernel " + std::to_string(i) + " is incomplete");
    }
    if (!kernels_.emplace(kernel.name, &kernel).second) {
      throw std::runtime_error(path + ": there are two kernels " + kernel.name);
    }
  }
}

Library::~Library() { dlclose(handle_); }

const dsk_kernel* Library::find(const std::string& name) const {
  const auto found = kernels_.find(name);
  return found == kernels_.end() ? nullptr : found->second;
}

}  // namespace dsk
