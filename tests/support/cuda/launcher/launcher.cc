// Runs one kernel of a module through the stand-in of libcuda, with buffers from files: what tests of single kernels use, and what can
// be built with a sanitizer. `launcher JOB`, where the job's lines are (run-kernel.ts writes them)
//   module PATH
//   kernel NAME GRID BLOCK SHARED_BYTES
//   buffer PATH               memory with the file's bytes; they are written back
//   map BUFFER TYPE SWIZZLE RANK DIMS... STRIDES... BOX...
//   param int VALUE | param buffer NUMBER BEFORE | param map NUMBER
// A buffer may be what a kernel touches of a larger array: BEFORE bytes of the array, which are nowhere, lie before it.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../driver/api.h"

extern "C" {
CUresult cuInit(unsigned int);
CUresult cuDevicePrimaryCtxRetain(CUcontext*, CUdevice);
CUresult cuCtxSetCurrent(CUcontext);
CUresult cuCtxSynchronize();
CUresult cuGetErrorString(CUresult, const char**);
CUresult cuMemAlloc_v2(CUdeviceptr*, size_t);
CUresult cuMemFree_v2(CUdeviceptr);
CUresult cuMemcpyHtoD_v2(CUdeviceptr, const void*, size_t);
CUresult cuMemcpyDtoH_v2(void*, CUdeviceptr, size_t);
CUresult cuModuleLoadData(CUmodule*, const void*);
CUresult cuModuleGetFunction(CUfunction*, CUmodule, const char*);
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int);
CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void**, void**);
CUresult cuTensorMapEncodeTiled(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                                const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
}

namespace {

void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  const char* text = "";
  cuGetErrorString(result, &text);
  std::fprintf(stderr, "%s: %s\n", what, text);
  std::exit(1);
}
#define CHECK(call) check(call, #call)

struct Buffer {
  std::string path;
  std::vector<char> bytes;
  CUdeviceptr device = 0;
};

Buffer load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Buffer made{path, {std::istreambuf_iterator<char>(file), {}}};
  CHECK(cuMemAlloc_v2(&made.device, made.bytes.size()));
  CHECK(cuMemcpyHtoD_v2(made.device, made.bytes.data(), made.bytes.size()));
  return made;
}

void save(Buffer& buffer) {
  CHECK(cuMemcpyDtoH_v2(buffer.bytes.data(), buffer.device, buffer.bytes.size()));
  std::ofstream(buffer.path, std::ios::binary).write(buffer.bytes.data(), static_cast<std::streamsize>(buffer.bytes.size()));
  CHECK(cuMemFree_v2(buffer.device));
}

CUtensorMap encode(std::istream& line, const std::vector<Buffer>& buffers) {
  size_t buffer;
  int type, swizzle;
  cuuint32_t rank;
  line >> buffer >> type >> swizzle >> rank;
  std::vector<cuuint64_t> dims(rank), strides(rank - 1);
  std::vector<cuuint32_t> box(rank), ones(rank, 1);
  for (auto& dim : dims) line >> dim;
  for (auto& stride : strides) line >> stride;
  for (auto& side : box) line >> side;
  CUtensorMap map;
  CHECK(cuTensorMapEncodeTiled(&map, static_cast<CUtensorMapDataType>(type), rank, reinterpret_cast<void*>(buffers[buffer].device),
                               dims.data(), strides.data(), box.data(), ones.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
                               static_cast<CUtensorMapSwizzle>(swizzle), CU_TENSOR_MAP_L2_PROMOTION_NONE,
                               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

}  // namespace

int main(int, char** arguments) {
  CUcontext context;
  CHECK(cuInit(0));
  CHECK(cuDevicePrimaryCtxRetain(&context, 0));
  CHECK(cuCtxSetCurrent(context));

  std::string module, kernel;
  unsigned grid = 1, block = 1, shared_bytes = 0;
  std::vector<Buffer> buffers;
  std::vector<std::unique_ptr<CUtensorMap>> maps;
  std::vector<std::unique_ptr<int>> ints;
  std::vector<std::unique_ptr<CUdeviceptr>> pointers;
  std::vector<void*> params;
  std::ifstream job(arguments[1]);
  for (std::string text; std::getline(job, text);) {
    std::istringstream line(text);
    std::string word;
    line >> word;
    if (word == "module") {
      line >> module;
    } else if (word == "kernel") {
      line >> kernel >> grid >> block >> shared_bytes;
    } else if (word == "buffer") {
      line >> word;
      buffers.push_back(load(word));
    } else if (word == "map") {
      maps.push_back(std::make_unique<CUtensorMap>(encode(line, buffers)));
    } else {
      int value;
      line >> word >> value;
      if (word == "int") {
        ints.push_back(std::make_unique<int>(value));
        params.push_back(ints.back().get());
      } else if (word == "buffer") {
        CUdeviceptr before = 0;
        line >> before;
        pointers.push_back(std::make_unique<CUdeviceptr>(buffers[static_cast<size_t>(value)].device - before));
        params.push_back(pointers.back().get());
      } else {
        params.push_back(maps[static_cast<size_t>(value)].get());
      }
    }
  }

  const std::string image = "dskc harness module: " + module + "\n";
  CUmodule loaded;
  CUfunction function;
  CHECK(cuModuleLoadData(&loaded, image.data()));
  CHECK(cuModuleGetFunction(&function, loaded, kernel.c_str()));
  CHECK(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared_bytes)));
  CHECK(cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared_bytes, nullptr, params.data(), nullptr));
  CHECK(cuCtxSynchronize());
  for (Buffer& buffer : buffers) save(buffer);
}
