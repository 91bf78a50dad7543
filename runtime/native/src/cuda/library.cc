#include "library.h"

#include <dlfcn.h>

#include <cstdlib>

namespace dsk::cuda {

Library::Library(const char* variable, std::vector<std::string> names) {
  const char* const own = std::getenv(variable);
  const bool chosen = own != nullptr && *own != '\0';
  if (chosen) names = {own};
  for (const std::string& name : names) {
    handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      name_ = name;
      problem_.clear();
      return;
    }
    const char* const why = dlerror();
    problem_ += (problem_.empty() ? "" : "; ") + (why == nullptr ? name + " cannot be loaded" : std::string(why));
  }
  if (chosen) problem_ += std::string(" (") + variable + ")";
}

void* Library::symbol(const char* name) const { return dlsym(handle_, name); }

}  // namespace dsk::cuda
