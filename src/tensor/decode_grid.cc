// The block formats that carry indices into code books (little-endian, no padding, d is IEEE half,
// offsets in bytes). b = 0..7 numbers the groups of 32 elements, l = 0..3 the groups of 8 in one.
//
//   IQ2_XXS  d:0 u32 a[8][2]:2                4 index bytes in a[b][0]; a[b][1] = 4 x 7 sign bits,
//                                             4 scale bits
//   IQ2_XS   d:0 u16 q[32]:2 sc[8]:66         index = q & 511, signs = q >> 9
//   IQ2_S    d:0 q[32]:2 signs[32]:34 qh[8]:66 sc[8]:74
//   IQ3_XXS  d:0 q[64]:2 u32 s[8]:66          two 4-element groups for each 8
//   IQ3_S    d:0 q[64]:2 qh[8]:66 signs[32]:74 sc[4]:106
//   IQ1_S    d:0 q[32]:2 u16 qh[8]:34
//   IQ1_M    q[32]:0 qh[16]:32 u16 sc[4]:48   d is the top nibbles of sc
//
// Seven sign bits stand for eight: the eighth makes the parity even.
#include <bit>

#include "tensor/decode.h"
#include "tensor/iq_grids.h"

namespace tensor {
namespace {

uint8_t with_parity(uint32_t seven_bits) {
  const uint32_t bits = seven_bits & 127;
  return static_cast<uint8_t>(bits | (std::popcount(bits) & 1u) << 7);
}

void signed_iq2(float scale, uint16_t entry, uint8_t signs, float* y /* (8) */) {
  for (int j = 0; j < 8; ++j) {
    const float value = scale * static_cast<float>(iq2_values[entry >> (2 * j) & 3]);
    y[j] = (signs >> j & 1) != 0 ? -value : value;
  }
}

void signed_iq3(float scale, const int8_t* values, uint16_t first, uint16_t second, uint8_t signs,
                float* y /* (8) */) {
  for (int j = 0; j < 8; ++j) {
    const uint16_t entry = j < 4 ? first : second;
    const float value = scale * static_cast<float>(values[entry >> (3 * (j % 4)) & 7]);
    y[j] = (signs >> j & 1) != 0 ? -value : value;
  }
}

void decode_iq2_xxs(const uint8_t* p, float* y) {
  const float d = load_f16(p);
  for (int b = 0; b < 8; ++b) {
    const uint8_t* indices = p + 2 + 8 * b;
    const uint32_t rest = load_u32(indices + 4);
    const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.25f;
    for (int l = 0; l < 4; ++l) {
      signed_iq2(scale, iq2_xxs_grid[indices[l]], with_parity(rest >> (7 * l)), y + 32 * b + 8 * l);
    }
  }
}

void decode_iq2_xs(const uint8_t* p, float* y) {
  const float d = load_f16(p);
  for (int b = 0; b < 8; ++b) {
    for (int l = 0; l < 4; ++l) {
      const uint16_t q = load_u16(p + 2 + 8 * b + 2 * l);
      const int nibble = p[66 + b] >> (4 * (l / 2)) & 15;
      const float scale = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
      signed_iq2(scale, iq2_xs_grid[q & 511], with_parity(q >> 9u), y + 32 * b + 8 * l);
    }
  }
}

void decode_iq2_s(const uint8_t* p, float* y) {
  const float d = load_f16(p);
  for (int b = 0; b < 8; ++b) {
    for (int l = 0; l < 4; ++l) {
      const int index = p[2 + 4 * b + l] | (p[66 + b] << (8 - 2 * l) & 0x300);
      const int nibble = p[74 + b] >> (4 * (l / 2)) & 15;
      const float scale = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
      signed_iq2(scale, iq2_s_grid[index], p[34 + 4 * b + l], y + 32 * b + 8 * l);
    }
  }
}

void decode_iq3_xxs(const uint8_t* p, float* y) {
  const float d = load_f16(p);
  for (int b = 0; b < 8; ++b) {
    const uint32_t rest = load_u32(p + 66 + 4 * b);
    const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.5f;
    for (int l = 0; l < 4; ++l) {
      const uint8_t* q = p + 2 + 8 * b + 2 * l;
      signed_iq3(scale, iq3_xxs_values, iq3_xxs_grid[q[0]], iq3_xxs_grid[q[1]],
                 with_parity(rest >> (7 * l)), y + 32 * b + 8 * l);
    }
  }
}

void decode_iq3_s(const uint8_t* p, float* y) {
  const float d = load_f16(p);
  for (int b = 0; b < 8; ++b) {
    const int nibble = p[106 + b / 2] >> (4 * (b % 2)) & 15;
    const float scale = d * static_cast<float>(1 + 2 * nibble);
    for (int l = 0; l < 4; ++l) {
      const uint8_t* q = p + 2 + 8 * b + 2 * l;
      const int first = q[0] | (p[66 + b] << (8 - 2 * l) & 256);
      const int second = q[1] | (p[66 + b] << (7 - 2 * l) & 256);
      signed_iq3(scale, iq3_s_values, iq3_s_grid[first], iq3_s_grid[second], p[74 + 4 * b + l],
                 y + 32 * b + 8 * l);
    }
  }
}

void shifted_iq1(float scale, int index, float delta, float* y /* (8) */) {
  const uint16_t entry = iq1_grid[index];
  for (int j = 0; j < 8; ++j) {
    y[j] = scale * (static_cast<float>(iq1_values[entry >> (2 * j) & 3]) + delta);
  }
}

void decode_iq1_s(const uint8_t* p, float* y) {
  const float d = load_f16(p);
  for (int b = 0; b < 8; ++b) {
    const uint16_t high = load_u16(p + 34 + 2 * b);
    const float scale = d * static_cast<float>(2 * (high >> 12 & 7) + 1);
    const float delta = (high & 0x8000) != 0 ? -0.125f : 0.125f;
    for (int l = 0; l < 4; ++l) {
      const int index = p[2 + 4 * b + l] | (high >> (3 * l) & 7) << 8;
      shifted_iq1(scale, index, delta, y + 32 * b + 8 * l);
    }
  }
}

void decode_iq1_m(const uint8_t* p, float* y) {
  const float d = iq1_m_scale(p);
  for (int b = 0; b < 8; ++b) {
    for (int l = 0; l < 4; ++l) {
      const int bits = load_u16(p + 48 + b / 2 * 2) >> (6 * (b % 2) + 3 * (l / 2)) & 7;
      const float scale = d * static_cast<float>(2 * bits + 1);
      const int high = p[32 + 2 * b + l / 2] >> (4 * (l % 2)) & 15;
      const int index = p[4 * b + l] | (high & 7) << 8;
      shifted_iq1(scale, index, (high & 8) != 0 ? -0.125f : 0.125f, y + 32 * b + 8 * l);
    }
  }
}

}  // namespace

DecodeBlock grid_block_decoder(Dtype dtype) {
  switch (dtype) {
    case Dtype::iq2_xxs:
      return decode_iq2_xxs;
    case Dtype::iq2_xs:
      return decode_iq2_xs;
    case Dtype::iq2_s:
      return decode_iq2_s;
    case Dtype::iq3_xxs:
      return decode_iq3_xxs;
    case Dtype::iq3_s:
      return decode_iq3_s;
    case Dtype::iq1_s:
      return decode_iq1_s;
    case Dtype::iq1_m:
      return decode_iq1_m;
    default:
      return nullptr;
  }
}

}  // namespace tensor
