// Products of a warp, and matrices between registers and shared memory (PTX ISA, "mma", "ldmatrix", "stmatrix"). The last lane that
// comes does the work for all.
#include <cstring>

#include "sim_elements.h"
#include "sim_machine.h"
#include "sim_tensor_cores.h"

namespace dsk::sim {
namespace {

struct MatrixCall {
  unsigned* registers;
  char* row;
  uint32_t count;
  bool transposed;
};

// One 16-bit number of an 8 x 8 matrix: register of lane 4 i + j / 2 holds elements (i, j) and (i, j + 1).
template <class Move>
void for_elements(const MatrixCall& call, void* const* records, Move move) {
  for (uint32_t matrix = 0; matrix < call.count; ++matrix) {
    for (uint32_t i = 0; i < 8; ++i) {
      char* const row = static_cast<MatrixCall*>(records[matrix * 8 + i])->row;
      for (uint32_t j = 0; j < 8; ++j) {
        const uint32_t at = call.transposed ? j : i, pair = call.transposed ? i : j;
        unsigned* const held = static_cast<MatrixCall*>(records[at * 4 + pair / 2])->registers + matrix;
        move(row + j * 2, reinterpret_cast<char*>(held) + pair % 2 * 2);
      }
    }
  }
}

void matrix_collective(const char* name, MatrixCall& call, void (*run)(Warp&, uint32_t, void* const*)) {
  // Rows of matrices that are not there belong to lanes that give any address.
  if (machine.current->lane < call.count * 8) {
    check_shared(call.row, 16, name);
    if (reinterpret_cast<uintptr_t>(call.row) % 16 != 0) fail("%s: the row is not on 16 bytes", name);
  }
  if (live_lanes() != kFullMask) fail("%s, and not all lanes of the warp are there", name);
  collective(kFullMask, name, &call, run);
}

struct Product {
  float* d;
  const unsigned* a;
  const unsigned* b;
  Number number;
};

// a: 16 rows of 32 bytes, b: 8 columns of 32 bytes; the fragments of all lanes as matrices of floats.
void run_product(Warp&, uint32_t, void* const* records) {
  const Number number = static_cast<Product*>(records[0])->number;
  const uint32_t terms = terms_of(number);
  float a[16][32], b[32][8], d[16][8];
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const auto& mine = *static_cast<Product*>(records[lane]);
    const uint32_t group = lane / 4, quad = lane % 4, width = 4 / element_bytes(number);
    for (uint32_t half = 0; half < 2; ++half) {
      // Registers 0 and 1 hold rows `group` and `group + 8` of the first half of the terms, 2 and 3 of the second.
      const uint32_t first = half * terms / 2 + quad * width;
      float columns[4];
      to_floats(&mine.a[half * 2], width, number, &a[group][first]);
      to_floats(&mine.a[half * 2 + 1], width, number, &a[group + 8][first]);
      to_floats(&mine.b[half], width, number, columns);
      for (uint32_t i = 0; i < width; ++i) b[first + i][group] = columns[i];
    }
    for (uint32_t i = 0; i < 4; ++i) d[group + i / 2 * 8][quad * 2 + i % 2] = mine.d[i];
  }
  for (uint32_t i = 0; i < 16; ++i) {
    for (uint32_t k = 0; k < terms; ++k) {
      for (uint32_t j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
    }
  }
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const auto& mine = *static_cast<Product*>(records[lane]);
    for (uint32_t i = 0; i < 4; ++i) mine.d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

}  // namespace

void load_matrices(unsigned* registers, const void* row, uint32_t count, bool transposed) {
  MatrixCall call{registers, static_cast<char*>(const_cast<void*>(row)), count, transposed};
  matrix_collective("ldmatrix", call, [](Warp&, uint32_t, void* const* records) {
    for_elements(*static_cast<MatrixCall*>(records[0]), records, [](char* shared, char* held) { std::memcpy(held, shared, 2); });
  });
}

void store_matrices(void* row, const unsigned* registers, uint32_t count, bool transposed) {
  MatrixCall call{const_cast<unsigned*>(registers), static_cast<char*>(row), count, transposed};
  matrix_collective("stmatrix", call, [](Warp&, uint32_t, void* const* records) {
    for_elements(*static_cast<MatrixCall*>(records[0]), records, [](char* shared, char* held) { std::memcpy(shared, held, 2); });
  });
}

void mma_m16n8(float* d, const unsigned* a, const unsigned* b, Number number) {
  if (live_lanes() != kFullMask) fail("mma.sync, and not all lanes of the warp are there");
  Product mine{d, a, b, number};
  collective(kFullMask, "mma.sync", &mine, run_product);
}

}  // namespace dsk::sim
