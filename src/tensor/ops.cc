#include "tensor/ops.h"

#include <bit>
#include <cmath>

#include "tensor/ops_avx2.h"
#include "tensor/ops_exp.h"

namespace tensor {
namespace {

// Eight running sums, then pairs: the order that the AVX2 form has too, so both err alike.
void rms_norm_scalar(const float* x, const float* weight, float* out, int dim, float eps) {
  float lanes[8] = {};
  for (int i = 0; i < dim; ++i) lanes[i % 8] += x[i] * x[i];
  const float low = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
  const float high = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
  const float scale = 1.0f / std::sqrt((low + high) / static_cast<float>(dim) + eps);
  for (int i = 0; i < dim; ++i) out[i] = x[i] * scale * weight[i];
}

void rope_half_split_scalar(float* head, const float* cosine, const float* sine, int dims) {
  const int half = dims / 2;
  for (int i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cosine[i] - b * sine[i];
    head[i + half] = a * sine[i] + b * cosine[i];
  }
}

void rope_adjacent_scalar(float* head, const float* cosine, const float* sine, int dims) {
  for (int i = 0; i < dims / 2; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = a * cosine[i] - b * sine[i];
    head[2 * i + 1] = a * sine[i] + b * cosine[i];
  }
}

}  // namespace

void rms_norm(Isa isa, const float* x, const float* weight, float* out, int dim, float eps) {
  if (isa == Isa::scalar) return rms_norm_scalar(x, weight, out, dim, eps);
  rms_norm_avx2(x, weight, out, dim, eps);
}

void rope_half_split(Isa isa, float* head, const float* cosine, const float* sine, int dims) {
  if (isa == Isa::scalar) return rope_half_split_scalar(head, cosine, sine, dims);
  rope_half_split_avx2(head, cosine, sine, dims);
}

void rope_adjacent(Isa isa, float* head, const float* cosine, const float* sine, int dims) {
  if (isa == Isa::scalar) return rope_adjacent_scalar(head, cosine, sine, dims);
  rope_adjacent_avx2(head, cosine, sine, dims);
}

float exp_nonpositive(float x) {
  using namespace exp_parts;
  x = x > lowest ? x : lowest;  // a NaN becomes e^-87 too
  const float n = (x * log2_e + round_magic) - round_magic;
  const float f = (x - n * ln2_high) - n * ln2_low;
  float p = c7;
  p = p * f + c6;
  p = p * f + c5;
  p = p * f + c4;
  p = p * f + c3;
  p = p * f + c2;
  p = p * (f * f) + f + 1.0f;
  const int bits = static_cast<int>(n) * (1 << 23);
  return std::bit_cast<float>(std::bit_cast<int>(p) + bits);
}

}  // namespace tensor
