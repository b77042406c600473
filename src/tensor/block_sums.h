// From the sums of rounded activations to the starts and sums that QuantRows keeps; for the
// quantisers only.
#pragma once

#include "tensor/activations.h"

namespace tensor {

// Sums of q over the k of a block with k % 4 in {0, 1} and in {2, 3}.
struct BlockSums {
  int first = 0;
  int second = 0;
  int all() const { return first + second; }
};

inline int32_t int16_pair(int low, int high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffffu) | static_cast<uint32_t>(high)
                                                                           << 16);
}

inline int32_t start_of(const BlockSums& sums, int offset, Isa isa) {
  if (isa != Isa::avx2) return -offset * sums.all();
  return int16_pair(-offset * sums.first, -offset * sums.second);
}

// What hangs on block `place` of group 32, whose scale is set.
inline void store_block32(const QuantRows& rows, int64_t place, const BlockSums& sums) {
  const QuantRows::Group32& form = rows.group32;
  if (rows.has.scaled_sums) {
    form.scaled_sum[place] = form.scale[place] * static_cast<float>(sums.all());
  }
  if (rows.has.offset_8) form.start_8[place] = start_of(sums, 8, rows.isa);
  if (rows.has.offset_12) form.start_12[place] = start_of(sums, 12, rows.isa);
  if (rows.has.offset_16) form.start_16[place] = start_of(sums, 16, rows.isa);
  if (rows.has.offset_128) form.start_128[place] = -128 * sums.all();
}

// What hangs on superblock `at` of group 256; `sums` are of 16 k each.
inline void store_superblock(const QuantRows& rows, int64_t at, const BlockSums (&sums)[16]) {
  const QuantRows::Group256& form = rows.group256;
  for (int j = 0; rows.has.offset_4 && j < 16; ++j) {
    form.start_4[at * 16 + j] = start_of(sums[j], 4, rows.isa);
  }
  for (int j = 0; rows.has.offset_32 && j < 16; ++j) {
    form.start_32[at * 16 + j] = start_of(sums[j], 32, rows.isa);
  }
  for (int j = 0; form.start_64 != nullptr && j < 16; ++j) {
    form.start_64[at * 16 + j] = -64 * sums[j].all();
  }
  for (int b = 0; rows.has.super_offset_128 && b < 8; ++b) {
    form.start_128[at * 8 + b] = -128 * (sums[2 * b].all() + sums[2 * b + 1].all());
  }
  for (int p = 0; rows.has.pair_sums_16 && p < 8; ++p) {
    form.pair_sums_16[at * 8 + p] = int16_pair(sums[2 * p].all(), sums[2 * p + 1].all());
  }
  for (int p = 0; rows.has.pair_sums && p < 4; ++p) {
    const int low = sums[4 * p].all() + sums[4 * p + 1].all();
    const int high = sums[4 * p + 2].all() + sums[4 * p + 3].all();
    form.pair_sums[at * 4 + p] = int16_pair(low, high);
  }
}

}  // namespace tensor
