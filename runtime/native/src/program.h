// A launch program (runtime/program/launch.ts) that was checked against the kernels it launches.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "library.h"

namespace dsk {

enum class Kind : uint8_t { kInput, kParam, kState, kCache, kOutput, kTemp };

// A number, or the value of a run-time dim.
struct Extent {
  int64_t size;
  // -1 for a number.
  int32_t dim;
};

struct Buffer {
  Kind kind;
  std::string name;
  // Of an element.
  int64_t bits;
  std::vector<Extent> shape;
};

struct Launch {
  std::string name;
  const dsk_kernel* kernel;
  std::vector<int64_t> args;
  std::vector<Extent> extents;
};

struct Program {
  std::string name;
  std::vector<std::string> dims;
  std::vector<Buffer> buffers;
  std::vector<Launch> launches;

  // Finds the kernels of the launches. Throws for whatever could lead outside of the tables or of the buffers.
  void check(const Library& library);
  // Bytes of a buffer in a call; of a cache, of one row. Throws when no memory can have so many.
  int64_t bytes(const Buffer& buffer, const std::vector<int64_t>& sizes) const;
  // Checks the sizes of a call: one for each dim, none negative.
  void check_sizes(const std::vector<int64_t>& sizes) const;
};

inline int64_t size_of(const Extent& extent, const std::vector<int64_t>& sizes) {
  return extent.dim < 0 ? extent.size : sizes[extent.dim];
}

}  // namespace dsk
