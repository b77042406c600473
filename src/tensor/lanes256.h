// The registers of AVX2, under the names that the kernels written once for any width use
// (attention_body.inc, dense_body.inc, conv_body.inc). For files of kernels only: everything is in
// the including file's unnamed namespace.
#pragma once

#include <cstdint>
#include <immintrin.h>

#include "tensor/ops_exp.h"

#define KERNEL __attribute__((target("avx2,fma,f16c")))
#define INLINE __attribute__((target("avx2,fma,f16c"), always_inline)) inline

namespace tensor {
namespace {

using Vf = __m256;
inline constexpr int vector_width = 8;
struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

INLINE Vf load(const float* p) { return _mm256_loadu_ps(p); }
INLINE Vf load(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
INLINE Vf load(const Brain* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
INLINE void store(float* p, Vf v) { _mm256_storeu_ps(p, v); }
INLINE Vf zero() { return _mm256_setzero_ps(); }
INLINE Vf broadcast(const float* p) { return _mm256_broadcast_ss(p); }
INLINE Vf splat(float x) { return _mm256_set1_ps(x); }
INLINE Vf fma(Vf a, Vf b, Vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE Vf mul(Vf a, Vf b) { return _mm256_mul_ps(a, b); }
INLINE Vf add(Vf a, Vf b) { return _mm256_add_ps(a, b); }
INLINE Vf sub(Vf a, Vf b) { return _mm256_sub_ps(a, b); }
INLINE Vf max(Vf a, Vf b) { return _mm256_max_ps(a, b); }

INLINE __m256 lanes_below(int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
}
INLINE Vf keep_first(Vf v, int n) {
  return _mm256_blendv_ps(splat(-__builtin_inff()), v, lanes_below(n));
}
INLINE Vf zero_from(Vf v, int n) { return _mm256_and_ps(v, lanes_below(n)); }

INLINE float max_lanes(Vf v) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
INLINE float sum_lanes(Vf v) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

INLINE Vf exp(Vf x) {
  using namespace exp_parts;
  x = max(x, splat(lowest));
  const Vf n = sub(fma(x, splat(log2_e), splat(round_magic)), splat(round_magic));
  Vf f = _mm256_fnmadd_ps(n, splat(ln2_high), x);
  f = _mm256_fnmadd_ps(n, splat(ln2_low), f);
  Vf p = splat(c7);
  p = fma(p, f, splat(c6));
  p = fma(p, f, splat(c5));
  p = fma(p, f, splat(c4));
  p = fma(p, f, splat(c3));
  p = fma(p, f, splat(c2));
  p = add(fma(p, mul(f, f), f), splat(1.0f));
  const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
}

INLINE void narrow_half(Vf v, uint16_t* to) {
  const Vf largest = splat(65504.0f);
  const Vf bounded = _mm256_min_ps(max(v, sub(zero(), largest)), largest);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm256_cvtps_ph(bounded, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

INLINE Vf min(Vf a, Vf b) { return _mm256_min_ps(a, b); }
INLINE Vf div(Vf a, Vf b) { return _mm256_div_ps(a, b); }
INLINE Vf magnitude(Vf a) { return _mm256_andnot_ps(splat(-0.0f), a); }

// Whole numbers: dwords, or twice as many words.
using Vi = __m256i;
INLINE Vi load_words(const int16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
INLINE Vi broadcast_pair(const int16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm256_set1_epi32(pair);
}
INLINE Vi zero_words() { return _mm256_setzero_si256(); }
// sum + the products of neighbouring words, added in pairs. Pinned: with intrinsics g++ 12 computes
// all products of a tile before it adds them, and keeps seven of its twelve sums in memory.
INLINE Vi add_pairs(Vi sum, Vi a, Vi b) {
  Vi product;
  __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(product) : "x"(a), "x"(b));
  return sum;
}
INLINE Vf to_float(Vi v) { return _mm256_cvtepi32_ps(v); }
// Whole numbers within 16 bits, to the nearest even.
INLINE void store_words(int16_t* p, Vf v) {
  const __m256i dwords = _mm256_cvtps_epi32(v);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(p),
      _mm_packs_epi32(_mm256_castsi256_si128(dwords), _mm256_extracti128_si256(dwords, 1)));
}

// As many doubles as Vf has floats.
struct Vd {
  __m256d low, high;
};
INLINE Vd load(const double* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
INLINE void store(double* p, Vd v) {
  _mm256_storeu_pd(p, v.low);
  _mm256_storeu_pd(p + 4, v.high);
}
INLINE Vd to_double(Vf v) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(v)), _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
}
INLINE Vd add(Vd a, Vd b) { return {_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)}; }
INLINE Vd fma(Vd a, Vd b, Vd c) {
  return {_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high)};
}

}  // namespace
}  // namespace tensor
