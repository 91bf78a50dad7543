// Libraries of NVIDIA that are looked for when they are needed.
#pragma once
#include <string>
#include <vector>

namespace dsk::cuda {

// The first of these that can be loaded; what the environment variable names alone, where it is set. Libraries stay loaded.
class Library {
 public:
  Library(const char* variable, std::vector<std::string> names);

  bool found() const { return handle_ != nullptr; }
  // The name that it was found by.
  const std::string& name() const { return name_; }
  // What was looked for, and why it was not found.
  const std::string& problem() const { return problem_; }
  // Null when there is no such symbol.
  void* symbol(const char* name) const;

 private:
  void* handle_ = nullptr;
  std::string name_;
  std::string problem_;
};

}  // namespace dsk::cuda
