// Random matrices and activations for the tests of linear() and for its bench: the blocks are
// random bits with scales of a sane size.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "tensor/arena.h"
#include "tensor/packed.h"

namespace tensor {

inline constexpr Dtype packed_types[] = {
    Dtype::q4_0, Dtype::q4_1, Dtype::q5_0, Dtype::q5_1,   Dtype::q8_0,   Dtype::q4_k, Dtype::q5_k,
    Dtype::q6_k, Dtype::q2_k, Dtype::q3_k, Dtype::iq4_nl, Dtype::iq4_xs, Dtype::mxfp4};
// Those that stay as in the file and are decoded to integer codes on the way.
inline constexpr Dtype book_types[] = {Dtype::iq1_s,  Dtype::iq1_m, Dtype::iq2_xxs,
                                       Dtype::iq2_xs, Dtype::iq2_s, Dtype::iq3_xxs,
                                       Dtype::iq3_s,  Dtype::tq1_0, Dtype::tq2_0};
// Those that are decoded to f32 on the way.
inline constexpr Dtype decoded_types[] = {Dtype::nvfp4, Dtype::f8_scaled};

struct TestMatrix {
  std::vector<uint8_t> file;  // (rows, row_bytes)
  WeightArena arena;
  PackedMatrix packed;
};

// Where the half-precision scales of a block stand; -1 where there is none.
struct ScalePlaces {
  int d = -1, second = -1;
};
inline ScalePlaces scale_places(Dtype dtype) {
  switch (dtype) {
    case Dtype::q4_0:
    case Dtype::q5_0:
    case Dtype::q8_0:
    case Dtype::iq4_nl:
    case Dtype::iq4_xs:
    case Dtype::iq1_s:
    case Dtype::iq2_xxs:
    case Dtype::iq2_xs:
    case Dtype::iq2_s:
    case Dtype::iq3_xxs:
    case Dtype::iq3_s:
      return {0, -1};
    case Dtype::tq1_0:
      return {52, -1};
    case Dtype::tq2_0:
      return {64, -1};
    case Dtype::q4_1:
    case Dtype::q5_1:
    case Dtype::q4_k:
    case Dtype::q5_k:
      return {0, 2};
    case Dtype::q6_k:
      return {208, -1};
    case Dtype::q3_k:
      return {108, -1};
    case Dtype::q2_k:
      return {80, 82};
    default:
      return {};
  }
}

inline std::vector<uint8_t> random_rows(Dtype dtype, int64_t rows, int64_t cols, uint64_t seed) {
  std::vector<uint8_t> file(static_cast<uint64_t>(rows) * row_bytes(dtype, cols));
  base::SeededRandom random(seed);
  random.fill(file);
  const DtypeInfo& type = info(dtype);
  const auto blocks = static_cast<int64_t>(file.size()) / type.block_bytes;
  const auto small = [&](int exponent) {
    return std::ldexp(1.0f + static_cast<float>(random.below(1000)) / 1000.0f, exponent);
  };
  for (int64_t b = 0; b < blocks; ++b) {
    uint8_t* block = file.data() + b * type.block_bytes;
    const auto put = [&](int place, float value) {
      const uint16_t half = f32_to_f16(value);
      if (place >= 0) std::memcpy(block + place, &half, 2);
    };
    const ScalePlaces places = scale_places(dtype);
    const float sign = random.below(4) == 0 ? -1.0f : 1.0f;
    put(places.d, sign * small(-10));
    put(places.second, small(-9));
    // Scales of other kinds: E8M0, E4M3, and IQ1_M's f16 in the top bits of four words.
    if (dtype == Dtype::mxfp4) block[0] = static_cast<uint8_t>(116 + random.below(8));
    for (int i = 0; dtype == Dtype::nvfp4 && i < 4; ++i) {
      block[i] = static_cast<uint8_t>(24 + random.below(40));
    }
    for (int i = 0; dtype == Dtype::iq1_m && i < 4; ++i) {
      const int nibble = f32_to_f16(sign * small(-10)) >> (4 * i) & 15;
      block[49 + 2 * i] = static_cast<uint8_t>((block[49 + 2 * i] & 15) | nibble << 4);
    }
    for (int i = 0; dtype == Dtype::f8_scaled && i < f8_scaled_k; ++i) {
      if ((block[4 + i] & 0x7f) == 0x7f) block[4 + i] ^= 1;  // no number
    }
    const float f8_scale = sign * small(-12);
    if (dtype == Dtype::f8_scaled) std::memcpy(block, &f8_scale, 4);
    const float element = sign * small(-6);
    const uint16_t bf16 = f32_to_bf16(element);
    if (dtype == Dtype::f32) std::memcpy(block, &element, 4);
    if (dtype == Dtype::f16) put(0, element);
    if (dtype == Dtype::bf16) std::memcpy(block, &bf16, 2);
  }
  return file;
}

inline TestMatrix random_matrix(Dtype dtype, int64_t rows, int64_t cols, uint64_t seed) {
  TestMatrix matrix;
  matrix.file = random_rows(dtype, rows, cols, seed);
  const uint64_t bytes = packed_bytes(dtype, rows, cols);
  matrix.arena = std::move(*WeightArena::create(bytes));
  uint8_t* memory = *matrix.arena.allocate(bytes);
  matrix.packed = {dtype, rows, cols, memory};
  pack_rows(matrix.packed, memory, 0, matrix.file.data(), rows);
  return matrix;
}

// Values with a few large ones among them, as activations have.
inline std::vector<float> random_activations(int64_t count, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(count));
  base::SeededRandom random(seed);
  for (float& value : x) {
    const auto uniform = static_cast<float>(random.below(1 << 20)) / (1 << 19) - 1.0f;
    value = random.below(40) == 0 ? 8.0f * uniform : uniform * uniform * uniform;
  }
  return x;
}

}  // namespace tensor
