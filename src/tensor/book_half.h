// Half a panel of a type that has integer codes and no packed layout (code books, ternary types):
// one superblock of 16 rows, decoded into the first-level cache. Shared by the kernels of all
// instruction sets; compiled without any.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/decode.h"
#include "tensor/kernels.h"

namespace tensor {

struct alignas(64) HalfCodes {
  uint8_t codes[64][code_line_bytes];  // signed; quad q of 16 rows
  float scale[16][half_rows];          // of 16 k
  float d[half_rows];
};

inline void decode_half(const PackedMatrix& w, DecodeCodes decode, int64_t half, int64_t g,
                        HalfCodes& out) {
  const auto row_size = static_cast<int64_t>(row_bytes(w.dtype, static_cast<uint64_t>(w.cols)));
  const int block_size = info(w.dtype).block_bytes;
  for (int r = 0; r < half_rows; ++r) {
    // Rows that do not exist are whatever: the last one again.
    const int64_t row = std::min(half * half_rows + r, w.rows - 1);
    const uint8_t* block = w.data + row * row_size + g * block_size;
    // Sixteen streams are more than the processor foresees; a line past the end is never read.
    __builtin_prefetch(block + 4 * block_size);
    out.d[r] = decode(block, out.codes[0] + 4 * r, out.scale[0] + r);
  }
}

}  // namespace tensor
