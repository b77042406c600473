// What the AVX2 kernels share: function attributes, loads and the prefetch.
#pragma once

#include <cstdint>
#include <cstring>
#include <immintrin.h>

#include "tensor/kernels.h"

#define AVX2_FN __attribute__((target("avx2,fma,f16c")))
#define AVX2_INLINE __attribute__((target("avx2,fma,f16c"), always_inline)) static inline
// Compiled by itself: what is inlined around a kernel costs it registers.
#define AVX2_APART __attribute__((target("avx2,fma,f16c"), noinline))

namespace tensor {

inline constexpr int line_bytes = 64;

// 4 KiB ahead of every line read: nearer is too late, farther gains nothing (docs/kernels.md). It
// may run past the matrix: the arena has slack.
AVX2_INLINE void prefetch_line(const uint8_t* line) {
  constexpr int prefetch_bytes = 4096;
  _mm_prefetch(reinterpret_cast<const char*>(line + prefetch_bytes), _MM_HINT_T0);
}

AVX2_INLINE __m256i load(const void* p) {
  return _mm256_load_si256(static_cast<const __m256i*>(p));
}
AVX2_INLINE __m128i load16(const void* p) { return _mm_load_si128(static_cast<const __m128i*>(p)); }
AVX2_INLINE void store(void* p, __m256i v) { _mm256_store_si256(static_cast<__m256i*>(p), v); }
AVX2_INLINE __m256 half_to_float(const uint8_t* p) { return _mm256_cvtph_ps(load16(p)); }

// The int8 kernels, shared out over three files: packed types by the size of their blocks, and
// code books; nullptr for types without one.
PanelKernel avx2_kernel_of_block32(Dtype dtype);
PanelKernel avx2_kernel_of_superblock(Dtype dtype);
PanelKernel avx2_kernel_of_book(Dtype dtype);

}  // namespace tensor
