#include "tensor/activations.h"

#include <algorithm>
#include <cmath>
#include <immintrin.h>

#include "base/check.h"
#include "tensor/arena.h"
#include "tensor/block_sums.h"
#include "tensor/decode.h"
#include "tensor/kernels.h"
#include "tensor/workspace.h"

namespace tensor {
namespace {

// The processor's own conversion (nearest even, of anything), so that NaN gives a number too.
int round_clamped(float value) { return std::clamp(_mm_cvtss_si32(_mm_set_ss(value)), -127, 127); }

float round_group(const float* x, int count, int8_t* q) {
  float amax = 0.0f;
  for (int i = 0; i < count; ++i) amax = std::max(amax, std::fabs(x[i]));
  const bool zero = amax < amax_min;
  const float inverse = zero ? 0.0f : 127.0f / amax;
  for (int i = 0; i < count; ++i) q[i] = static_cast<int8_t>(round_clamped(x[i] * inverse));
  return zero ? 0.0f : amax / 127.0f;
}

BlockSums sums_of(const int8_t* q, int count) {
  BlockSums sums;
  for (int i = 0; i < count; ++i) (i % 4 < 2 ? sums.first : sums.second) += q[i];
  return sums;
}

// Per 4 k: q0 q2 q1 q3.
void widen(const int8_t* q, int count, int16_t* wide) {
  for (int i = 0; i < count; i += 4) {
    wide[i] = q[i];
    wide[i + 1] = q[i + 2];
    wide[i + 2] = q[i + 1];
    wide[i + 3] = q[i + 3];
  }
}

constexpr uint64_t tile_slack_bytes = (tile_columns - 1) * superblock_k;

void allocate_forms(QuantRows& rows, Workspace& workspace) {
  const auto count = static_cast<uint64_t>((rows.k + superblock_k - 1) / superblock_k) *
                     static_cast<uint64_t>(rows.n);
  const QuantNeeds& has = rows.has;
  if (has.group32) {
    rows.group32.q = workspace.take<int8_t>(count * superblock_k + tile_slack_bytes);
    rows.group32.scale = workspace.take<float>(count * 8);
    if (has.scaled_sums) rows.group32.scaled_sum = workspace.take<float>(count * 8);
    if (has.offset_8) rows.group32.start_8 = workspace.take<int32_t>(count * 8);
    if (has.offset_12) rows.group32.start_12 = workspace.take<int32_t>(count * 8);
    if (has.offset_16) rows.group32.start_16 = workspace.take<int32_t>(count * 8);
    if (has.offset_128) rows.group32.start_128 = workspace.take<int32_t>(count * 8);
    if (has.offset_128 && rows.isa == Isa::avx2) {
      rows.group32.wide = workspace.take<int16_t>(count * superblock_k);
    }
  }
  if (has.group256) {
    rows.group256.q = workspace.take<int8_t>(count * superblock_k + tile_slack_bytes);
    rows.group256.scale = workspace.take<float>(count);
    if (has.offset_4) rows.group256.start_4 = workspace.take<int32_t>(count * 16);
    if (has.offset_32) rows.group256.start_32 = workspace.take<int32_t>(count * 16);
    if (has.super_offset_128) rows.group256.start_128 = workspace.take<int32_t>(count * 8);
    if (has.book && rows.isa != Isa::avx2)
      rows.group256.start_64 = workspace.take<int32_t>(count * 16);
    if ((has.super_offset_128 || has.book) && rows.isa == Isa::avx2) {
      rows.group256.wide = workspace.take<int16_t>(count * superblock_k);
    }
    if (has.pair_sums) rows.group256.pair_sums = workspace.take<int32_t>(count * 4);
    if (has.pair_sums_16) rows.group256.pair_sums_16 = workspace.take<int32_t>(count * 8);
  }
}

void add_needs(QuantNeeds& sum, const QuantNeeds& more) {
  sum.group32 |= more.group32;
  sum.group256 |= more.group256;
  sum.offset_8 |= more.offset_8;
  sum.offset_12 |= more.offset_12;
  sum.offset_16 |= more.offset_16;
  sum.offset_128 |= more.offset_128;
  sum.scaled_sums |= more.scaled_sums;
  sum.pair_sums |= more.pair_sums;
  sum.pair_sums_16 |= more.pair_sums_16;
  sum.offset_4 |= more.offset_4;
  sum.super_offset_128 |= more.super_offset_128;
  sum.book |= more.book;
  sum.offset_32 |= more.offset_32;
}

}  // namespace

QuantNeeds needs_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::q4_0:
      return {.group32 = true, .offset_8 = true};
    case Dtype::q5_0:
      return {.group32 = true, .offset_16 = true};
    case Dtype::mxfp4:
      return {.group32 = true, .offset_12 = true};
    case Dtype::q8_0:
    case Dtype::iq4_nl:
      return {.group32 = true, .offset_128 = true};
    case Dtype::q4_1:
    case Dtype::q5_1:
      return {.group32 = true, .scaled_sums = true};
    case Dtype::iq4_xs:
      return {.group256 = true, .super_offset_128 = true};
    case Dtype::q2_k:
      return {.group256 = true, .pair_sums_16 = true};
    case Dtype::q3_k:
      return {.group256 = true, .offset_4 = true};
    case Dtype::q4_k:
    case Dtype::q5_k:
      return {.group256 = true, .pair_sums = true};
    case Dtype::q6_k:
      return {.group256 = true, .offset_32 = true};
    default:
      if (codes_decoder(dtype) != nullptr) return {.group256 = true, .book = true};
      return {};
  }
}

