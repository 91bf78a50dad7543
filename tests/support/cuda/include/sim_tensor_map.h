// What a CUtensorMap holds here: encoded by the stand-in's cuTensorMapEncodeTiled, read by TMA.
#pragma once
#include <cstdint>

namespace dsk::sim {

enum class Element : uint32_t { kU8, kU16, kU32, kI32, kU64, kI64, kF16, kF32, kF64, kBf16 };

struct TensorMap {
  static constexpr uint32_t kMark = 0x544d4150;

  uint32_t mark;
  uint32_t rank;
  Element element;
  uint32_t element_bytes;
  // Swizzled in rows of so many bytes: 0, 32, 64, or 128.
  uint32_t swizzle;
  // Of a box and of the tensor, innermost first.
  uint32_t box[5];
  char* base;
  uint64_t dims[5];
  // In bytes, of the dimensions behind the first.
  uint64_t strides[4];
};
static_assert(sizeof(TensorMap) <= 128);

}  // namespace dsk::sim
