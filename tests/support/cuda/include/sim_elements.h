// Numbers as tensor cores take them: so many in 32 bytes, read as floats.
#pragma once
#include <cstdint>
#include <cstring>

#include "harness_numbers.h"
#include "sim_tensor_cores.h"

namespace dsk::sim {

inline uint32_t element_bytes(Number number) {
  return number == Number::kTf32 ? 4 : number == Number::kE4m3 ? 1 : 2;
}
// Terms of a sum that one instruction adds.
inline uint32_t terms_of(Number number) { return 32 / element_bytes(number); }

struct E4m3Table {
  float values[256];
};
inline constexpr E4m3Table kE4m3 = [] {
  E4m3Table table{};
  for (int i = 0; i < 256; ++i) {
    const int exponent = i >> 3 & 15, fraction = i & 7;
    float size = exponent == 0 ? static_cast<float>(fraction) : static_cast<float>(8 + fraction);
    for (int e = exponent > 0 ? exponent : 1; e < 10; ++e) size /= 2;
    for (int e = 10; e < exponent; ++e) size *= 2;
    if ((i & 0x7f) == 0x7f) size = __builtin_nanf("");
    table.values[i] = i & 0x80 ? -size : size;
  }
  return table;
}();

// `count` numbers at `from`.
inline void to_floats(const void* from, uint32_t count, Number number, float* to) {
  switch (number) {
    case Number::kBf16: {
      uint16_t bits[16];
      std::memcpy(bits, from, count * 2);
      for (uint32_t i = 0; i < count; ++i) to[i] = dsk_bits<float>(static_cast<uint32_t>(bits[i]) << 16);
      return;
    }
    case Number::kF16: {
      _Float16 values[16];
      std::memcpy(values, from, count * 2);
      for (uint32_t i = 0; i < count; ++i) to[i] = static_cast<float>(values[i]);
      return;
    }
    case Number::kTf32: {
      uint32_t bits[8];
      std::memcpy(bits, from, count * 4);
      // The last 13 bits are not looked at.
      for (uint32_t i = 0; i < count; ++i) to[i] = dsk_bits<float>(bits[i] & ~uint32_t{0x1fff});
      return;
    }
    case Number::kE4m3: {
      const auto* const codes = static_cast<const unsigned char*>(from);
      for (uint32_t i = 0; i < count; ++i) to[i] = kE4m3.values[codes[i]];
      return;
    }
  }
}

}  // namespace dsk::sim
