// The block formats that carry plain codes (all little-endian, no padding; d, m, dmin are IEEE
// half; lo = q & 15, hi = q >> 4; offsets in bytes):
//
//   Q4_0   d:0 q[16]:2            y[j] = d(lo-8), y[j+16] = d(hi-8)
//   Q4_1   d:0 m:2 q[16]:4        y = d*code + m, same order
//   Q5_0   d:0 qh u32:2 q[16]:6   bit j of qh is the fifth bit of element j; y = d(code-16)
//   Q5_1   d:0 m:2 qh:4 q[16]:8   y = d*code + m
//   Q8_0   d:0 i8 q[32]:2         y = d*q
//   IQ4_NL d:0 q[16]:2            y = d*T[nibble], order of Q4_0
//   MXFP4  e:0 q[16]:1            y = 2^(e-128)*E[nibble], order of Q4_0
//   NVFP4  u8 d[4]:0 q[32]:4      4 times 16 elements: 8 bytes, low nibbles first
//   Q2_K   sc[16]:0 q[64]:16 d:80 dmin:82
//   Q3_K   hmask[32]:0 q[64]:32 s[12]:96 d:108
//   Q4_K   d:0 dmin:2 s[12]:4 q[128]:16
//   Q5_K   d:0 dmin:2 s[12]:4 qh[32]:16 q[128]:48
//   Q6_K   ql[128]:0 qh[64]:128 i8 sc[16]:192 d:208
//   IQ4_XS d:0 sh u16:2 sl[4]:4 q[128]:8
//   TQ1_0  qs[48]:0 qh[4]:48 d:52   base 3, five digits a byte
//   TQ2_0  q[64]:0 d:64             two bits, minus one
#include "tensor/decode.h"

#include <bit>
#include <cmath>

#include "base/check.h"

namespace tensor {
namespace {

void decode_q4_0(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((b[2 + j] & 15) - 8) * d;
    y[j + 16] = static_cast<float>((b[2 + j] >> 4) - 8) * d;
  }
}

void decode_q4_1(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  const float m = load_f16(b + 2);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(b[4 + j] & 15) * d + m;
    y[j + 16] = static_cast<float>(b[4 + j] >> 4) * d + m;
  }
}

void decode_q5_0(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  const uint32_t high = load_u32(b + 2);
  for (int j = 0; j < 16; ++j) {
    const int low_code = static_cast<int>((b[6 + j] & 15) | (high >> j & 1) << 4);
    const int high_code = static_cast<int>((b[6 + j] >> 4) | (high >> (j + 16) & 1) << 4);
    y[j] = static_cast<float>(low_code - 16) * d;
    y[j + 16] = static_cast<float>(high_code - 16) * d;
  }
}

void decode_q5_1(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  const float m = load_f16(b + 2);
  const uint32_t high = load_u32(b + 4);
  for (int j = 0; j < 16; ++j) {
    const int low_code = static_cast<int>((b[8 + j] & 15) | (high >> j & 1) << 4);
    const int high_code = static_cast<int>((b[8 + j] >> 4) | (high >> (j + 16) & 1) << 4);
    y[j] = static_cast<float>(low_code) * d + m;
    y[j + 16] = static_cast<float>(high_code) * d + m;
  }
}

void decode_q8_0(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(static_cast<int8_t>(b[2 + j])) * d;
}

void decode_iq4_nl(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(iq4_values[b[2 + j] & 15]);
    y[j + 16] = d * static_cast<float>(iq4_values[b[2 + j] >> 4]);
  }
}

void decode_mxfp4(const uint8_t* b, float* y) {
  const float d = mxfp4_scale(b[0]);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(fp4_values[b[1 + j] & 15]) * d;
    y[j + 16] = static_cast<float>(fp4_values[b[1 + j] >> 4]) * d;
  }
}

// e4m3 without sign: bit 7 is ignored, 0x7f means nothing.
float nvfp4_scale(uint8_t bits) {
  if (bits == 0x7f) return 0.0f;
  const int exponent = bits >> 3 & 15;
  const float mantissa = static_cast<float>(bits & 7);
  if (exponent == 0) return std::ldexp(mantissa, -9);
  return std::ldexp(1.0f + mantissa / 8.0f, exponent - 7);
}

