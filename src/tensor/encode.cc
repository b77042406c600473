#include "tensor/encode.h"

#include <array>

#include "base/check.h"
#include "tensor/decode.h"
#include "tensor/encode_blocks.h"
#include "tensor/encode_search.h"

namespace tensor {
namespace {

using namespace encoding;

constexpr int block = 32;
constexpr float evenness = 1.0f;

// Two codes a byte: element j low, element j + 16 high.
void store_nibbles(const float* codes /* (32) */, uint8_t* out /* (16) */) {
  for (int j = 0; j < block / 2; ++j) {
    const auto low = static_cast<unsigned>(codes[j]) & 15u;
    const auto high = static_cast<unsigned>(codes[j + block / 2]) & 15u;
    out[j] = static_cast<uint8_t>(low | high << 4);
  }
}

void store_fifth_bits(const float* codes /* (32) */, uint8_t* out /* (4) */) {
  uint32_t bits = 0;
  for (int j = 0; j < block; ++j) bits |= (static_cast<uint32_t>(codes[j]) >> 4 & 1u) << j;
  store_u32(out, bits);
}

void encode_q8_0(const float* in, uint8_t* out) {
  const float d = as_f16(std::fabs(largest_of<block>(in)) / 127.0f);
  float q[block];
  round_linear<block>(in, d, -127, 127, q);
  store_f16(out, d);
  for (int j = 0; j < block; ++j) out[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(q[j]));
}

// The best linear scale as f16: of its neighbours too, since the f16 is not where the optimum was.
float fit_f16_scale(const float* in, float low, float high) {
  float w[block];
  find_importance<block>(in, w, evenness);
  return as_f16(fit_linear<block>(in, w, low, high).scale);
}

void encode_q4_0(const float* in, uint8_t* out) {
  const float d = fit_f16_scale(in, -8, 7);
  float q[block];
  round_linear<block>(in, d, -8, 7, q);
  for (float& code : q) code += 8;
  store_f16(out, d);
  store_nibbles(q, out + 2);
}

void encode_q5_0(const float* in, uint8_t* out) {
  const float d = fit_f16_scale(in, -16, 15);
  float q[block];
  round_linear<block>(in, d, -16, 15, q);
  for (float& code : q) code += 16;
  store_f16(out, d);
  store_fifth_bits(q, out + 2);
  store_nibbles(q, out + 6);
}

// Its minimum may have either sign, so the weights are moved until the least is 0 or below.
void encode_q5_1(const float* in, uint8_t* out) {
  float w[block], moved[block], q[block];
  find_importance<block>(in, w, evenness);
  float least = in[0];
  for (int j = 1; j < block; ++j) least = std::min(least, in[j]);
  const float offset = std::max(least, 0.0f);
  for (int j = 0; j < block; ++j) moved[j] = in[j] - offset;
  const AffineFit fit = fit_affine<block>(moved, w, 31);
  const float d = as_f16(fit.scale), m = as_f16(offset - fit.minimum);
  round_affine<block>(in, d, -m, 31, q);
  store_f16(out, d);
  store_f16(out + 2, m);
  store_fifth_bits(q, out + 4);
  store_nibbles(q, out + 8);
}

// IQ4_NL: code of the nearest value, for every whole number from -127 to 113.
constexpr int iq4_least = -127, iq4_most = 113;
constexpr auto iq4_codes = [] {
  std::array<uint8_t, iq4_most - iq4_least + 1> codes{};
  for (int value = iq4_least; value <= iq4_most; ++value) {
    int best = 0;
    for (int code = 1; code < 16; ++code) {
      const int off = value - iq4_values[code], before = value - iq4_values[best];
      if (off * off < before * before) best = code;
    }
    codes[static_cast<size_t>(value - iq4_least)] = static_cast<uint8_t>(best);
  }
  return codes;
}();

void round_iq4(const float* x, float scale, float* codes) {
  round_linear<block>(x, scale, iq4_least, iq4_most, codes);
  for (int j = 0; j < block; ++j) {
    codes[j] = iq4_codes[static_cast<size_t>(static_cast<int>(codes[j]) - iq4_least)];
  }
}

// As try_linear, with the values of the code book.
LinearFit try_iq4(const float* x, const float* w, float scale) {
  float codes[block];
  round_iq4(x, scale, codes);
  float product = 0, square = 0;
  for (int j = 0; j < block; ++j) {
    const float value = iq4_values[static_cast<size_t>(codes[j])];
    product += w[j] * x[j] * value;
    square += w[j] * value * value;
  }
  if (!(square > 0)) return {};
  return {product / square, product * product / square};
}

void encode_iq4_nl(const float* in, uint8_t* out) {
  float w[block], codes[block];
  find_importance<block>(in, w, evenness);
  const float largest = largest_of<block>(in);
  LinearFit best;
  const auto consider = [&](float scale) {
    const LinearFit found = try_iq4(in, w, scale);
    const bool better = found.gain > best.gain;
    if (better) best = found;
    return better;
  };
  if (std::fabs(largest) >= zero_below) {
    for (int i = -9; i <= 9; ++i) {
      const float reach = 1.0f + 0.03f * static_cast<float>(i);
      consider(largest * reach / iq4_least);
      consider(largest * reach / iq4_most);
    }
    for (int i = 0; i < 4 && consider(best.scale); ++i) {
    }
  }
  const float d = as_f16(best.scale);
  round_iq4(in, d, codes);
  store_f16(out, d);
  store_nibbles(codes, out + 2);
}

EncodeBlock block_encoder(Dtype dtype) {
  switch (dtype) {
    case Dtype::q8_0:
      return encode_q8_0;
    case Dtype::q4_0:
      return encode_q4_0;
    case Dtype::q5_0:
      return encode_q5_0;
    case Dtype::q5_1:
      return encode_q5_1;
    case Dtype::iq4_nl:
      return encode_iq4_nl;
    default:
      return k_block_encoder(dtype);
  }
}

}  // namespace

bool is_encodable(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16 ||
         block_encoder(dtype) != nullptr;
}

void encode_row(Dtype dtype, const float* in, int64_t elements, uint8_t* blocks) {
  if (dtype == Dtype::f32) {
    std::memcpy(blocks, in, static_cast<size_t>(elements) * sizeof(float));
    return;
  }
  if (dtype == Dtype::f16 || dtype == Dtype::bf16) {
    for (int64_t i = 0; i < elements; ++i) {
      const uint16_t bits = dtype == Dtype::f16 ? f32_to_f16(in[i]) : f32_to_bf16(in[i]);
      std::memcpy(blocks + 2 * i, &bits, 2);
    }
    return;
  }
  const EncodeBlock encode = block_encoder(dtype);
  CHECK(encode != nullptr, "callers ask is_encodable() first");
  const DtypeInfo& type = info(dtype);
  for (int64_t i = 0; i < elements; i += type.block_elements) {
    encode(in + i, blocks);
    blocks += type.block_bytes;
  }
}

}  // namespace tensor
