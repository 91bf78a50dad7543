// Entry points of modules, and launches of them with their parameters.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "owned.h"

namespace dsk::cuda {

// A tensor map, the parameter of a kernel that copies boxes of a tensor.
struct MapSpec {
  // Which of the entry's pointers says where it lies.
  int64_t pointer;
  int type;
  int swizzle;
  // Elements of a copy in each dim, innermost first.
  std::vector<uint32_t> box;
};

// A table of lists, the parameter of a kernel that goes over many of them: how many it has room for, and pointers of each.
struct ListsSpec {
  int64_t most;
  int64_t args;
};

struct EntrySpec {
  int64_t module;
  std::string symbol;
  int64_t threads;
  // Dynamic shared memory.
  int64_t shared;
  int64_t ints;
  int64_t pointers;
  std::vector<MapSpec> maps;
  // None has room for none.
  ListsSpec lists{0, 0};
};

// The image of a module: a cubin.
struct Image {
  std::string name;
  const void* data;
};

// The memories that pointers lie in.
enum Space : uint8_t { kArena, kStores, kCaches };
constexpr int kSpaces = 3;

struct Place {
  Space space;
  int64_t offset;
};

// An entry that runs. Its parameters are parts of the lists of its call.
struct Launch {
  // Of the program; -1 for what is not part of it.
  int32_t of;
  uint32_t entry;
  uint32_t blocks;
  uint32_t ints;
  uint32_t places;
  // The sizes of each map's dims, then its strides in bytes.
  uint32_t dims;
  // Of its table. The places of a list's pointers follow those of the entry's.
  uint32_t lists;
  uint32_t list_count;
  // Blocks of all lists.
  int32_t list_blocks;
};

// A list in a table: the first of its blocks, and how many elements it has.
struct List {
  int32_t first;
  int32_t elements;
};

struct Launches {
  std::vector<Launch> list;
  std::vector<int32_t> ints;
  std::vector<Place> places;
  std::vector<uint64_t> dims;
  std::vector<List> lists;
};

// What a kernel is given, as the driver wants it.
class Parameters {
 public:
  // The addresses of all of them.
  void** addresses() { return addresses_.data(); }
  // All that a launch depends on, in one string: launches with equal ones are the same.
  const std::string& bytes() const { return bytes_; }

 private:
  friend class Kernels;
  // `Lists` of templates/cuda/dsk.cuh.
  std::vector<uint64_t> table_;
  std::vector<CUtensorMap> maps_;
  std::vector<CUdeviceptr> pointers_;
  std::vector<int32_t> ints_;
  std::vector<void*> addresses_;
  std::string bytes_;
};

class Kernels {
 public:
  // Throws DriverError that names the module or the entry.
  Kernels(const Driver& driver, const std::vector<Image>& images, std::vector<EntrySpec> entries);

  const EntrySpec& entry(uint32_t index) const { return entries_[index]; }
  size_t count() const { return entries_.size(); }

  void bind(const Launches& launches, const Launch& launch, const CUdeviceptr (&bases)[kSpaces], Parameters& into) const;
  CUDA_KERNEL_NODE_PARAMS_v2 node(const Launch& launch, Parameters& parameters) const;
  void launch(const Launch& launch, Parameters& parameters, CUstream stream) const;

 private:
  // The table of a launch's lists.
  void fill(const Launches& launches, const Launch& launch, const CUdeviceptr (&bases)[kSpaces], std::vector<uint64_t>& table) const;

  const Driver& driver_;
  const std::vector<EntrySpec> entries_;
  std::vector<Owned<CUmodule>> modules_;
  std::vector<CUfunction> functions_;
};

}  // namespace dsk::cuda
