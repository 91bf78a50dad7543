// NVRTC, the compiler of CUDA C++ as a library, loaded at first use.
#pragma once
#include <string>
#include <vector>

namespace dsk::cuda {

struct NvrtcFound {
  // The name that it was found by; empty when it was not.
  std::string name;
  int major = 0;
  int minor = 0;
  // What was looked for.
  std::string problem;
};

NvrtcFound find_nvrtc();

// The cubin of a source. Throws with what the compiler says. Several threads may compile at once.
std::string compile_cubin(const std::string& source, const std::string& name, const std::vector<std::string>& options);

}  // namespace dsk::cuda
