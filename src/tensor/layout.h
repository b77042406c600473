// Where things stand inside a PackedMatrix; for the packers and the kernels only.
//
// A unit is `unit_blocks` blocks of `block_k` weights of 16 rows: a header, then one body a block.
// A short unit ends a row whose number of blocks is no multiple of unit_blocks.
#pragma once

#include <cstdint>

#include "tensor/packed.h"

namespace tensor {

struct Layout {
  int block_k = 0;  // 0: no packed layout, rows as in the file
  int unit_blocks = 1;
  int header_bytes = 0;
  int body_bytes = 0;  // of one block

  int64_t unit_bytes(int64_t blocks) const {
    return (header_bytes + blocks * body_bytes + 63) / 64 * 64;
  }
};
const Layout& layout_of(Dtype dtype);

// Whole superblocks of Q6_K and Q3_K: a unit's header, then two bodies of this size.
inline constexpr int q6_k_body_bytes = 3328, q3_k_body_bytes = 1728;

// Inside a body; every line is read in the order of its address.
inline constexpr int nibble_body_bytes = 256;  // 32 k
inline constexpr int fifth_bits_bytes = 64;    // of 32 k, before their nibbles
inline constexpr int k_scale_bytes = 256;      // scale lines, before a superblock's codes
inline constexpr int q2_k_scales_at = 64, q2_k_codes_at = 320, q2_k_group_bytes = 256;  // 64 k
inline constexpr int q3_k_scale_bytes = 192, q3_k_group_bytes = 384;                    // 64 k
inline constexpr int iq4_xs_codes_at = 128;
inline constexpr int f8_scales_bytes = 64, f8_codes_at = 128;         // scales of a block, 16 rows
inline constexpr int q6_k_group_bytes = 768;                          // 64 k
constexpr int q3_k_low_line(int m) { return 1 + m; }                  // m < 4
constexpr int q3_k_high_line(int e) { return 5 * e; }                 // e < 2
constexpr int q6_k_low_line(int i) { return i < 4 ? 2 * i : 4 + i; }  // i < 8
constexpr int q6_k_high_line(int m) { return 2 * m + 1; }             // m < 4

// How weights that meet f32 activations stand in a stream of 16 rows.
enum class Stored { f32, f16, bf16, f8 };
template <Stored stored>
struct FloatStream {
  static constexpr bool f8 = stored == Stored::f8;
  static constexpr int bytes = f8 ? 1 : stored == Stored::f32 ? 4 : 2;  // of a weight
  static constexpr int lines_apart = 4 / bytes;                         // k from line to line
  // Of a superblock's unit: its first weights, and how many k of its `count` share their scales.
  static const uint8_t* weights(const uint8_t* unit) { return f8 ? unit + f8_codes_at : unit; }
  static int run(int count) { return f8 ? f8_scaled_k : count; }
};

inline constexpr int block_k = 32;  // the shortest run of k that has a scale of its own
// Kernels sum over superblocks of this many k; no block or unit of elements crosses one.
inline constexpr int superblock_k = 256;

// One half of a matrix: unit u < full_units stands at first + u * stride, the short one at `last`.
struct HalfView {
  const uint8_t* first = nullptr;
  const uint8_t* last = nullptr;
  int64_t stride = 0;
  int64_t full_units = 0;

  const uint8_t* unit(int64_t u) const { return u < full_units ? first + u * stride : last; }
};
HalfView half_view(const PackedMatrix& matrix, int64_t half);

inline int64_t half_count(const PackedMatrix& matrix) {
  return (matrix.rows + half_rows - 1) / half_rows;
}

// Decodes superblock g of the 16 rows of a half: out[k][r] for the k that exist, rows that do not
// exist are 0. Works for every dtype. Returns how many k there are.
int decode_half_superblock(const PackedMatrix& matrix, int64_t half, int64_t g,
                           float* out /* (256, 16) */);

// Block `block` of one row, as the file has it.
void unpack_block(const PackedMatrix& matrix, int64_t row, int64_t block, uint8_t* file_block);

inline constexpr int block_bytes_max = 256;  // no block type of a file is larger

}  // namespace tensor
