#include "program.h"

#include <algorithm>
#include <set>
#include <stdexcept>

namespace dsk {
namespace {

// More than any machine has; sums of a few thousand such numbers still fit.
constexpr int64_t kMostBytes = int64_t{1} << 48;
// Elements of a tile of a run-time dim, and of what follows from tiles.
constexpr int64_t kMostTile = int64_t{1} << 20;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

}  // namespace

void Program::check(const Library& library) {
  const std::string where = "program " + name;
  const auto known = [&](const std::vector<Extent>& extents, const std::string& of) {
    for (const Extent& extent : extents) {
      if (extent.dim >= static_cast<int64_t>(dims.size())) fail(of + ": a dim that the program does not have");
      if (extent.dim < 0 && extent.size < 0) fail(of + ": the extent " + std::to_string(extent.size));
      if (extent.by < 1 || extent.times < 1 || extent.by > kMostTile || extent.times > kMostTile || extent.plus > kMostTile) {
        fail(of + ": tiles of " + std::to_string(extent.by) + ", with " + std::to_string(extent.times) + " of each and " +
             std::to_string(extent.plus) + " more");
      }
    }
  };
  std::set<std::pair<Kind, std::string>> names;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Buffer& buffer = buffers[i];
    const std::string of = where + ", buffer " + std::to_string(i) + " (" + buffer.name + ")";
    known(buffer.shape, of);
    if (buffer.kind != Kind::kTemp && !names.emplace(buffer.kind, buffer.name).second) {
      fail(of + ": another buffer of its kind has the same name");
    }
    const bool kept = buffer.kind == Kind::kParam || buffer.kind == Kind::kState || buffer.kind == Kind::kCache;
    for (const Extent& extent : buffer.shape) {
      if (kept && extent.dim >= 0) fail(of + ": what is kept between calls cannot have the run-time dim " + dims[extent.dim]);
    }
  }
  for (size_t i = 0; i < launches.size(); ++i) {
    Launch& launch = launches[i];
    const std::string of = where + ", launch " + std::to_string(i) + " (" + launch.name + ")";
    launch.kernel = library.find(launch.name);
    if (launch.kernel == nullptr) fail(of + ": there is no such kernel");
    for (const int64_t arg : launch.args) {
      if (arg < 0 || arg >= static_cast<int64_t>(buffers.size())) {
        fail(of + ": there is no buffer " + std::to_string(arg));
      }
    }
    known(launch.extents, of);
    const auto arity = [&](size_t given, int32_t wanted, const char* what) {
      if (given == static_cast<size_t>(wanted)) return;
      fail(of + ": the kernel takes " + std::to_string(wanted) + " " + what + ", not " + std::to_string(given));
    };
    arity(launch.args.size(), launch.kernel->args, "buffers");
    arity(launch.extents.size(), launch.kernel->extents, "extents");
  }
  check_blocks();
}

// What holds one block is used by launches of one block only, and what holds all rows is cut at its rows.
void Program::check_blocks() const {
  std::vector<const Blocks*> inside(launches.size(), nullptr);
  const auto all = static_cast<int64_t>(launches.size());
  int64_t end = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto& [dim, rows, first, count] = blocks[i];
    const std::string of = "program " + name + ", blocks " + std::to_string(i);
    if (dim < 0 || dim >= static_cast<int32_t>(dims.size())) fail(of + ": a dim that the program does not have");
    if (rows <= 0 || rows % 64 != 0) fail(of + ": " + std::to_string(rows) + " rows are no multiple of 64");
    if (first < end || count < 0 || first > all || count > all - first) {
      fail(of + ": " + std::to_string(count) + " launches from launch " + std::to_string(first) + " on");
    }
    end = first + count;
    std::fill(inside.begin() + first, inside.begin() + end, &blocks[i]);
  }
  for (size_t i = 0; i < launches.size(); ++i) {
    for (const int64_t arg : launches[i].args) {
      const Buffer& buffer = buffers[arg];
      const bool rows = !buffer.shape.empty() && buffer.shape[0].by == 1;
      const int32_t first = rows ? buffer.shape[0].dim : -1;
      const std::string of = "program " + name + ", launch " + std::to_string(i) + ": " + buffer.name;
      if (buffer.block >= 0) {
        const bool fits = inside[i] != nullptr && first == inside[i]->dim && inside[i]->rows <= buffer.block;
        if (!fits || buffer.kind != Kind::kTemp) fail(of + " holds another block");
      } else if (inside[i] != nullptr) {
        for (size_t d = rows ? 1 : 0; d < buffer.shape.size(); ++d) {
          if (buffer.shape[d].dim == inside[i]->dim) fail(of + " cannot be cut into blocks");
        }
      }
    }
  }
}

std::vector<Step> Program::steps(const std::vector<int64_t>& sizes) const {
  std::vector<Step> result;
  const auto add = [&](int64_t first, int64_t end, const Step& each) {
    for (int64_t at = first; at < end; ++at) result.push_back({at, each.dim, each.begin, each.rows});
  };
  int64_t done = 0;
  for (const auto& [dim, rows, first, count] : blocks) {
    add(done, first, {0, -1, 0, 0});
    done = first + count;
    for (int64_t begin = 0; begin < sizes[dim]; begin += rows) {
      add(first, done, {0, dim, begin, std::min(rows, sizes[dim] - begin)});
    }
  }
  add(done, static_cast<int64_t>(launches.size()), {0, -1, 0, 0});
  return result;
}

int64_t Program::bytes(const Buffer& buffer, const std::vector<int64_t>& sizes) const {
  int64_t product = 1;
  bool fits = true;
  for (const Extent& extent : buffer.shape) {
    int64_t size = size_of(extent, sizes);
    if (buffer.block >= 0 && &extent == buffer.shape.data()) size = std::min(size, buffer.block);
    // An empty buffer is empty, however large its other extents are.
    if (size == 0) return 0;
    fits = fits && !__builtin_mul_overflow(product, size, &product) && product <= kMostBytes;
  }
  const int64_t bytes = fits ? (product * buffer.bits + 7) / 8 : 0;
  if (!fits || bytes > kMostBytes) fail("program " + name + ": buffer " + buffer.name + " would have more than 2^48 bytes");
  return bytes;
}

void Program::check_sizes(const std::vector<int64_t>& sizes) const {
  if (sizes.size() != dims.size()) {
    fail("program " + name + " has " + std::to_string(dims.size()) + " run-time dims, not " + std::to_string(sizes.size()));
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 0) fail("program " + name + ": the run-time dim " + dims[i] + " is " + std::to_string(sizes[i]));
  }
}

}  // namespace dsk
