// The searches of the encoders, for encode.cc and encode_k.cc only.
//
// Two ways to write N weights as small integers q:
//
//   linear   x ~ s q          q in [low, high]
//   affine   x ~ s q - m      q in [0, high], m >= 0
//
// Both searches are the same three steps. A guess of s (and m) comes from the range of the weights,
// a little more or less of it in each try; the weights are rounded to q with it; for these q the
// best s (and m) follow from least squares. The best try is then polished by rounding again with
// what least squares gave, until nothing improves (Lloyd's way to cluster points on a line). Many
// tries find the better of several local minima: with 32 values of q one is enough, with 4 it is
// not.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace tensor::encoding {

// Four floats at a time, in every build the same arithmetic in the same order.
using Lanes = float __attribute__((vector_size(16)));

inline Lanes all(float value) { return Lanes{value, value, value, value}; }
inline Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}
inline void store(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof lanes); }
inline float sum(Lanes lanes) { return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]); }

// Clamped to [low, high], |low| and |high| below 2^22, then rounded to the nearest whole number.
inline Lanes rounded(Lanes value, Lanes low, Lanes high) {
  value = value < low ? low : value;
  value = value > high ? high : value;
  const Lanes magic = all(12582912.0f);  // 1.5 2^23: what is added to it loses its fraction
  return (value + magic) - magic;
}

// 1 / value, or 0 where that would be no number to compute with.
inline float inverse_of(float value) { return std::fabs(value) < 1e-30f ? 0.0f : 1.0f / value; }

// Weights so small that no scale can hold them; a block of them is encoded as zeros.
inline constexpr float zero_below = 1e-9f;

// How much each weight counts: the root mean square of the block plus the weight's own size.
template <int N>
void find_importance(const float* x, float* importance, float evenness) {
  float squares = 0;
  for (int i = 0; i < N; ++i) squares += x[i] * x[i];
  const float base = evenness * std::sqrt(squares / N);
  for (int i = 0; i < N; ++i) importance[i] = base + std::fabs(x[i]);
}

template <int N>
float largest_of(const float* x) {  // by magnitude, with its sign
  float largest = 0;
  for (int i = 0; i < N; ++i) largest = std::fabs(x[i]) > std::fabs(largest) ? x[i] : largest;
  return largest;
}

// ---- x ~ s q

struct LinearFit {
  float scale = 0;
  float gain = 0;  // by how much the error is below that of all zeros
};

template <int N>
LinearFit try_linear(const float* x, const float* w, float inverse, float low, float high) {
  const Lanes factor = all(inverse), least = all(low), most = all(high);
  Lanes xq = all(0), qq = all(0);
  for (int i = 0; i < N; i += 4) {
    const Lanes value = load(x + i), weight = load(w + i);
    const Lanes q = rounded(value * factor, least, most);
    xq += weight * value * q;
    qq += weight * q * q;
  }
  const float product = sum(xq), square = sum(qq);
  if (!(square > 0)) return {};
  return {product / square, product * product / square};
}

// low < 0 < high, -low >= high.
template <int N>
LinearFit fit_linear(const float* x, const float* w, float low, float high) {
  const float largest = largest_of<N>(x);
  if (std::fabs(largest) < zero_below) return {};
  LinearFit best;
  const auto consider = [&](float reach) {
    const LinearFit found = try_linear<N>(x, w, reach / largest, low, high);
    if (found.gain > best.gain) best = found;
  };
  // The largest weight becomes the end of the range with the more values, or the other one.
  constexpr int steps = 12;
  constexpr float step = 0.1f;
  for (int i = -steps; i <= steps; ++i) consider(low + step * static_cast<float>(i));
  if (high <= 16) {
    for (int i = -steps; i <= steps; ++i) consider(high + step * static_cast<float>(i));
  }
  for (int i = 0; i < 4 && best.scale != 0; ++i) {
    const LinearFit polished = try_linear<N>(x, w, inverse_of(best.scale), low, high);
    if (!(polished.gain > best.gain)) break;
    best = polished;
  }
  return best;
}

// The error of rounding with a given scale.
template <int N>
float linear_error(const float* x, const float* w, float scale, float low, float high) {
  const Lanes factor = all(inverse_of(scale)), least = all(low), most = all(high);
  const Lanes s = all(scale);
  Lanes error = all(0);
  for (int i = 0; i < N; i += 4) {
    const Lanes value = load(x + i);
    const Lanes off = value - s * rounded(value * factor, least, most);
    error += load(w + i) * off * off;
  }
  return sum(error);
}

