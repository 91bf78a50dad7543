// The module's only symbol.
#include "sim_module.h"

#include <vector>

#include "sim_machine.h"
#include "sim_register.h"

namespace dsk::sim {
namespace {

// Made when the first kernel registers itself, before this file's statics may be.
std::vector<Kernel>& kernels() {
  static std::vector<Kernel> all;
  return all;
}

}  // namespace

void add_kernel(const Kernel& kernel) { kernels().push_back(kernel); }

}  // namespace dsk::sim

extern "C" __attribute__((visibility("default"))) const dsk::sim::Module* dsk_sim_module() {
  using namespace dsk::sim;
  static const Module module{kModuleVersion, static_cast<int32_t>(kernels().size()), kernels().data(), run_launch, [](const char* what, const void* address) {
                               fail("%s, at %p", what, address);
                             }};
  return &module;
}
