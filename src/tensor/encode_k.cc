// The K types: 256 weights are one superblock of 8 or 16 sub-blocks. Each sub-block has a scale
// (and in Q2_K, Q4_K and Q5_K a minimum) that is itself a small integer times the superblock's d
// (and dmin).
//
// So there are two levels to search. First every sub-block is fitted alone, with scales of any
// value. From the largest of them follow d and dmin. Then, in turn, until nothing improves:
//
//   - with d and dmin fixed, each sub-block takes the pair of codes that loses least: those that
//     its own scales round to, and their neighbours, since the weights are rounded anew for each;
//   - with all codes fixed, d and dmin follow from least squares over the whole superblock.
//
// What a file stores of d and dmin is an f16, and every error is measured with that.
#include <array>

#include "tensor/decode.h"
#include "tensor/encode_blocks.h"
#include "tensor/encode_search.h"

namespace tensor::encoding {
namespace {

constexpr int super = 256;
constexpr int rounds_max = 4;

// ---- scale and minimum

template <int Subs>
struct AffineCodes {
  std::array<int, Subs> scale{}, minimum{};
};

template <int Subs>
struct AffineSuper {
  static constexpr int n = super / Subs;
  float d = 0, dmin = 0;  // as stored
  AffineCodes<Subs> codes;
  float error = std::numeric_limits<float>::max();
};

// The best codes of one sub-block around (scale, minimum); returns their error.
template <int N>
float choose_codes(const float* x, const float* w, float d, float dmin, int code_max, float high,
                   int& scale, int& minimum) {
  const int scale_0 = scale, minimum_0 = minimum;
  float best = std::numeric_limits<float>::max();
  for (int s = std::max(scale_0 - 1, 0); s <= std::min(scale_0 + 1, code_max); ++s) {
    for (int m = std::max(minimum_0 - 1, 0); m <= std::min(minimum_0 + 1, code_max); ++m) {
      const float error =
          affine_error<N>(x, w, d * static_cast<float>(s), dmin * static_cast<float>(m), high);
      if (error < best) {
        best = error;
        scale = s;
        minimum = m;
      }
    }
  }
  return best;
}

// Least squares for d and dmin with everything else fixed.
template <int Subs>
void solve_affine(const float* x, const float* w, float high, const AffineSuper<Subs>& at, float& d,
                  float& dmin) {
  constexpr int n = super / Subs;
  float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
  float q[n];
  for (int j = 0; j < Subs; ++j) {
    const auto s = static_cast<float>(at.codes.scale[j]);
    const auto m = static_cast<float>(at.codes.minimum[j]);
    round_affine<n>(x + j * n, at.d * s, at.dmin * m, high, q);
    for (int i = 0; i < n; ++i) {
      const float weight = w[j * n + i], value = x[j * n + i], a = s * q[i];
      aa += weight * a * a;
      ab += weight * a * m;
      bb += weight * m * m;
      xa += weight * value * a;
      xb += weight * value * m;
    }
  }
  // value ~ d a - dmin m
  const float determinant = aa * bb - ab * ab;
  if (determinant > 1e-6f * aa * bb) {
    d = (xa * bb - xb * ab) / determinant;
    dmin = (xa * ab - xb * aa) / determinant;
  } else if (aa > 0) {
    d = (xa + at.dmin * ab) / aa;
  }
  if (!(d > 0)) d = at.d;
  if (!(dmin > 0)) dmin = at.dmin;
}

template <int Subs>
void improve_affine(const float* x, const float* w, int high, int code_max, float d, float dmin,
                    AffineSuper<Subs> now, AffineSuper<Subs>& best) {
  constexpr int n = super / Subs;
  const auto top = static_cast<float>(high);
  for (int round = 0; round < rounds_max; ++round) {
    now.d = as_f16(d);
    now.dmin = as_f16(dmin);
    now.error = 0;
    for (int j = 0; j < Subs; ++j) {
      now.error += choose_codes<n>(x + j * n, w + j * n, now.d, now.dmin, code_max, top,
                                   now.codes.scale[j], now.codes.minimum[j]);
    }
    if (!(now.error < best.error)) return;
    best = now;
    solve_affine<Subs>(x, w, top, now, d, dmin);
  }
}

int code_of(float value, float unit, int least, int most) {
  const float code = std::nearbyint(value * inverse_of(unit));
  return static_cast<int>(std::clamp(code, static_cast<float>(least), static_cast<float>(most)));
}

template <int Subs>
AffineSuper<Subs> fit_affine_super(const float* x, int high, int code_max, float evenness,
                                   float* q /* (256) */) {
  constexpr int n = super / Subs;
  float w[super];
  std::array<AffineFit, Subs> fits;
  float scale_max = 0, minimum_max = 0;
  for (int j = 0; j < Subs; ++j) {
    find_importance<n>(x + j * n, w + j * n, evenness);
    fits[j] = fit_affine<n>(x + j * n, w + j * n, high);
    scale_max = std::max(scale_max, fits[j].scale);
    minimum_max = std::max(minimum_max, fits[j].minimum);
  }
  AffineSuper<Subs> best;
  // With codes of 4 bits the largest scale need not be the largest code.
  const int starts = code_max < 32 ? 4 : 1;
  for (int start = 0; start < starts; ++start) {
    const float share = 1.0f - 0.06f * static_cast<float>(start);
    const float d = scale_max * share / static_cast<float>(code_max);
    const float dmin = minimum_max / static_cast<float>(code_max);
    AffineSuper<Subs> now;
    for (int j = 0; j < Subs; ++j) {
      now.codes.scale[j] = code_of(fits[j].scale, d, 0, code_max);
      now.codes.minimum[j] = code_of(fits[j].minimum, dmin, 0, code_max);
    }
    improve_affine<Subs>(x, w, high, code_max, d, dmin, now, best);
  }
  for (int j = 0; j < Subs; ++j) {
    round_affine<n>(x + j * n, best.d * static_cast<float>(best.codes.scale[j]),
                    best.dmin * static_cast<float>(best.codes.minimum[j]), static_cast<float>(high),
                    q + j * n);
  }
  return best;
}

// ---- scale alone

struct LinearSuper {
  float d = 0;
  std::array<int, 16> scale{};
  float error = std::numeric_limits<float>::max();
};

struct LinearRange {
  float low, high;            // of the weights' codes
  int code_least, code_most;  // of the scales
};

void improve_linear(const float* x, const float* w, const LinearRange& range, float d,
                    LinearSuper now, LinearSuper& best) {
  constexpr int n = 16;
  float q[n];
  for (int round = 0; round < rounds_max; ++round) {
    now.d = as_f16(d);
    now.error = 0;
    float product = 0, square = 0;
    for (int j = 0; j < 16; ++j) {
      const float *xj = x + j * n, *wj = w + j * n;
      const int centre = now.scale[j];
      float least = std::numeric_limits<float>::max();
      for (int s = std::max(centre - 1, range.code_least);
           s <= std::min(centre + 1, range.code_most); ++s) {
        const float error =
            linear_error<n>(xj, wj, now.d * static_cast<float>(s), range.low, range.high);
        if (error < least) {
          least = error;
          now.scale[j] = s;
        }
      }
      now.error += least;
      const auto s = static_cast<float>(now.scale[j]);
      round_linear<n>(xj, now.d * s, range.low, range.high, q);
      for (int i = 0; i < n; ++i) {
        product += wj[i] * xj[i] * s * q[i];
        square += wj[i] * s * q[i] * s * q[i];
      }
    }
    if (!(now.error < best.error)) return;
    best = now;
    if (square > 0) d = product / square;
  }
}

LinearSuper fit_linear_super(const float* x, const LinearRange& range, float evenness,
                             float* q /* (256) */) {
  constexpr int n = 16;
  float w[super], scales[16];
  for (int j = 0; j < 16; ++j) {
    find_importance<n>(x + j * n, w + j * n, evenness);
    scales[j] = fit_linear<n>(x + j * n, w + j * n, range.low, range.high).scale;
  }
  // The largest scale takes the one code that has no opposite.
  const float d = largest_of<16>(scales) / static_cast<float>(range.code_least);
  LinearSuper now, best;
  for (int j = 0; j < 16; ++j) {
    now.scale[j] = code_of(scales[j], d, range.code_least, range.code_most);
  }
  improve_linear(x, w, range, d, now, best);
  for (int j = 0; j < 16; ++j) {
    round_linear<n>(x + j * n, best.d * static_cast<float>(best.scale[j]), range.low, range.high,
                    q + j * n);
  }
  return best;
}

// ---- the types

unsigned code(float q) { return static_cast<unsigned>(static_cast<int>(q)); }

// Q2_K: u8 scales[16] (low nibble scale, high minimum), u8 q[64], d, dmin.
void encode_q2_k(const float* in, uint8_t* out) {
  float q[super];
  const auto fit = fit_affine_super<16>(in, 3, 15, 1.0f, q);
  std::memset(out, 0, 84);
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<uint8_t>(fit.codes.scale[j] | fit.codes.minimum[j] << 4);
  }
  for (int i = 0; i < super; ++i) {
    const int half = i / 128, pair = i % 128 / 32, at = 32 * half + i % 32;
    out[16 + at] = static_cast<uint8_t>(out[16 + at] | code(q[i]) << 2 * pair);
  }
  store_f16(out + 80, fit.d);
  store_f16(out + 82, fit.dmin);
}

// Q3_K: u8 high bits[32], u8 q[64], u8 scales[12], d.
void encode_q3_k(const float* in, uint8_t* out) {
  float q[super];
  const LinearSuper fit = fit_linear_super(in, {-4, 3, -32, 31}, 1.0f, q);
  std::memset(out, 0, 110);
  uint8_t *high = out, *low = out + 32, *scales = out + 96;
  for (int i = 0; i < super; ++i) {
    const int half = i / 128, pair = i % 128 / 32, at = i % 32;
    const unsigned value = code(q[i] + 4);
    high[at] = static_cast<uint8_t>(high[at] | (value >> 2) << (4 * half + pair));
    low[32 * half + at] = static_cast<uint8_t>(low[32 * half + at] | (value & 3) << 2 * pair);
  }
  for (int j = 0; j < 16; ++j) {
    const auto value = static_cast<unsigned>(fit.scale[j] + 32);
    const int nibble = j < 8 ? 0 : 4, pair = 2 * (j / 4);
    scales[j % 8] = static_cast<uint8_t>(scales[j % 8] | (value & 15) << nibble);
    scales[8 + j % 4] = static_cast<uint8_t>(scales[8 + j % 4] | (value >> 4) << pair);
  }
  store_f16(out + 108, fit.d);
}

// The 12 bytes of eight pairs of 6 bits: k_scale_min() in decode.h reads them.
void store_scale_min(const AffineCodes<8>& codes, uint8_t* packed /* (12) */) {
  for (int j = 0; j < 4; ++j) {
    const int s = codes.scale[j], m = codes.minimum[j];
    const int s4 = codes.scale[j + 4], m4 = codes.minimum[j + 4];
    packed[j] = static_cast<uint8_t>(s | (s4 >> 4) << 6);
    packed[j + 4] = static_cast<uint8_t>(m | (m4 >> 4) << 6);
    packed[j + 8] = static_cast<uint8_t>((s4 & 15) | (m4 & 15) << 4);
  }
}

// Q4_K: d, dmin, u8 scales[12], u8 q[128].
void encode_q4_k(const float* in, uint8_t* out) {
  float q[super];
  const auto fit = fit_affine_super<8>(in, 15, 63, 1.0f, q);
  store_f16(out, fit.d);
  store_f16(out + 2, fit.dmin);
  store_scale_min(fit.codes, out + 4);
  for (int i = 0; i < super / 2; ++i) {
    const int from = 64 * (i / 32) + i % 32;
    out[16 + i] = static_cast<uint8_t>(code(q[from]) | code(q[from + 32]) << 4);
  }
}

// Q5_K: d, dmin, u8 scales[12], u8 fifth bits[32], u8 q[128].
void encode_q5_k(const float* in, uint8_t* out) {
  float q[super];
  const auto fit = fit_affine_super<8>(in, 31, 63, 1.0f, q);
  store_f16(out, fit.d);
  store_f16(out + 2, fit.dmin);
  store_scale_min(fit.codes, out + 4);
  std::memset(out + 16, 0, 32);
  for (int i = 0; i < super / 2; ++i) {
    const int group = i / 32, from = 64 * group + i % 32;
    const unsigned low = code(q[from]), high = code(q[from + 32]);
    out[48 + i] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
    out[16 + i % 32] = static_cast<uint8_t>(out[16 + i % 32] | (low >> 4) << 2 * group |
                                            (high >> 4) << (2 * group + 1));
  }
}

// Q6_K: u8 low nibbles[128], u8 high pairs[64], i8 scales[16], d.
void encode_q6_k(const float* in, uint8_t* out) {
  float q[super];
  const LinearSuper fit = fit_linear_super(in, {-32, 31, -128, 127}, 1.0f, q);
  std::memset(out, 0, 192);
  for (int i = 0; i < super; ++i) {
    const int half = i / 128, quarter = i % 128 / 32, at = i % 32;
    const unsigned value = code(q[i] + 32);
    uint8_t& low = out[64 * half + 32 * (quarter % 2) + at];
    uint8_t& high = out[128 + 32 * half + at];
    low = static_cast<uint8_t>(low | (value & 15) << 4 * (quarter / 2));
    high = static_cast<uint8_t>(high | (value >> 4) << 2 * quarter);
  }
  for (int j = 0; j < 16; ++j) out[192 + j] = static_cast<uint8_t>(fit.scale[j]);
  store_f16(out + 208, fit.d);
}

}  // namespace

EncodeBlock k_block_encoder(Dtype dtype) {
  switch (dtype) {
    case Dtype::q2_k:
      return encode_q2_k;
    case Dtype::q3_k:
      return encode_q3_k;
    case Dtype::q4_k:
      return encode_q4_k;
    case Dtype::q5_k:
      return encode_q5_k;
    case Dtype::q6_k:
      return encode_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace tensor::encoding
