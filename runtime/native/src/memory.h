// Memory of sessions: anonymous blocks and mapped files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace dsk {

// Every buffer begins on a cache line, as the arena plan places temps (runtime/program/arena.ts).
constexpr int64_t kAlignment = 64;

constexpr int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Zeroed memory on huge pages where the system has them; pages become real when they are touched.
class Block {
 public:
  Block() = default;
  // Throws when the system refuses.
  explicit Block(int64_t bytes);
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Block();

  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Makes room for so many bytes and keeps what is larger. The content is lost when it grows: the old memory goes first, so that
  // both need not exist at once.
  void grow(int64_t bytes);

  // Bytes of all blocks of the process that nobody touched so far: the system still counts them as available.
  static int64_t untouched();

 private:
  void swap(Block& other) noexcept;

  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

// A whole file, without copying: reads come from the file, what is written stays in memory.
class FileMap {
 public:
  // Throws when the file cannot be mapped.
  explicit FileMap(const std::string& path);
  FileMap(FileMap&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
  ~FileMap();

  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace dsk
