#include "kernels.h"

#include <algorithm>
#include <utility>

namespace dsk::cuda {
namespace {

// Kernels have so much without asking.
constexpr int64_t kUsualShared = 48 << 10;

[[noreturn]] void rethrow(const DriverError& error, const std::string& where) {
  throw DriverError(where + ": " + error.what(), error.result);
}

}  // namespace

Kernels::Kernels(const Driver& driver, const std::vector<Image>& images, std::vector<EntrySpec> entries)
    : driver_(driver), entries_(std::move(entries)) {
  for (const Image& image : images) {
    CUmodule module = nullptr;
    try {
      DSK_CUDA(driver_, cuModuleLoadData, &module, image.data);
    } catch (const DriverError& error) {
      rethrow(error, "kernel " + image.name);
    }
    modules_.emplace_back(module, driver_.cuModuleUnload);
  }
  for (const EntrySpec& entry : entries_) {
    CUfunction function = nullptr;
    try {
      DSK_CUDA(driver_, cuModuleGetFunction, &function, modules_[entry.module].get(), entry.symbol.c_str());
      if (entry.shared > kUsualShared) {
        DSK_CUDA(driver_, cuFuncSetAttribute, function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                 static_cast<int>(entry.shared));
      }
    } catch (const DriverError& error) {
      rethrow(error, "kernel " + images[entry.module].name + ", entry " + entry.symbol);
    }
    functions_.push_back(function);
  }
}

void Kernels::bind(const Launches& all, const Launch& launch, const CUdeviceptr (&bases)[kSpaces], Parameters& into) const {
  const EntrySpec& entry = entries_[launch.entry];
  into.ints_.assign(all.ints.begin() + launch.ints, all.ints.begin() + launch.ints + entry.ints);
  into.pointers_.clear();
  for (int64_t i = 0; i < entry.pointers; ++i) {
    const Place& place = all.places[launch.places + i];
    into.pointers_.push_back(bases[place.space] + place.offset);
  }
  into.maps_.clear();
  const uint64_t* dims = all.dims.data() + launch.dims;
  for (const MapSpec& spec : entry.maps) {
    const auto rank = static_cast<uint32_t>(spec.box.size());
    const std::vector<uint32_t> steps(rank, 1);
    const uint64_t* const strides = dims + rank;
    DSK_CUDA(driver_, cuTensorMapEncodeTiled, &into.maps_.emplace_back(), spec.type, rank,
             reinterpret_cast<void*>(into.pointers_[spec.pointer]), dims, strides, spec.box.data(), steps.data(),
             CU_TENSOR_MAP_INTERLEAVE_NONE, spec.swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    dims = strides + rank - 1;
  }
  into.addresses_.clear();
  into.bytes_.assign(reinterpret_cast<const char*>(&launch.blocks), sizeof launch.blocks);
  const auto add = [&](auto& list) {
    for (auto& one : list) into.addresses_.push_back(&one);
    into.bytes_.append(reinterpret_cast<const char*>(list.data()), list.size() * sizeof list[0]);
  };
  add(into.ints_);
  add(into.pointers_);
  add(into.maps_);
  if (entry.lists.most > 0) {
    fill(all, launch, bases, into.table_);
    into.addresses_.push_back(into.table_.data());
    into.bytes_.append(reinterpret_cast<const char*>(into.table_.data()), into.table_.size() * sizeof into.table_[0]);
  }
}

// Where the lists begin and where all of them end, then what they have, then pointers: those of all lists that are the same argument
// are neighbors. What has no list begins where all end.
void Kernels::fill(const Launches& all, const Launch& launch, const CUdeviceptr (&bases)[kSpaces], std::vector<uint64_t>& table) const {
  const EntrySpec& entry = entries_[launch.entry];
  const auto most = static_cast<size_t>(entry.lists.most);
  const auto args = static_cast<size_t>(entry.lists.args);
  table.assign((most + 1) + most * args, 0);
  auto* const firsts = reinterpret_cast<int32_t*>(table.data());
  int32_t* const elements = firsts + most + 1;
  uint64_t* const pointers = table.data() + most + 1;
  std::fill(firsts, firsts + most + 1, launch.list_blocks);
  const Place* place = all.places.data() + launch.places + entry.pointers;
  for (size_t i = 0; i < launch.list_count; ++i) {
    const List& list = all.lists[launch.lists + i];
    firsts[i] = list.first;
    elements[i] = list.elements;
    for (size_t arg = 0; arg < args; ++arg, ++place) pointers[arg * most + i] = bases[place->space] + place->offset;
  }
}

CUDA_KERNEL_NODE_PARAMS_v2 Kernels::node(const Launch& launch, Parameters& parameters) const {
  const EntrySpec& entry = entries_[launch.entry];
  CUDA_KERNEL_NODE_PARAMS_v2 node{};
  node.func = functions_[launch.entry];
  node.gridDimX = launch.blocks;
  node.gridDimY = node.gridDimZ = 1;
  node.blockDimX = static_cast<unsigned>(entry.threads);
  node.blockDimY = node.blockDimZ = 1;
  node.sharedMemBytes = static_cast<unsigned>(entry.shared);
  node.kernelParams = parameters.addresses();
  return node;
}

void Kernels::launch(const Launch& launch, Parameters& parameters, CUstream stream) const {
  const CUDA_KERNEL_NODE_PARAMS_v2 node = this->node(launch, parameters);
  DSK_CUDA(driver_, cuLaunchKernel, node.func, node.gridDimX, 1, 1, node.blockDimX, 1, 1, node.sharedMemBytes, stream,
           node.kernelParams, nullptr);
}

}  // namespace dsk::cuda
