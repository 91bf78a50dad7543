// Behind the text of a kernel file: `DSK_KERNEL(name, threads, cluster)` for each of its kernels makes them known to the module.
#pragma once
#include "sim_module.h"

namespace dsk::sim {

// 0, 1, ... count - 1, as std::index_sequence has them.
template <size_t... i>
struct Indices {};
template <size_t count, size_t... i>
struct Count : Count<count - 1, count - 1, i...> {};
template <size_t... i>
struct Count<0, i...> {
  using Type = Indices<i...>;
};

// A kernel whose parameters are copied out of a launch.
template <auto kernel>
struct Entry;
template <class... Params, void (*kernel)(Params...)>
struct Entry<kernel> {
  static constexpr uint32_t bytes[] = {sizeof(Params)..., 0};
  static constexpr int32_t count = sizeof...(Params);

  template <size_t... i>
  static void call(void* const* params, Indices<i...>) {
    kernel(*static_cast<Params*>(params[i])...);
  }
  static void invoke(void* const* params) { call(params, typename Count<sizeof...(Params)>::Type{}); }
};

void add_kernel(const Kernel& kernel);

struct Registration {
  explicit Registration(const Kernel& kernel) { add_kernel(kernel); }
};

}  // namespace dsk::sim

#define DSK_JOIN_(a, b) a##b
#define DSK_JOIN(a, b) DSK_JOIN_(a, b)
#define DSK_SECTION_START DSK_JOIN(__start_, DSK_SHARED_NAME)
#define DSK_SECTION_STOP DSK_JOIN(__stop_, DSK_SHARED_NAME)
extern "C" {
extern char DSK_SECTION_START[] __attribute__((weak, visibility("hidden")));
extern char DSK_SECTION_STOP[] __attribute__((weak, visibility("hidden")));
}

#define DSK_KERNEL(name, threads, cluster)                                                                                    \
  static const dsk::sim::Registration dsk_registration_##name(                                                                \
      {#name, threads, cluster, dsk::sim::Entry<&name>::count, dsk::sim::Entry<&name>::bytes, DSK_SECTION_START,              \
       static_cast<size_t>(DSK_SECTION_STOP - DSK_SECTION_START), dsk::sim::Entry<&name>::invoke});
