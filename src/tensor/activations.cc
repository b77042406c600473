#include "tensor/activations.h"

#include <algorithm>
#include <cmath>
#include <immintrin.h>

#include "base/check.h"
#include "tensor/arena.h"
#include "tensor/kernels.h"
#include "tensor/workspace.h"

namespace tensor {
namespace {

constexpr int block_k = 32;

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

// Sum of q over `count`, and of those with k % 4 in {0, 1} alone.
struct Sums {
  int all = 0;
  int first = 0;
};
Sums sums_of(const int8_t* q, int count) {
  Sums sums;
  for (int i = 0; i < count; ++i) {
    sums.all += q[i];
    if (i % 4 < 2) sums.first += q[i];
  }
  return sums;
}

int32_t int16_pair(int low, int high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffffu) | static_cast<uint32_t>(high)
                                                                           << 16);
}

int32_t start_of(const Sums& sums, int offset, Isa isa) {
  if (isa != Isa::avx2) return -offset * sums.all;
  return int16_pair(-offset * sums.first, -offset * (sums.all - sums.first));
}

void derive_group32(const QuantRows& rows, int64_t at, int blocks) {
  const QuantRows::Group32& form = rows.group32;
  for (int b = 0; b < blocks; ++b) {
    const int64_t place = at * 8 + b;
    const int8_t* q = form.q + place * block_k;
    const Sums sums = sums_of(q, block_k);
    if (rows.has.scaled_sums) {
      form.scaled_sum[place] = form.scale[place] * static_cast<float>(sums.all);
    }
    if (rows.has.offset_8) form.start_8[place] = start_of(sums, 8, rows.isa);
    if (rows.has.offset_16) form.start_16[place] = start_of(sums, 16, rows.isa);
    if (rows.has.offset_128) form.start_128[place] = -128 * sums.all;
    if (form.wide == nullptr) continue;
    int16_t* wide = form.wide + place * block_k;
    for (int i = 0; i < block_k; i += 4) {
      wide[i] = q[i];
      wide[i + 1] = q[i + 2];
      wide[i + 2] = q[i + 1];
      wide[i + 3] = q[i + 3];
    }
  }
}

void derive_group256(const QuantRows& rows, int64_t at) {
  const QuantRows::Group256& form = rows.group256;
  const int8_t* q = form.q + at * superblock_k;
  if (rows.has.offset_32) {
    for (int j = 0; j < 16; ++j) {
      form.start_32[at * 16 + j] = start_of(sums_of(q + 16 * j, 16), 32, rows.isa);
    }
  }
  if (rows.has.pair_sums) {
    for (int p = 0; p < 4; ++p) {
      form.pair_sums[at * 4 + p] =
          int16_pair(sums_of(q + 64 * p, 32).all, sums_of(q + 64 * p + 32, 32).all);
    }
  }
}

void allocate_forms(QuantRows& rows, Workspace& workspace) {
  const auto count = static_cast<uint64_t>((rows.k + superblock_k - 1) / superblock_k) *
                     static_cast<uint64_t>(rows.n);
  const QuantNeeds& has = rows.has;
  if (has.group32) {
    rows.group32.q = workspace.take<int8_t>(count * superblock_k);
    rows.group32.scale = workspace.take<float>(count * 8);
    if (has.scaled_sums) rows.group32.scaled_sum = workspace.take<float>(count * 8);
    if (has.offset_8) rows.group32.start_8 = workspace.take<int32_t>(count * 8);
    if (has.offset_16) rows.group32.start_16 = workspace.take<int32_t>(count * 8);
    if (has.offset_128) rows.group32.start_128 = workspace.take<int32_t>(count * 8);
    if (has.offset_128 && rows.isa == Isa::avx2) {
      rows.group32.wide = workspace.take<int16_t>(count * superblock_k);
    }
  }
  if (has.group256) {
    rows.group256.q = workspace.take<int8_t>(count * superblock_k);
    rows.group256.scale = workspace.take<float>(count);
    if (has.offset_32) rows.group256.start_32 = workspace.take<int32_t>(count * 16);
    if (has.pair_sums) rows.group256.pair_sums = workspace.take<int32_t>(count * 4);
  }
}

void add_needs(QuantNeeds& sum, const QuantNeeds& more) {
  sum.group32 |= more.group32;
  sum.group256 |= more.group256;
  sum.offset_8 |= more.offset_8;
  sum.offset_16 |= more.offset_16;
  sum.offset_128 |= more.offset_128;
  sum.scaled_sums |= more.scaled_sums;
  sum.pair_sums |= more.pair_sums;
  sum.offset_32 |= more.offset_32;
}

}  // namespace

QuantNeeds needs_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::q4_0:
      return {.group32 = true, .offset_8 = true};
    case Dtype::q5_0:
      return {.group32 = true, .offset_16 = true};
    case Dtype::q8_0:
      return {.group32 = true, .offset_128 = true};
    case Dtype::q4_1:
    case Dtype::q5_1:
      return {.group32 = true, .scaled_sums = true};
    case Dtype::q4_k:
    case Dtype::q5_k:
      return {.group256 = true, .pair_sums = true};
    case Dtype::q6_k:
      return {.group256 = true, .offset_32 = true};
    default:
      return {};
  }
}

void quantize_superblock_scalar(const QuantRows& rows, int g, int c) {
  const int count = std::min(superblock_k, rows.k - g * superblock_k);
  const float* x = rows.x + int64_t{c} * rows.k + int64_t{g} * superblock_k;
  const int64_t at = int64_t{g} * rows.n + c;
  if (rows.has.group32) {
    for (int b = 0; b < count / block_k; ++b) {
      const int64_t place = at * 8 + b;
      rows.group32.scale[place] =
          round_group(x + b * block_k, block_k, rows.group32.q + place * block_k);
    }
    derive_group32(rows, at, count / block_k);
  }
  if (rows.has.group256) {
    rows.group256.scale[at] = round_group(x, count, rows.group256.q + at * superblock_k);
    derive_group256(rows, at);
  }
}

uint64_t quant_rows_bytes(int n, int k) {
  const auto count =
      static_cast<uint64_t>((k + superblock_k - 1) / superblock_k) * static_cast<uint64_t>(n);
  // Two q, the wide q, 8 scales, 8 sums, 24 starts, 1 scale, 16 starts, 4 pairs; 12 arrays.
  return count * (4 * superblock_k + 4 * (8 + 8 + 24 + 1 + 16 + 4)) +
         12 * WeightArena::alignment_bytes;
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
