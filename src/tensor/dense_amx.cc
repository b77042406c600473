// The table of AVX-512, with products of bf16 on the tiles of AMX. Two by two tiles of sums share
// what is loaded.
#include "tensor/dense_kernels.h"
#include "tensor/lanes512.h"
#include "tensor/tile_config.h"

#undef KERNEL
#undef INLINE
#define TARGET                                                                               \
  target(                                                                                    \
      "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx512bf16,amx-tile,amx-" \
      "bf16")
#define KERNEL __attribute__((TARGET))
#define INLINE __attribute__((TARGET, always_inline)) inline

namespace tensor {
namespace {

constexpr int row_bytes = tile_depth * sizeof(uint16_t);  // 16 sums are as many

KERNEL void begin_tiles() {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.shape(tile, tile_side, row_bytes);
  config.load();
}
KERNEL void end_tiles() { _tile_release(); }

INLINE __m256i rounded(__m512 numbers) {
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(numbers));
}
// What is left of numbers that were rounded to `high`.
INLINE __m256i rest_of(__m512 numbers, __m256i high) {
  const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16);
  return rounded(_mm512_sub_ps(numbers, _mm512_castsi512_ps(wide)));
}
INLINE void put_halves(__m512 numbers, Halves<uint16_t> to) {
  const __m256i high = rounded(numbers);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to.high), high);
  if (!to.low) return;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to.low), rest_of(numbers, high));
}
INLINE __m512i paired(__m256i first, __m256i second) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(first),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
}
INLINE void interleave(const float* first, const float* second, Halves<uint16_t> to) {
  const __m512 a = _mm512_loadu_ps(first), b = _mm512_loadu_ps(second);
  const __m256i high_a = rounded(a), high_b = rounded(b);
  _mm512_storeu_si512(to.high, paired(high_a, high_b));
  if (to.low) _mm512_storeu_si512(to.low, paired(rest_of(a, high_a), rest_of(b, high_b)));
}
INLINE Vf reciprocal(Vf x) { return _mm512_rcp14_ps(x); }

#include "tensor/conv_input.inc"
#include "tensor/erf.inc"
// Apart from the above only to be short.
#include "tensor/dense_tiles.inc"

// Tiles 0 to 3 += 4 and 5 (rows) times 6 and 7 (panels); those at `a` and `b` are loaded first,
// where `load_...` says so. Loads stand between products, which take twice their time.
template <bool more_rows, bool more_panels, bool load_a, bool load_b>
INLINE void multiply_tiles(const uint16_t* a, int64_t next_a, const uint16_t* b, int64_t next_b) {
  if constexpr (load_a) _tile_loadd(4, a, row_bytes);
  if constexpr (load_b) _tile_loadd(6, b, row_bytes);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (more_panels) {
    if constexpr (load_b) _tile_loadd(7, b + next_b, row_bytes);
    _tile_dpbf16ps(1, 4, 7);
  }
  if constexpr (more_rows) {
    if constexpr (load_a) _tile_loadd(5, a + next_a, row_bytes);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (more_panels) _tile_dpbf16ps(3, 5, 7);
  }
}

template <bool more_rows, bool more_panels>
KERNEL void multiply_block(const TileBlock& x) {
  const int64_t stride = x.next_y_row * int64_t{sizeof(float)};
  float* second_rows = x.y + tile_side * x.next_y_row;
  if (x.accumulate) {
    _tile_loadd(0, x.y, stride);
    if constexpr (more_panels) _tile_loadd(1, x.y + x.next_y, stride);
    if constexpr (more_rows) _tile_loadd(2, second_rows, stride);
    if constexpr (more_rows && more_panels) _tile_loadd(3, second_rows + x.next_y, stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const int64_t end = int64_t{x.depth} * tile_side;
  for (int64_t at = 0; at < end; at += tile_numbers) {
    const uint16_t *a = x.a.high + at, *b = x.b.high + at;
    if (x.a.low) {
      const uint16_t *a_low = x.a.low + at, *b_low = x.b.low + at;
      multiply_tiles<more_rows, more_panels, true, true>(a_low, x.next_a, b, x.next_b);
      multiply_tiles<more_rows, more_panels, true, false>(a, x.next_a, b, x.next_b);
      multiply_tiles<more_rows, more_panels, false, true>(a, x.next_a, b_low, x.next_b);
    } else {
      multiply_tiles<more_rows, more_panels, true, true>(a, x.next_a, b, x.next_b);
    }
  }
  _tile_stored(0, x.y, stride);
  if constexpr (more_panels) _tile_stored(1, x.y + x.next_y, stride);
  if constexpr (more_rows) _tile_stored(2, second_rows, stride);
  if constexpr (more_rows && more_panels) _tile_stored(3, second_rows + x.next_y, stride);
}

}  // namespace

const DenseKernels& dense_kernels_amx() {
  static const DenseKernels table = [] {
    DenseKernels amx = dense_kernels_avx512();
    amx.tiles = &tile_kernels;
    return amx;
  }();
  return table;
}

}  // namespace tensor
