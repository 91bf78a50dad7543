// cuTensorMapEncodeTiled, with the rules that the driver has for it.
#include <cstring>

#include "sim_tensor_map.h"
#include "state.h"

namespace {

using dsk::sim::Element;
using dsk::sim::TensorMap;

constexpr uint32_t kElementBytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2};
constexpr uint32_t kSwizzleBytes[] = {0, 32, 64, 128};

}  // namespace

DSK_API cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* base, const cuuint64_t* dims,
                               const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* element_strides,
                               CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                               CUtensorMapFloatOOBfill fill) {
  DSK_CALL("cuTensorMapEncodeTiled", dsk::driver::Call::kInit);
  if (rank < 1 || rank > 5 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE ||
      static_cast<uint32_t>(type) >= std::size(kElementBytes) || static_cast<uint32_t>(swizzle) >= std::size(kSwizzleBytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  TensorMap made = {};
  made.mark = TensorMap::kMark;
  made.rank = rank;
  made.element = static_cast<Element>(type);
  made.element_bytes = kElementBytes[type];
  made.swizzle = kSwizzleBytes[swizzle];
  made.base = static_cast<char*>(base);
  if (reinterpret_cast<uintptr_t>(base) % 16 != 0 || reinterpret_cast<uintptr_t>(map) % 64 != 0) return CUDA_ERROR_INVALID_VALUE;
  for (cuuint32_t i = 0; i < rank; ++i) {
    made.dims[i] = dims[i];
    made.box[i] = box[i];
    if (dims[i] == 0 || dims[i] > uint64_t{1} << 32 || box[i] == 0 || box[i] > 256 || element_strides[i] != 1) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (i == 0) continue;
    made.strides[i - 1] = strides[i - 1];
    if (strides[i - 1] % 16 != 0 || strides[i - 1] >= uint64_t{1} << 40) return CUDA_ERROR_INVALID_VALUE;
  }
  // A row of a box is whole chunks of 16 bytes, and no longer than what is swizzled.
  const uint32_t row_bytes = box[0] * made.element_bytes;
  if (row_bytes % 16 != 0 || (made.swizzle != 0 && row_bytes > made.swizzle)) return CUDA_ERROR_INVALID_VALUE;
  std::memset(map, 0, sizeof *map);
  std::memcpy(map, &made, sizeof made);
  return CUDA_SUCCESS;
}