void decode_nvfp4(const uint8_t* b, float* y) {
  for (int s = 0; s < 4; ++s) {
    const float d = 0.5f * nvfp4_scale(b[s]);  // half, since the values are doubled
    const uint8_t* q = b + 4 + 8 * s;
    for (int j = 0; j < 8; ++j) {
      y[16 * s + j] = static_cast<float>(fp4_values[q[j] & 15]) * d;
      y[16 * s + 8 + j] = static_cast<float>(fp4_values[q[j] >> 4]) * d;
    }
  }
}

void decode_f8_scaled(const uint8_t* b, float* y) {
  static const auto values = [] {
    std::array<float, 256> all{};
    for (size_t i = 0; i < all.size(); ++i) all[i] = f8_e4m3_to_f32(static_cast<uint8_t>(i));
    return all;
  }();
  const auto scale = std::bit_cast<float>(load_u32(b));
  for (int k = 0; k < f8_scaled_k; ++k) y[k] = values[b[4 + k]] * scale;
}

void decode_q2_k(const uint8_t* b, float* y) {
  const float d = load_f16(b + 80);
  const float dmin = load_f16(b + 82);
  for (int part = 0; part < 16; ++part) {  // 16 elements each: half, shift, part of 16
    const int half = part / 8;
    const int shift = part % 8 / 2 * 2;
    const uint8_t* q = b + 16 + 32 * half + 16 * (part % 2);
    const float scale = d * static_cast<float>(b[part] & 15);
    const float minimum = dmin * static_cast<float>(b[part] >> 4);
    for (int l = 0; l < 16; ++l) {
      y[16 * part + l] = scale * static_cast<float>(q[l] >> shift & 3) - minimum;
    }
  }
}

void decode_q3_k(const uint8_t* b, float* y) {
  const float d = load_f16(b + 108);
  for (int part = 0; part < 16; ++part) {
    const float scale = d * static_cast<float>(q3_k_scale(b + 96, part) - 32);
    const int half = part / 8;
    const int shift = part % 8 / 2;
    const uint8_t* q = b + 32 + 32 * half + 16 * (part % 2);
    const uint8_t* mask = b + 16 * (part % 2);
    for (int l = 0; l < 16; ++l) {
      const int minus = (mask[l] >> (4 * half + shift) & 1) != 0 ? 0 : 4;
      y[16 * part + l] = scale * static_cast<float>((q[l] >> (2 * shift) & 3) - minus);
    }
  }
}

void decode_q4_k(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  const float dmin = load_f16(b + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin part = k_scale_min(b + 4, j);
    const float scale = d * static_cast<float>(part.scale);
    const float minimum = dmin * static_cast<float>(part.minimum);
    const uint8_t* q = b + 16 + 32 * (j / 2);
    for (int l = 0; l < 32; ++l) {
      y[32 * j + l] = scale * static_cast<float>(q[l] >> (4 * (j % 2)) & 15) - minimum;
    }
  }
}

void decode_q5_k(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  const float dmin = load_f16(b + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin part = k_scale_min(b + 4, j);
    const float scale = d * static_cast<float>(part.scale);
    const float minimum = dmin * static_cast<float>(part.minimum);
    const uint8_t* q = b + 48 + 32 * (j / 2);
    for (int l = 0; l < 32; ++l) {
      const int code = (q[l] >> (4 * (j % 2)) & 15) | (b[16 + l] >> j & 1) << 4;
      y[32 * j + l] = scale * static_cast<float>(code) - minimum;
    }
  }
}

void decode_q6_k(const uint8_t* b, float* y) {
  const float d = load_f16(b + 208);
  for (int k = 0; k < 256; ++k) {
    const int half = k / 128;
    const int quarter = k % 128 / 32;
    const int l = k % 32;
    const int low = b[64 * half + l + 32 * (quarter % 2)] >> (4 * (quarter / 2)) & 15;
    const int high = b[128 + 32 * half + l] >> (2 * quarter) & 3;
    const float scale = d * static_cast<float>(static_cast<int8_t>(b[192 + k / 16]));
    y[k] = scale * static_cast<float>((low | high << 4) - 32);
  }
}

void decode_iq4_xs(const uint8_t* b, float* y) {
  const float d = load_f16(b);
  const uint16_t scales_high = load_u16(b + 2);
  for (int j = 0; j < 8; ++j) {
    const int scale = (b[4 + j / 2] >> (4 * (j % 2)) & 15) | (scales_high >> (2 * j) & 3) << 4;
    const float dl = d * static_cast<float>(scale - 32);
    const uint8_t* q = b + 8 + 16 * j;
    for (int l = 0; l < 16; ++l) {
      y[32 * j + l] = dl * static_cast<float>(iq4_values[q[l] & 15]);
      y[32 * j + 16 + l] = dl * static_cast<float>(iq4_values[q[l] >> 4]);
    }
  }
}

