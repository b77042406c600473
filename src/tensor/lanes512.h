// The registers of AVX-512, under the names that the kernels written once for any width use
// (attention_body.inc, dense_body.inc, conv_body.inc). For files of kernels only: everything is in
// the including file's unnamed namespace.
#pragma once

#include <cstdint>
#include <immintrin.h>

#include "tensor/ops_exp.h"

#define KERNEL \
  __attribute__((target("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni")))
#define INLINE                                                                          \
  __attribute__((target("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni"), \
                 always_inline)) inline

namespace tensor {
namespace {

using Vf = __m512;
inline constexpr int vector_width = 16;
struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

INLINE Vf load(const float* p) { return _mm512_loadu_ps(p); }
INLINE Vf load(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
INLINE Vf load(const Brain* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
INLINE void store(float* p, Vf v) { _mm512_storeu_ps(p, v); }
INLINE Vf zero() { return _mm512_setzero_ps(); }
INLINE Vf broadcast(const float* p) { return _mm512_set1_ps(*p); }
INLINE Vf splat(float x) { return _mm512_set1_ps(x); }
INLINE Vf fma(Vf a, Vf b, Vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE Vf mul(Vf a, Vf b) { return _mm512_mul_ps(a, b); }
INLINE Vf add(Vf a, Vf b) { return _mm512_add_ps(a, b); }
INLINE Vf sub(Vf a, Vf b) { return _mm512_sub_ps(a, b); }
INLINE Vf max(Vf a, Vf b) { return _mm512_max_ps(a, b); }

INLINE __mmask16 lanes_below(int n) {
  return n >= 16 ? __mmask16{0xFFFF} : n <= 0 ? __mmask16{0} : __mmask16((1u << n) - 1);
}
INLINE Vf keep_first(Vf v, int n) {
  return _mm512_mask_blend_ps(lanes_below(n), splat(-__builtin_inff()), v);
}
INLINE Vf zero_from(Vf v, int n) { return _mm512_maskz_mov_ps(lanes_below(n), v); }
INLINE float max_lanes(Vf v) { return _mm512_reduce_max_ps(v); }
INLINE float sum_lanes(Vf v) { return _mm512_reduce_add_ps(v); }

INLINE Vf exp(Vf x) {
  using namespace exp_parts;
  x = max(x, splat(lowest));
  const Vf n = sub(fma(x, splat(log2_e), splat(round_magic)), splat(round_magic));
  Vf f = _mm512_fnmadd_ps(n, splat(ln2_high), x);
  f = _mm512_fnmadd_ps(n, splat(ln2_low), f);
  Vf p = splat(c7);
  p = fma(p, f, splat(c6));
  p = fma(p, f, splat(c5));
  p = fma(p, f, splat(c4));
  p = fma(p, f, splat(c3));
  p = fma(p, f, splat(c2));
  p = add(fma(p, mul(f, f), f), splat(1.0f));
  const __m512i exponent = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
}

INLINE void narrow_half(Vf v, uint16_t* to) {
  const Vf largest = splat(65504.0f);
  const Vf bounded = _mm512_min_ps(max(v, sub(zero(), largest)), largest);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtps_ph(bounded, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

INLINE Vf min(Vf a, Vf b) { return _mm512_min_ps(a, b); }
INLINE Vf div(Vf a, Vf b) { return _mm512_div_ps(a, b); }
INLINE Vf magnitude(Vf a) { return _mm512_andnot_ps(splat(-0.0f), a); }

// Whole numbers: dwords, or twice as many words.
using Vi = __m512i;
INLINE Vi load_words(const int16_t* p) { return _mm512_loadu_si512(p); }
INLINE Vi broadcast_pair(const int16_t* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm512_set1_epi32(pair);
}
INLINE Vi zero_words() { return _mm512_setzero_si512(); }
// sum + the products of neighbouring words, added in pairs.
INLINE Vi add_pairs(Vi sum, Vi a, Vi b) { return _mm512_dpwssd_epi32(sum, a, b); }
INLINE Vf to_float(Vi v) { return _mm512_cvtepi32_ps(v); }
// Whole numbers within 16 bits, to the nearest even.
INLINE void store_words(int16_t* p, Vf v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v)));
}

// As many doubles as Vf has floats.
struct Vd {
  __m512d low, high;
};
INLINE Vd load(const double* p) { return {_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}; }
INLINE void store(double* p, Vd v) {
  _mm512_storeu_pd(p, v.low);
  _mm512_storeu_pd(p + 8, v.high);
}
INLINE Vd to_double(Vf v) {
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(v)),
          _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
}
INLINE Vd add(Vd a, Vd b) { return {_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)}; }
INLINE Vd fma(Vd a, Vd b, Vd c) {
  return {_mm512_fmadd_pd(a.low, b.low, c.low), _mm512_fmadd_pd(a.high, b.high, c.high)};
}

}  // namespace
}  // namespace tensor
