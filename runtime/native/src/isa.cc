#include "isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace dsk {

#if defined(__x86_64__)
namespace {

// Bits of ECX that the compiler has no name for: F16C, MOVBE, and LZCNT of the extended leaf.
bool has_rest_of_v3() {
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & (1u << 29)) == 0 || (c & (1u << 22)) == 0) return false;
  return __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (c & (1u << 5)) != 0;
}

}  // namespace

// `__builtin_cpu_supports` also asks whether the system keeps the registers.
const char* isa() {
  if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("ssse3") || !__builtin_cpu_supports("popcnt")) return "";
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2") && has_rest_of_v3();
  if (!v3) return "x86-64-v2";
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? "x86-64-v4" : "x86-64-v3";
}
#elif defined(__aarch64__)
const char* isa() { return "arm64"; }
#else
const char* isa() { return ""; }
#endif

}  // namespace dsk
