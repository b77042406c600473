// The quantiser in AVX2: the same rounding and the same sums as the scalar one, bit for bit, NaN
// included.
#include <algorithm>
#include <cstring>
#include <immintrin.h>

#include "tensor/activations.h"
#include "tensor/block_sums.h"

#define AVX2_FN __attribute__((target("avx2,fma")))
#define AVX2_INLINE __attribute__((target("avx2,fma"), always_inline)) static inline

namespace tensor {
namespace {

// Largest magnitude of `count` values, a multiple of 32; NaN does not count (max takes its second
// operand then).
AVX2_INLINE float largest(const float* x, int count) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 most = _mm256_setzero_ps();
  for (int i = 0; i < count; i += 8) {
    most = _mm256_max_ps(_mm256_and_ps(_mm256_loadu_ps(x + i), magnitude), most);
  }
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}

struct Rounding {
  float inverse;
  float scale;
};
AVX2_INLINE Rounding rounding_of(float amax) {
  if (amax < amax_min) return {0.0f, 0.0f};
  return {127.0f / amax, amax / 127.0f};
}

AVX2_INLINE __m256i round8(const float* x, __m256 inverse) {
  const __m256i rounded = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
  return _mm256_min_epi32(_mm256_max_epi32(rounded, _mm256_set1_epi32(-127)),
                          _mm256_set1_epi32(127));
}

AVX2_INLINE __m256i round32(const float* x, float inverse) {
  const __m256 factor = _mm256_set1_ps(inverse);
  const __m256i low = _mm256_packs_epi32(round8(x, factor), round8(x + 8, factor));
  const __m256i high = _mm256_packs_epi32(round8(x + 16, factor), round8(x + 24, factor));
  // Packing works in 128-bit lanes: put the dwords back in order.
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                     _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

AVX2_INLINE BlockSums halves_of(__m128i pairs) {
  pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32(pairs, 0x4e));
  pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32(pairs, 0xb1));
  const int both = _mm_cvtsi128_si32(pairs);
  return {static_cast<int16_t>(both & 0xffff), both >> 16};
}

AVX2_INLINE __m256i pair_sums(__m256i q) { return _mm256_maddubs_epi16(_mm256_set1_epi8(1), q); }

AVX2_INLINE void store_wide(__m256i q, int16_t* wide) {
  constexpr int even_first = 0xd8;  // 0 2 1 3
  const __m256i halves[] = {_mm256_cvtepi8_epi16(_mm256_castsi256_si128(q)),
                            _mm256_cvtepi8_epi16(_mm256_extracti128_si256(q, 1))};
  for (int i = 0; i < 2; ++i) {
    const __m256i low = _mm256_shufflelo_epi16(halves[i], even_first);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(wide + 16 * i),
                        _mm256_shufflehi_epi16(low, even_first));
  }
}

}  // namespace

AVX2_FN void quantize_superblock_avx2(const QuantRows& rows, int g, int c) {
  const int count = std::min(superblock_k, rows.k - g * superblock_k);
  const float* x = rows.x + int64_t{c} * rows.k + int64_t{g} * superblock_k;
  const int64_t at = int64_t{g} * rows.n + c;
  for (int b = 0; rows.has.group32 && b < count / block_k; ++b) {
    const int64_t place = at * 8 + b;
    const Rounding rounding = rounding_of(largest(x + b * block_k, block_k));
    const __m256i q = round32(x + b * block_k, rounding.inverse);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows.group32.q + place * block_k), q);
    rows.group32.scale[place] = rounding.scale;
    const __m256i pairs = pair_sums(q);
    store_block32(rows, place,
                  halves_of(_mm_add_epi16(_mm256_castsi256_si128(pairs),
                                          _mm256_extracti128_si256(pairs, 1))));
    if (rows.group32.wide != nullptr) store_wide(q, rows.group32.wide + place * block_k);
  }
  if (!rows.has.group256) return;
  const Rounding rounding = rounding_of(largest(x, count));
  rows.group256.scale[at] = rounding.scale;
  BlockSums sums[16];
  for (int b = 0; b < count / block_k; ++b) {
    const __m256i q = round32(x + b * block_k, rounding.inverse);
    int8_t* to = rows.group256.q + at * superblock_k + b * block_k;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), q);
    int16_t* wide = rows.group256.wide;
    if (wide != nullptr) store_wide(q, wide + at * superblock_k + b * block_k);
    const __m256i pairs = pair_sums(q);
    sums[2 * b] = halves_of(_mm256_castsi256_si128(pairs));
    sums[2 * b + 1] = halves_of(_mm256_extracti128_si256(pairs, 1));
  }
  store_superblock(rows, at, sums);
}

}  // namespace tensor
