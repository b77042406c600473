// Decoders of single blocks, by type. decode_row() in dtype.h is the door; these are its parts.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace tensor {

inline uint16_t load_u16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, 2);
  return value;
}
inline uint32_t load_u32(const uint8_t* p) {
  uint32_t value;
  std::memcpy(&value, p, 4);
  return value;
}
inline void store_u32(uint8_t* p, uint32_t value) { std::memcpy(p, &value, 4); }
inline float load_f16(const uint8_t* p) { return f16_to_f32(load_u16(p)); }

// Scale and minimum j (0..7) of the 12 packed bytes of Q4_K and Q5_K, six bits each.
struct ScaleMin {
  uint8_t scale;
  uint8_t minimum;
};
inline ScaleMin k_scale_min(const uint8_t* packed /* (12) */, int j) {
  if (j < 4) {
    return {static_cast<uint8_t>(packed[j] & 63), static_cast<uint8_t>(packed[j + 4] & 63)};
  }
  return {static_cast<uint8_t>((packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4),
          static_cast<uint8_t>((packed[j + 4] >> 4) | (packed[j] >> 6) << 4)};
}

// Scale j (0..15) of the 12 packed bytes of Q3_K, six bits, 32 too high.
inline int q3_k_scale(const uint8_t* packed /* (12) */, int j) {
  const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
  return low | (packed[8 + j % 4] >> (2 * (j / 4)) & 3) << 4;
}

inline constexpr int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
// E2M1 doubled, so that they are integers.
inline constexpr int8_t fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(e-128), half of what E8M0 says, since fp4_values are doubled; the two smallest are subnormal.
inline float mxfp4_scale(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1u) << 23);
}

float f8_e4m3_to_f32(uint8_t bits);
float f8_e5m2_to_f32(uint8_t bits);

// One block each, exactly as ggml computes it in f32.
using DecodeBlock = void (*)(const uint8_t* block, float* out /* (block_elements) */);
DecodeBlock grid_block_decoder(Dtype dtype);  // IQ1, IQ2, IQ3; nullptr for others

// One block of 256 of one row as integers: weight = d * scale[k / 16] * code[k], |code| <= 62, all
// products exact in f32. Four signed codes (a quad) go to every line of `codes`, a scale to every
// 16th float, so that 16 rows lie side by side. Returns d.
inline constexpr int code_line_bytes = 64;
using DecodeCodes = float (*)(const uint8_t* block, uint8_t* codes /* (64 lines) */,
                              float* scale /* (16, 16) */);
DecodeCodes codes_decoder(Dtype dtype);  // IQ1, IQ2, IQ3, TQ1_0, TQ2_0; nullptr for others

// d of IQ1_M: an f16 in the highest bits of four words.
inline float iq1_m_scale(const uint8_t* block) {
  uint32_t half = 0;
  for (int i = 0; i < 4; ++i) half |= static_cast<uint32_t>(block[49 + 2 * i] >> 4) << (4 * i);
  return f16_to_f32(static_cast<uint16_t>(half));
}

}  // namespace tensor
