// Code books and ternary types as integers. Formats: heads of decode_grid.cc and decode.cc.
//
// Eight codes are one 64-bit word from the tables on: a book's entry is spread to bytes by two
// look-ups and negated bytewise. No magnitude is 0, so that ~x + 1 never carries into the next
// byte.
#include <array>
#include <bit>

#include "tensor/decode.h"
#include "tensor/iq_grids.h"
#include "tensor/packed.h"

namespace tensor {
namespace {

// Four elements of 2 bits to four bytes.
using CrumbTable = std::array<uint32_t, 256>;
constexpr CrumbTable crumb_table(const int8_t (&values)[4], int factor, int shift) {
  CrumbTable table{};
  for (uint32_t bits = 0; bits < 256; ++bits) {
    for (uint32_t j = 0; j < 4; ++j) {
      const int value = values[bits >> (2 * j) & 3] * factor + shift;
      table[bits] |= static_cast<uint32_t>(static_cast<uint8_t>(value)) << (8 * j);
    }
  }
  return table;
}
constexpr CrumbTable iq2_bytes = crumb_table(iq2_values, 1, 0);
constexpr CrumbTable iq1_bytes_up = crumb_table(iq1_values, 8, 1);
constexpr CrumbTable iq1_bytes_down = crumb_table(iq1_values, 8, -1);

uint64_t spread(const CrumbTable& table, uint16_t entry) {
  return table[entry & 255] | static_cast<uint64_t>(table[entry >> 8]) << 32;
}

// Two elements of 3 bits to two bytes.
using OctalTable = std::array<uint16_t, 64>;
constexpr OctalTable octal_table(const int8_t (&values)[8]) {
  OctalTable table{};
  for (uint32_t bits = 0; bits < 64; ++bits) {
    table[bits] = static_cast<uint16_t>(values[bits & 7] | values[bits >> 3] << 8);
  }
  return table;
}
constexpr OctalTable iq3_xxs_bytes = octal_table(iq3_xxs_values);
constexpr OctalTable iq3_s_bytes = octal_table(iq3_s_values);

uint64_t spread(const OctalTable& table, uint16_t first, uint16_t second) {
  const uint32_t low = table[first & 63] | static_cast<uint32_t>(table[first >> 6 & 63]) << 16;
  const uint32_t high = table[second & 63] | static_cast<uint32_t>(table[second >> 6 & 63]) << 16;
  return low | static_cast<uint64_t>(high) << 32;
}

// Sign bits to bytes of ones.
constexpr std::array<uint64_t, 256> sign_masks = [] {
  std::array<uint64_t, 256> masks{};
  for (uint32_t bits = 0; bits < 256; ++bits) {
    for (uint32_t j = 0; j < 8; ++j) {
      if ((bits >> j & 1) != 0) masks[bits] |= uint64_t{0xff} << (8 * j);
    }
  }
  return masks;
}();
// Seven bits stand for eight: the eighth makes the parity even.
constexpr std::array<uint64_t, 128> parity_masks = [] {
  std::array<uint64_t, 128> masks{};
  for (uint32_t bits = 0; bits < 128; ++bits) {
    masks[bits] = sign_masks[bits | (static_cast<uint32_t>(std::popcount(bits)) & 1) << 7];
  }
  return masks;
}();

uint64_t negated(uint64_t codes, uint64_t mask) {
  return (codes ^ mask) + (mask & 0x0101010101010101u);
}

// Group i of 8 k.
void put(uint64_t codes, int i, uint8_t* to) {
  to += 2 * code_line_bytes * i;
  store_u32(to, static_cast<uint32_t>(codes));
  store_u32(to + code_line_bytes, static_cast<uint32_t>(codes >> 32));
}
void put_scales(int first, int second, int b, float* scale) {
  scale[half_rows * (2 * b)] = static_cast<float>(first);
  scale[half_rows * (2 * b + 1)] = static_cast<float>(second);
}

float codes_of_iq2_xxs(const uint8_t* p, uint8_t* codes, float* scale) {
  for (int b = 0; b < 8; ++b) {
    const uint8_t* indices = p + 2 + 8 * b;
    const uint32_t rest = load_u32(indices + 4);
    for (int l = 0; l < 4; ++l) {
      const uint64_t values = spread(iq2_bytes, iq2_xxs_grid[indices[l]]);
      put(negated(values, parity_masks[rest >> (7 * l) & 127]), 4 * b + l, codes);
    }
    const int s = static_cast<int>(2 * (rest >> 28) + 1);
    put_scales(s, s, b, scale);
  }
  return load_f16(p) * 0.125f;
}

float codes_of_iq2_xs(const uint8_t* p, uint8_t* codes, float* scale) {
  for (int b = 0; b < 8; ++b) {
    for (int l = 0; l < 4; ++l) {
      const uint16_t q = load_u16(p + 2 + 8 * b + 2 * l);
      put(negated(spread(iq2_bytes, iq2_xs_grid[q & 511]), parity_masks[q >> 9]), 4 * b + l, codes);
    }
    put_scales(2 * (p[66 + b] & 15) + 1, 2 * (p[66 + b] >> 4) + 1, b, scale);
  }
  return load_f16(p) * 0.125f;
}

float codes_of_iq2_s(const uint8_t* p, uint8_t* codes, float* scale) {
  for (int b = 0; b < 8; ++b) {
    for (int l = 0; l < 4; ++l) {
      const int index = p[2 + 4 * b + l] | (p[66 + b] << (8 - 2 * l) & 0x300);
      const uint64_t values = spread(iq2_bytes, iq2_s_grid[index]);
      put(negated(values, sign_masks[p[34 + 4 * b + l]]), 4 * b + l, codes);
    }
    put_scales(2 * (p[74 + b] & 15) + 1, 2 * (p[74 + b] >> 4) + 1, b, scale);
  }
  return load_f16(p) * 0.125f;
}

float codes_of_iq3_xxs(const uint8_t* p, uint8_t* codes, float* scale) {
  for (int b = 0; b < 8; ++b) {
    const uint32_t rest = load_u32(p + 66 + 4 * b);
    for (int l = 0; l < 4; ++l) {
      const uint8_t* q = p + 2 + 8 * b + 2 * l;
      const uint64_t values = spread(iq3_xxs_bytes, iq3_xxs_grid[q[0]], iq3_xxs_grid[q[1]]);
      put(negated(values, parity_masks[rest >> (7 * l) & 127]), 4 * b + l, codes);
    }
    const int s = static_cast<int>(2 * (rest >> 28) + 1);
    put_scales(s, s, b, scale);
  }
  return load_f16(p) * 0.25f;
}

float codes_of_iq3_s(const uint8_t* p, uint8_t* codes, float* scale) {
  for (int b = 0; b < 8; ++b) {
    for (int l = 0; l < 4; ++l) {
      const uint8_t* q = p + 2 + 8 * b + 2 * l;
      const int first = q[0] | (p[66 + b] << (8 - 2 * l) & 256);
      const int second = q[1] | (p[66 + b] << (7 - 2 * l) & 256);
      const uint64_t values = spread(iq3_s_bytes, iq3_s_grid[first], iq3_s_grid[second]);
      put(negated(values, sign_masks[p[74 + 4 * b + l]]), 4 * b + l, codes);
    }
    const int s = 2 * (p[106 + b / 2] >> (4 * (b % 2)) & 15) + 1;
    put_scales(s, s, b, scale);
  }
  return load_f16(p);
}

// A value is (8 * grid + or - 1) / 8.
uint64_t shifted_iq1(int index, bool down) {
  return spread(down ? iq1_bytes_down : iq1_bytes_up, iq1_grid[index]);
}

float codes_of_iq1_s(const uint8_t* p, uint8_t* codes, float* scale) {
  for (int b = 0; b < 8; ++b) {
    const int high = load_u16(p + 34 + 2 * b);
    for (int l = 0; l < 4; ++l) {
      const int index = p[2 + 4 * b + l] | (high >> (3 * l) & 7) << 8;
      put(shifted_iq1(index, (high & 0x8000) != 0), 4 * b + l, codes);
    }
    const int s = 2 * (high >> 12 & 7) + 1;
    put_scales(s, s, b, scale);
  }
  return load_f16(p) * 0.125f;
}

float codes_of_iq1_m(const uint8_t* p, uint8_t* codes, float* scale) {
  for (int b = 0; b < 8; ++b) {
    for (int l = 0; l < 4; ++l) {
      const int high = p[32 + 2 * b + l / 2] >> (4 * (l % 2)) & 15;
      const int index = p[4 * b + l] | (high & 7) << 8;
      put(shifted_iq1(index, (high & 8) != 0), 4 * b + l, codes);
    }
    const int bits = load_u16(p + 48 + b / 2 * 2) >> (6 * (b % 2));
    put_scales(2 * (bits & 7) + 1, 2 * (bits >> 3 & 7) + 1, b, scale);
  }
  return iq1_m_scale(p) * 0.125f;
}

float codes_of_tq2_0(const uint8_t* p, uint8_t* codes, float* scale) {
  for (int i = 0; i < 64; ++i) {  // quads
    const uint32_t bits = load_u32(p + 32 * (i / 32) + 4 * (i % 8)) >> (2 * (i % 32 / 8));
    // Minus one in each byte, without a borrow from the next.
    const uint32_t values = (((bits & 0x03030303u) | 0x80808080u) - 0x01010101u) ^ 0x80808080u;
    store_u32(codes + code_line_bytes * i, values);
  }
  for (int b = 0; b < 8; ++b) put_scales(1, 1, b, scale);
  return load_f16(p + 64);
}

float codes_of_tq1_0(const uint8_t* p, uint8_t* codes, float* scale) {
  static constexpr int powers_of_3[5] = {1, 3, 9, 27, 81};
  int k = 0;
  const auto digits = [&](const uint8_t* bytes, int count, int planes) {
    for (int n = 0; n < planes; ++n) {
      for (int m = 0; m < count; ++m, ++k) {
        const int shifted = bytes[m] * powers_of_3[n] & 255;
        codes[k / 4 * code_line_bytes + k % 4] = static_cast<uint8_t>((shifted * 3 >> 8) - 1);
      }
    }
  };
  digits(p, 32, 5);
  digits(p + 32, 16, 5);
  digits(p + 48, 4, 4);
  for (int b = 0; b < 8; ++b) put_scales(1, 1, b, scale);
  return load_f16(p + 52);
}

}  // namespace

DecodeCodes codes_decoder(Dtype dtype) {
  switch (dtype) {
    case Dtype::iq2_xxs:
      return codes_of_iq2_xxs;
    case Dtype::iq2_xs:
      return codes_of_iq2_xs;
    case Dtype::iq2_s:
      return codes_of_iq2_s;
    case Dtype::iq3_xxs:
      return codes_of_iq3_xxs;
    case Dtype::iq3_s:
      return codes_of_iq3_s;
    case Dtype::iq1_s:
      return codes_of_iq1_s;
    case Dtype::iq1_m:
      return codes_of_iq1_m;
    case Dtype::tq1_0:
      return codes_of_tq1_0;
    case Dtype::tq2_0:
      return codes_of_tq2_0;
    default:
      return nullptr;
  }
}

}  // namespace tensor
