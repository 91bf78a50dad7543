#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

namespace dsk {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t page() {
  static const int64_t size = sysconf(_SC_PAGESIZE);
  return size;
}

int64_t rounded(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

// All blocks of the process, of any session. Never destroyed: threads may outlive static objects when the process ends.
struct Blocks {
  std::mutex mutex;
  std::set<std::pair<char*, int64_t>> all;
};

Blocks& blocks() {
  static auto* const instance = new Blocks;
  return *instance;
}

std::runtime_error failure(const std::string& what) { return std::runtime_error(what + ": " + std::strerror(errno)); }

}  // namespace

Block::Block(int64_t bytes) {
  if (bytes <= 0) return;
  if (bytes > (int64_t{1} << 60)) throw std::runtime_error("cannot allocate " + std::to_string(bytes) + " bytes");
  const bool huge = bytes >= kHugePage;
  const int64_t wanted = rounded(bytes, page());
  const int64_t slack = huge ? kHugePage : 0;
  void* const at =
      mmap(nullptr, wanted + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw failure("cannot allocate " + std::to_string(bytes) + " bytes");
  char* const first = static_cast<char*>(at);
  data_ = huge ? reinterpret_cast<char*>(rounded(reinterpret_cast<int64_t>(first), kHugePage)) : first;
  bytes_ = wanted;
  // The ends that only the alignment needed.
  if (data_ > first) munmap(first, data_ - first);
  if (const int64_t rest = slack - (data_ - first); rest > 0) munmap(data_ + wanted, rest);
#ifdef MADV_HUGEPAGE
  if (huge) madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
  const std::lock_guard lock(blocks().mutex);
  blocks().all.emplace(data_, bytes_);
}

Block::~Block() {
  if (data_ == nullptr) return;
  {
    const std::lock_guard lock(blocks().mutex);
    blocks().all.erase({data_, bytes_});
  }
  munmap(data_, bytes_);
}

void Block::grow(int64_t bytes) {
  if (bytes <= bytes_) return;
  { Block old = std::move(*this); }
  Block larger(bytes);
  swap(larger);
}

void Block::swap(Block& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
}

int64_t Block::untouched() {
  const std::lock_guard lock(blocks().mutex);
  int64_t pages = 0;
  // In slices, so that the answer of a terabyte needs no large vector.
  constexpr int64_t kSlice = int64_t{1} << 16;
#ifdef __linux__
  std::vector<unsigned char> present(kSlice);
#else
  std::vector<char> present(kSlice);
#endif
  for (const auto& [data, bytes] : blocks().all) {
    for (int64_t first = 0; first < bytes / page(); first += kSlice) {
      const int64_t count = std::min(kSlice, bytes / page() - first);
      if (mincore(data + first * page(), count * page(), present.data()) != 0) continue;
      for (int64_t i = 0; i < count; ++i) pages += (present[i] & 1) == 0;
    }
  }
  return pages * page();
}

FileMap::FileMap(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw failure("cannot open " + path);
  struct stat status;
  void* at = MAP_FAILED;
  if (fstat(file, &status) == 0 && status.st_size > 0) {
    bytes_ = status.st_size;
    // No room is reserved for pages that training will change: the caller decides whether there is enough.
    at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
  }
  const int reason = errno;
  close(file);
  if (bytes_ == 0) throw std::runtime_error("cannot map " + path + ": it is empty");
  errno = reason;
  if (at == MAP_FAILED) throw failure("cannot map " + path);
  data_ = static_cast<char*>(at);
}

FileMap::~FileMap() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace dsk