template <int N>
void round_linear(const float* x, float scale, float low, float high, float* q) {
  const Lanes factor = all(inverse_of(scale)), least = all(low), most = all(high);
  for (int i = 0; i < N; i += 4) store(q + i, rounded(load(x + i) * factor, least, most));
}

// ---- x ~ s q - m

struct AffineFit {
  float scale = 0, minimum = 0;
  float error = std::numeric_limits<float>::max();
};

// Rounds with (inverse, minimum) and solves for the best pair.
template <int N>
AffineFit try_affine(const float* x, const float* w, float inverse, float minimum, float high) {
  const Lanes factor = all(inverse), shift = all(minimum), zero = all(0), most = all(high);
  Lanes sw = zero, sx = zero, sxx = zero, sq = zero, sqq = zero, sxq = zero;
  for (int i = 0; i < N; i += 4) {
    const Lanes value = load(x + i), weight = load(w + i);
    const Lanes q = rounded((value + shift) * factor, zero, most);
    const Lanes wx = weight * value, wq = weight * q;
    sw += weight;
    sx += wx;
    sxx += wx * value;
    sq += wq;
    sqq += wq * q;
    sxq += wx * q;
  }
  const float w1 = sum(sw), x1 = sum(sx), q1 = sum(sq), q2 = sum(sqq), xq = sum(sxq);
  const float determinant = w1 * q2 - q1 * q1;
  AffineFit fit;
  if (determinant > 1e-6f * w1 * q2) {
    fit.scale = (w1 * xq - x1 * q1) / determinant;
    fit.minimum = (q1 * xq - q2 * x1) / determinant;
  }
  if (determinant <= 1e-6f * w1 * q2 && x1 < 0) {
    fit.minimum = -x1 / w1;  // all q are equal: the weights are one number
    fit.scale = 0;
  } else if (!(fit.minimum > 0)) {
    fit.minimum = 0;
    fit.scale = q2 > 0 ? xq / q2 : 0;
  }
  if (!(fit.scale >= 0)) return {};
  const float s = fit.scale, m = fit.minimum;
  fit.error = sum(sxx) + s * s * q2 + m * m * w1 - 2 * s * xq + 2 * m * x1 - 2 * s * m * q1;
  return fit;
}

template <int N>
AffineFit fit_affine(const float* x, const float* w, int high) {
  float least = 0, most = 0;
  for (int i = 0; i < N; ++i) {
    least = std::min(least, x[i]);
    most = std::max(most, x[i]);
  }
  if (most - least < zero_below) return {};
  const float top = static_cast<float>(high);
  AffineFit best;
  const auto consider = [&](float from, float to) {
    if (!(to - from > zero_below)) return;
    const AffineFit found = try_affine<N>(x, w, top / (to - from), -from, top);
    if (found.error < best.error) best = found;
  };
  if (high <= 3) {  // a range of four values: cut its two ends separately
    for (int i = 0; i < 8; ++i) {
      for (int j = 0; j < 8; ++j) {
        consider(least * (1.1f - 0.1f * static_cast<float>(i)),
                 most * (1.1f - 0.1f * static_cast<float>(j)));
      }
    }
  } else {
    const float range = most - least;
    for (int i = -10; i <= 10; ++i) {
      const float cut = range * 0.1f * static_cast<float>(i) / top;
      consider(least, most - cut);
      consider(least + std::min(cut, -least), most - cut);
    }
  }
  for (int i = 0; i < 4; ++i) {
    const AffineFit polished = try_affine<N>(x, w, inverse_of(best.scale), best.minimum, top);
    if (!(polished.error < best.error)) break;
    best = polished;
  }
  return best;
}

template <int N>
float affine_error(const float* x, const float* w, float scale, float minimum, float high) {
  const Lanes factor = all(inverse_of(scale)), shift = all(minimum), zero = all(0);
  const Lanes s = all(scale), most = all(high);
  Lanes error = zero;
  for (int i = 0; i < N; i += 4) {
    const Lanes value = load(x + i) + shift;
    const Lanes off = value - s * rounded(value * factor, zero, most);
    error += load(w + i) * off * off;
  }
  return sum(error);
}

template <int N>
void round_affine(const float* x, float scale, float minimum, float high, float* q) {
  const Lanes factor = all(inverse_of(scale)), shift = all(minimum), zero = all(0);
  const Lanes most = all(high);
  for (int i = 0; i < N; i += 4) store(q + i, rounded((load(x + i) + shift) * factor, zero, most));
}

}  // namespace tensor::encoding
