#include "numbers.h"

#include <cstring>
#include <stdexcept>

namespace dsk {
namespace {

// An exponent of ones is infinite or NaN.
template <class Bits, Bits kExponent>
int64_t search(const char* data, int64_t count) {
  // Blocks without a branch per element: almost always there is nothing to find.
  constexpr int64_t kBlock = 1024;
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t end = first + kBlock < count ? first + kBlock : count;
    bool found = false;
    for (int64_t i = first; i < end; ++i) {
      Bits bits;
      std::memcpy(&bits, data + i * sizeof(Bits), sizeof(Bits));
      found |= (bits & kExponent) == kExponent;
    }
    for (int64_t i = first; found && i < end; ++i) {
      Bits bits;
      std::memcpy(&bits, data + i * sizeof(Bits), sizeof(Bits));
      if ((bits & kExponent) == kExponent) return i;
    }
  }
  return -1;
}

}  // namespace

int64_t element_bits(const std::string& dtype) {
  if (dtype == "f64") return 64;
  if (dtype == "f32" || dtype == "i32") return 32;
  if (dtype == "bf16" || dtype == "f16") return 16;
  if (dtype == "f8e4m3" || dtype == "bool" || dtype == "i8") return 8;
  if (dtype == "i4") return 4;
  throw std::runtime_error("there is no storage type " + dtype);
}

int64_t first_non_finite(const std::string& dtype, const char* data, int64_t count) {
  if (dtype == "f64") return search<uint64_t, 0x7ff0000000000000>(data, count);
  if (dtype == "f32") return search<uint32_t, 0x7f800000>(data, count);
  if (dtype == "bf16") return search<uint16_t, 0x7f80>(data, count);
  if (dtype == "f16") return search<uint16_t, 0x7c00>(data, count);
  // E4M3 has no infinities, and one NaN of each sign.
  if (dtype == "f8e4m3") return search<uint8_t, 0x7f>(data, count);
  return -1;
}

}  // namespace dsk
