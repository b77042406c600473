#include <immintrin.h>

#include "tensor/attention_kernels.h"
#include "tensor/ops.h"
#include "tensor/ops_exp.h"

#define KERNEL __attribute__((target("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq")))
#define INLINE \
  __attribute__((target("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq"), always_inline)) inline

namespace tensor {
namespace {

using Vf = __m512;
constexpr int vector_width = 16;
constexpr int wide_few = 4;   // 3 rows x 64 columns: twelve sums
constexpr int wide_many = 2;  // 6 rows x 32 columns: twelve sums
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

#include "tensor/attention_body.inc"

}  // namespace

const AttentionKernels& attention_kernels_avx512() {
  static constexpr AttentionKernels table{scores, softmax, values, shared_values, narrow};
  return table;
}

}  // namespace tensor
