// The AVX2 kernel of the types that have no packed layout but integer codes: code books (IQ1, IQ2,
// IQ3) and ternary ones (TQ). They stay in memory as the file has them; a superblock of 16 rows is
// decoded to signed bytes in the first-level cache and used for all columns of the call.
#include <cstring>
#include <type_traits>

#include "tensor/book_half.h"
#include "tensor/kernels.h"
#include "tensor/simd256.h"

namespace tensor {
namespace {

constexpr int column_tile = 4;
static_assert(line_bytes == code_line_bytes);

// Codes and activations as 16-bit numbers, k 0 and 2 of a quad together, 1 and 3.
AVX2_INLINE __m256i even_bytes(__m256i codes) {
  return _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8);
}
AVX2_INLINE __m256i odd_bytes(__m256i codes) { return _mm256_srai_epi16(codes, 8); }
AVX2_INLINE __m256i broadcast(const int16_t* p) {
  int32_t dword;
  std::memcpy(&dword, p, 4);
  return _mm256_set1_epi32(dword);
}

// acc[c] += one superblock of a half, for NT columns: q and scale of the first one.
template <int NT>
AVX2_FN void book_tile(const HalfCodes& half, const int16_t* wide, const float* x_scale,
                       float* acc /* (NT, 32) */) {
  __m256 t[2][NT];
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) t[0][c] = t[1][c] = _mm256_setzero_ps();
  for (int j = 0; j < 16; ++j) {
    __m256i s[2][NT];
#pragma GCC unroll 4
    for (int c = 0; c < NT; ++c) s[0][c] = s[1][c] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      const __m256i w0 = load(half.codes[4 * j + q]), w1 = load(half.codes[4 * j + q] + 32);
      const __m256i even0 = even_bytes(w0), odd0 = odd_bytes(w0);
      const __m256i even1 = even_bytes(w1), odd1 = odd_bytes(w1);
#pragma GCC unroll 4
      for (int c = 0; c < NT; ++c) {
        const int16_t* a = wide + c * superblock_k + 16 * j + 4 * q;
        const __m256i v_even = broadcast(a), v_odd = broadcast(a + 2);
        s[0][c] = _mm256_add_epi32(s[0][c], _mm256_madd_epi16(even0, v_even));
        s[1][c] = _mm256_add_epi32(s[1][c], _mm256_madd_epi16(even1, v_even));
        s[0][c] = _mm256_add_epi32(s[0][c], _mm256_madd_epi16(odd0, v_odd));
        s[1][c] = _mm256_add_epi32(s[1][c], _mm256_madd_epi16(odd1, v_odd));
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < NT; ++c) {
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        t[i][c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[i][c]),
                                  _mm256_load_ps(half.scale[j] + 8 * i), t[i][c]);
      }
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      float* to = acc + c * panel_rows + 8 * i;
      const __m256 v = _mm256_mul_ps(t[i][c], _mm256_load_ps(half.d + 8 * i));
      _mm256_store_ps(to, _mm256_fmadd_ps(v, _mm256_set1_ps(x_scale[c]), _mm256_load_ps(to)));
    }
  }
}

AVX2_FN void book_columns(const HalfCodes& half, const PanelJob& job, int64_t g, float* acc) {
  const int64_t at = g * job.x->n + job.first_column;
  const int16_t* wide = job.x->group256.wide + at * superblock_k;
  const float* scale = job.x->group256.scale + at;
  int c = 0;
  for (; c + column_tile <= job.columns; c += column_tile) {
    book_tile<column_tile>(half, wide + c * superblock_k, scale + c, acc + c * panel_rows);
  }
  for (; c < job.columns; ++c) {
    book_tile<1>(half, wide + c * superblock_k, scale + c, acc + c * panel_rows);
  }
}

AVX2_FN void book_panel(const PanelJob& job) {
  HalfCodes codes;
  const DecodeCodes decode = codes_decoder(job.w->dtype);
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  for (int64_t g = 0; g * superblock_k < job.w->cols; ++g) {
    for (int h = 0; h < 2 && job.panel * 2 + h < half_count(*job.w); ++h) {
      decode_half(*job.w, decode, job.panel * 2 + h, g, codes);
      book_columns(codes, job, g, job.acc + h * half_rows);
    }
  }
}

}  // namespace

PanelKernel avx2_kernel_of_book(Dtype dtype) {
  return codes_decoder(dtype) != nullptr ? book_panel : nullptr;
}

}  // namespace tensor
