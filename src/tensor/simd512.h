// Intrinsics for the AVX-512 kernels: the processor's, or with NAUTILE_EMULATED_AVX512 SIMDe's, so
// that the very same source is tested on machines that lack the instructions. What
// SIMDe 0.7 does not have (conversions, a fused multiply-add) is added here, lane by lane.
#pragma once

#if defined(NAUTILE_EMULATED_AVX512)

#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_NO_INLINE
#include <cmath>
#include <cstdint>
#include <cstring>
#include <simde/x86/avx512/add.h>
#include <simde/x86/avx512/and.h>
#include <simde/x86/avx512/broadcast.h>
#include <simde/x86/avx512/cast.h>
#include <simde/x86/avx512/dpbusd.h>
#include <simde/x86/avx512/dpwssd.h>
#include <simde/x86/avx512/load.h>
#include <simde/x86/avx512/max.h>
#include <simde/x86/avx512/min.h>
#include <simde/x86/avx512/mul.h>
#include <simde/x86/avx512/or.h>
#include <simde/x86/avx512/set1.h>
#include <simde/x86/avx512/setzero.h>
#include <simde/x86/avx512/shuffle.h>
#include <simde/x86/avx512/slli.h>
#include <simde/x86/avx512/srli.h>
#include <simde/x86/avx512/store.h>
#include <simde/x86/avx512/sub.h>
#include <simde/x86/avx512/ternarylogic.h>

#include "tensor/dtype.h"

#define avx512_kernels emulated_avx512_kernels
#define avx512_kernel_of_block32 emulated_avx512_kernel_of_block32
#define avx512_kernel_of_superblock emulated_avx512_kernel_of_superblock
#define avx512_kernel_of_book emulated_avx512_kernel_of_book

#define AVX512_FN
#define AVX512_INLINE static inline
// Emulated instructions are long: unrolling them takes the compiler minutes and shows nothing.
#define AVX512_UNROLL _Pragma("GCC unroll 1")

namespace tensor {

// Each of the `count` lanes of `from`, turned by `convert` into a lane of the result.
template <class Result, class FromLane, class ToLane, int count, class From, class Convert>
Result convert_lanes(const From& from, Convert convert) {
  FromLane lanes[count];
  ToLane converted[count];
  std::memcpy(lanes, &from, sizeof lanes);
  for (int i = 0; i < count; ++i) converted[i] = static_cast<ToLane>(convert(lanes[i]));
  Result result;
  std::memcpy(&result, converted, sizeof result);
  return result;
}

constexpr auto same_value = [](auto lane) { return lane; };

inline __m512i _mm512_cvtepu8_epi32(__m128i v) {
  return convert_lanes<__m512i, uint8_t, int32_t, 16>(v, same_value);
}
inline __m512i _mm512_cvtepi8_epi32(__m128i v) {
  return convert_lanes<__m512i, int8_t, int32_t, 16>(v, same_value);
}
inline __m512i _mm512_cvtepu8_epi16(__m256i v) {
  return convert_lanes<__m512i, uint8_t, int16_t, 32>(v, same_value);
}
inline __m512i _mm512_cvtepu16_epi32(__m256i v) {
  return convert_lanes<__m512i, uint16_t, int32_t, 16>(v, same_value);
}
inline __m512 _mm512_cvtepi32_ps(__m512i v) {
  return convert_lanes<__m512, int32_t, float, 16>(v, same_value);
}
inline __m512 _mm512_cvtph_ps(__m256i v) {
  return convert_lanes<__m512, uint16_t, float, 16>(v, f16_to_f32);
}

// SIMDe rounds twice here.
template <class Fused>
__m512 fused_lanes(const __m512& a, const __m512& b, const __m512& c, Fused fused) {
  float lanes[3][16];
  std::memcpy(lanes[0], &a, sizeof a);
  std::memcpy(lanes[1], &b, sizeof b);
  std::memcpy(lanes[2], &c, sizeof c);
  for (int i = 0; i < 16; ++i) lanes[2][i] = fused(lanes[0][i], lanes[1][i], lanes[2][i]);
  __m512 result;
  std::memcpy(&result, lanes[2], sizeof result);
  return result;
}
inline __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
  return fused_lanes(a, b, c, [](float x, float y, float z) { return std::fma(x, y, z); });
}
inline __m512 _mm512_fnmadd_ps(__m512 a, __m512 b, __m512 c) {
  return fused_lanes(a, b, c, [](float x, float y, float z) { return std::fma(-x, y, z); });
}

}  // namespace tensor

#else

#include <cstdint>
#include <cstring>
#include <immintrin.h>

#define AVX512_TARGET "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
#define AVX512_FN __attribute__((target(AVX512_TARGET)))
#define AVX512_INLINE __attribute__((target(AVX512_TARGET), always_inline)) static inline
// Before every loop over registers: an index that is no constant would put them into memory.
#define AVX512_UNROLL _Pragma("GCC unroll 16")

#endif

#include "tensor/kernels.h"

namespace tensor {

#if defined(NAUTILE_EMULATED_AVX512)
const KernelSet& emulated_avx512_kernels();
#endif
// The int8 kernels, shared out over three files: packed types by the size of their blocks, and
// code books; nullptr for types without one.
PanelKernel avx512_kernel_of_block32(Dtype dtype);
PanelKernel avx512_kernel_of_superblock(Dtype dtype);
PanelKernel avx512_kernel_of_book(Dtype dtype);

inline constexpr int line_bytes = 64;

// 4 KiB ahead of every line read: nearer is too late, farther gains nothing (docs/kernels.md). It
// may run past the matrix: the arena has slack.
AVX512_INLINE void prefetch_line(const uint8_t* line) {
  constexpr int prefetch_bytes = 4096;
  __builtin_prefetch(line + prefetch_bytes);
}

AVX512_INLINE __m512i load(const void* p) { return _mm512_load_si512(p); }
AVX512_INLINE __m512i broadcast(const void* p) {
  int32_t dword;
  std::memcpy(&dword, p, 4);
  return _mm512_set1_epi32(dword);
}
AVX512_INLINE __m512 half_to_float(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}
AVX512_INLINE __m128i bytes16(const uint8_t* p) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(p));
}
AVX512_INLINE void store_bytes16(uint8_t* p, __m128i v) {
  _mm_store_si128(reinterpret_cast<__m128i*>(p), v);
}

}  // namespace tensor
