#include "tensor/ops_avx2.h"

#include <cmath>
#include <immintrin.h>

#define TARGET_AVX2 __attribute__((target("avx2,fma")))

namespace tensor {
namespace {

TARGET_AVX2 float sum_of_lanes(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace

TARGET_AVX2 void rms_norm_avx2(const float* x, const float* weight, float* out, int dim,
                               float eps) {
  __m256 even = _mm256_setzero_ps(), odd = _mm256_setzero_ps();
  int i = 0;
  for (; i + 16 <= dim; i += 16) {
    const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
    even = _mm256_fmadd_ps(a, a, even);
    odd = _mm256_fmadd_ps(b, b, odd);
  }
  float tail = 0;
  for (int j = i; j < dim; ++j) tail += x[j] * x[j];
  const float sum = sum_of_lanes(_mm256_add_ps(even, odd)) + tail;
  const float scale = 1.0f / std::sqrt(sum / static_cast<float>(dim) + eps);
  const __m256 scales = _mm256_set1_ps(scale);
  for (i = 0; i + 8 <= dim; i += 8) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), scales);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
  }
  for (; i < dim; ++i) out[i] = x[i] * scale * weight[i];
}

TARGET_AVX2 void rope_half_split_avx2(float* head, const float* cosine, const float* sine,
                                      int dims) {
  const int half = dims / 2;
  int i = 0;
  for (; i + 8 <= half; i += 8) {
    const __m256 a = _mm256_loadu_ps(head + i), b = _mm256_loadu_ps(head + half + i);
    const __m256 c = _mm256_loadu_ps(cosine + i), s = _mm256_loadu_ps(sine + i);
    _mm256_storeu_ps(head + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
    _mm256_storeu_ps(head + half + i, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
  }
  for (; i < half; ++i) {
    const float a = head[i], b = head[half + i];
    head[i] = a * cosine[i] - b * sine[i];
    head[half + i] = a * sine[i] + b * cosine[i];
  }
}

TARGET_AVX2 void rope_adjacent_avx2(float* head, const float* cosine, const float* sine, int dims) {
  const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  int i = 0;
  for (; i + 4 <= dims / 2; i += 4) {
    const __m256 x = _mm256_loadu_ps(head + 2 * i);
    const __m256 swapped = _mm256_permute_ps(x, 0xB1);
    const __m256 c =
        _mm256_permutevar8x32_ps(_mm256_zextps128_ps256(_mm_loadu_ps(cosine + i)), twice);
    const __m256 s =
        _mm256_permutevar8x32_ps(_mm256_zextps128_ps256(_mm_loadu_ps(sine + i)), twice);
    _mm256_storeu_ps(head + 2 * i, _mm256_fmaddsub_ps(x, c, _mm256_mul_ps(swapped, s)));
  }
  for (; i < dims / 2; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = a * cosine[i] - b * sine[i];
    head[2 * i + 1] = a * sine[i] + b * cosine[i];
  }
}

}  // namespace tensor
