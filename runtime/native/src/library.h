// A library of generated kernels.
#pragma once
#include <string>
#include <unordered_map>

#include "abi.h"

namespace dsk {

class Library {
 public:
  // Throws when it cannot be loaded or was made for another runtime.
  explicit Library(const std::string& path);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  // Null when there is no such kernel.
  const dsk_kernel* find(const std::string& name) const;

 private:
  void read(const std::string& path);

  void* handle_;
  std::unordered_map<std::string, const dsk_kernel*> kernels_;
};

}  // namespace dsk