void quantize_superblock_scalar(const QuantRows& rows, int g, int c) {
  const int count = std::min(superblock_k, rows.k - g * superblock_k);
  const float* x = rows.x + int64_t{c} * rows.k + int64_t{g} * superblock_k;
  const int64_t at = int64_t{g} * rows.n + c;
  for (int b = 0; rows.has.group32 && b < count / block_k; ++b) {
    const int64_t place = at * 8 + b;
    int8_t* q = rows.group32.q + place * block_k;
    rows.group32.scale[place] = round_group(x + b * block_k, block_k, q);
    store_block32(rows, place, sums_of(q, block_k));
    if (rows.group32.wide != nullptr) widen(q, block_k, rows.group32.wide + place * block_k);
  }
  if (rows.has.group256) {
    int8_t* q = rows.group256.q + at * superblock_k;
    rows.group256.scale[at] = round_group(x, count, q);
    int16_t* wide = rows.group256.wide;
    if (wide != nullptr) widen(q, count, wide + at * superblock_k);
    BlockSums sums[16];
    for (int j = 0; j < 16; ++j) sums[j] = sums_of(q + 16 * j, 16);
    store_superblock(rows, at, sums);
  }
}

uint64_t quant_rows_bytes(int n, int k) {
  const auto count =
      static_cast<uint64_t>((k + superblock_k - 1) / superblock_k) * static_cast<uint64_t>(n);
  // Two q, two wide q, 8 scales, 8 sums, 32 starts; 1 scale, 56 starts, 12 pairs; 18 arrays.
  return count * (6 * superblock_k + 4 * (8 + 8 + 32 + 1 + 56 + 12)) + 2 * tile_slack_bytes +
         18 * WeightArena::alignment_bytes;
}

QuantRows quantize_rows(const float* x, int n, int k,
                        std::span<const PackedMatrix* const> for_matrices, Precision precision,
                        Isa isa, Workspace& workspace, base::Pool& pool) {
  QuantRows rows;
  rows.x = x;
  rows.n = n;
  rows.k = k;
  rows.precision = precision;
  rows.isa = isa;
  for (const PackedMatrix* matrix : for_matrices) {
    CHECK(matrix->cols == k, "an activation row is as long as a row of the matrix");
    if (precision == Precision::int8) add_needs(rows.has, needs_of(matrix->dtype));
  }
  if (!rows.has.group32 && !rows.has.group256) return rows;
  allocate_forms(rows, workspace);
  const QuantizeSuperblock quantize = kernels_of(isa).quantize;
  const int superblocks = (k + superblock_k - 1) / superblock_k;
  const auto round_columns = [&](int64_t begin, int64_t end, int) {
    for (int64_t c = begin; c < end; ++c) {
      for (int g = 0; g < superblocks; ++g) quantize(rows, g, static_cast<int>(c));
    }
  };
  // A few columns are done before another thread has woken up.
  constexpr int64_t columns_a_chunk = 8;
  pool.run(n, columns_a_chunk, round_columns);
  return rows;
}

}  // namespace tensor