void decode_tq2_0(const uint8_t* b, float* y) {
  const float d = load_f16(b + 64);
  for (int k = 0; k < 256; ++k) {
    const int code = b[32 * (k / 128) + k % 32] >> (2 * (k % 128 / 32)) & 3;
    y[k] = static_cast<float>(code - 1) * d;
  }
}

void decode_tq1_0(const uint8_t* b, float* y) {
  static constexpr int powers_of_3[5] = {1, 3, 9, 27, 81};
  const float d = load_f16(b + 52);
  const auto digits = [&](const uint8_t* bytes, int count, int planes) {
    for (int n = 0; n < planes; ++n) {
      for (int m = 0; m < count; ++m) {
        const int shifted = bytes[m] * powers_of_3[n] & 255;
        *y++ = static_cast<float>((shifted * 3 >> 8) - 1) * d;
      }
    }
  };
  digits(b, 32, 5);
  digits(b + 32, 16, 5);
  digits(b + 48, 4, 4);
}

DecodeBlock block_decoder(Dtype dtype) {
  switch (dtype) {
    case Dtype::q4_0:
      return decode_q4_0;
    case Dtype::q4_1:
      return decode_q4_1;
    case Dtype::q5_0:
      return decode_q5_0;
    case Dtype::q5_1:
      return decode_q5_1;
    case Dtype::q8_0:
      return decode_q8_0;
    case Dtype::iq4_nl:
      return decode_iq4_nl;
    case Dtype::mxfp4:
      return decode_mxfp4;
    case Dtype::nvfp4:
      return decode_nvfp4;
    case Dtype::f8_scaled:
      return decode_f8_scaled;
    case Dtype::q2_k:
      return decode_q2_k;
    case Dtype::q3_k:
      return decode_q3_k;
    case Dtype::q4_k:
      return decode_q4_k;
    case Dtype::q5_k:
      return decode_q5_k;
    case Dtype::q6_k:
      return decode_q6_k;
    case Dtype::iq4_xs:
      return decode_iq4_xs;
    case Dtype::tq1_0:
      return decode_tq1_0;
    case Dtype::tq2_0:
      return decode_tq2_0;
    default:
      return grid_block_decoder(dtype);
  }
}

float element_to_f32(Dtype dtype, const uint8_t* p) {
  switch (dtype) {
    case Dtype::f16:
      return load_f16(p);
    case Dtype::bf16:
      return bf16_to_f32(load_u16(p));
    case Dtype::f8_e4m3:
      return f8_e4m3_to_f32(*p);
    case Dtype::f8_e5m2:
      return f8_e5m2_to_f32(*p);
    case Dtype::f8_e8m0:
      // A power of two, 255 is not a number; the smallest is subnormal.
      if (*p == 255) return std::bit_cast<float>(0x7fc00000u);
      return std::bit_cast<float>(*p == 0 ? 0x00400000u : uint32_t{*p} << 23);
    case Dtype::f64: {
      double value;
      std::memcpy(&value, p, sizeof value);
      return static_cast<float>(value);
    }
    default:
      break;
  }
  CHECK(false, "callers ask dtype_info whether a type can be decoded");
  __builtin_unreachable();
}

}  // namespace

float f8_e4m3_to_f32(uint8_t bits) {
  const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(0x7fc00000u);
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -9);
  return sign * std::ldexp(1.0f + static_cast<float>(mantissa) / 8.0f, exponent - 7);
}

// E5M2 is the upper byte of a half.
float f8_e5m2_to_f32(uint8_t bits) { return f16_to_f32(static_cast<uint16_t>(bits << 8)); }

void decode_row(Dtype dtype, const uint8_t* blocks, float* out, int64_t elements) {
  if (dtype == Dtype::f32) {
    std::memcpy(out, blocks, static_cast<size_t>(elements) * sizeof(float));
    return;
  }
  const DtypeInfo& type = info(dtype);
  if (type.block_elements == 1) {
    for (int64_t i = 0; i < elements; ++i) {
      out[i] = element_to_f32(dtype, blocks + i * type.block_bytes);
    }
    return;
  }
  const DecodeBlock decode = block_decoder(dtype);
  CHECK(decode != nullptr, "callers ask dtype_info whether a type can be decoded");
  for (int64_t i = 0; i < elements; i += type.block_elements) {
    decode(blocks, out + i);
    blocks += type.block_bytes;
  }
}

}  // namespace tensor
