// A launch program (runtime/program/launch.ts) that was checked against the kernels it launches.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "library.h"

namespace dsk {

enum class Kind : uint8_t { kInput, kParam, kState, kCache, kOutput, kTemp };

// A number, or what follows from the value of a run-time dim: ceil(value / by) * times + plus.
struct Extent {
  int64_t size;
  // -1 for a number.
  int32_t dim;
  int64_t by = 1;
  int64_t times = 1;
  int64_t plus = 0;
};

struct Buffer {
  Kind kind;
  std::string name;
  // Of an element.
  int64_t bits;
  std::vector<Extent> shape;
  // Of a temp that holds one block of rows: the most that it holds; -1 for the others.
  int64_t block = -1;
};

struct Launch {
  std::string name;
  const dsk_kernel* kernel;
  std::vector<int64_t> args;
  std::vector<Extent> extents;
};

// Launches that run for one block of rows of a dim after the other.
struct Blocks {
  int32_t dim;
  int64_t rows;
  int64_t first;
  int64_t count;
};

// A run of a launch. With a dim, of some of its rows.
struct Step {
  int64_t launch;
  // -1 for all rows.
  int32_t dim;
  int64_t begin;
  int64_t rows;
};

struct Program {
  std::string name;
  std::vector<std::string> dims;
  std::vector<Buffer> buffers;
  std::vector<Launch> launches;
  std::vector<Blocks> blocks;

  // Finds the kernels of the launches. Throws for whatever could lead outside of the tables or of the buffers.
  void check(const Library& library);
  // Bytes of a buffer in a call; of a cache, of one row. Throws when no memory can have so many.
  int64_t bytes(const Buffer& buffer, const std::vector<int64_t>& sizes) const;
  // Checks the sizes of a call: one for each dim, none negative.
  void check_sizes(const std::vector<int64_t>& sizes) const;
  // The launches of a call, those in blocks once for each block.
  std::vector<Step> steps(const std::vector<int64_t>& sizes) const;

 private:
  void check_blocks() const;
};

// With its run-time dim at this value; what does not fit is the largest number, which no buffer has room for.
inline int64_t size_of(const Extent& extent, int64_t value) {
  int64_t size = value / extent.by + (value % extent.by != 0 ? 1 : 0);
  if (__builtin_mul_overflow(size, extent.times, &size) || __builtin_add_overflow(size, extent.plus, &size)) return INT64_MAX;
  return size;
}

inline int64_t size_of(const Extent& extent, const std::vector<int64_t>& sizes) {
  return extent.dim < 0 ? extent.size : size_of(extent, sizes[extent.dim]);
}

// In a step.
inline int64_t size_of(const Extent& extent, const std::vector<int64_t>& sizes, const Step& step) {
  return extent.dim >= 0 && extent.dim == step.dim ? size_of(extent, step.rows) : size_of(extent, sizes);
}

}  // namespace dsk
