// Elements of tensors as bits.
#pragma once
#include <cstdint>
#include <string>

namespace dsk {

// Bits of an element of a storage type (runtime/program/launch.ts). Throws for another name.
int64_t element_bits(const std::string& dtype);

// The index of the first element that is NaN or infinite, -1 when there is none.
int64_t first_non_finite(const std::string& dtype, const char* data, int64_t count);

}  // namespace dsk
