// The AVX-512 kernel of the types that have no packed layout but integer codes: code books (IQ1,
// IQ2, IQ3) and ternary ones (TQ), as in kernels_avx2_book.cc. vpdpbusd takes unsigned codes: 64
// is added to them and taken off by the sums' start.
#include <cstring>

#include "tensor/book_half.h"
#include "tensor/kernels.h"
#include "tensor/simd512.h"

namespace tensor {
namespace {

constexpr int book_column_tile = 8;
static_assert(line_bytes == code_line_bytes);

// acc[c] += one superblock of a half, for NT columns: q, start and scale of the first one.
template <int NT>
AVX512_FN void book_tile(const HalfCodes& half, const int8_t* q, const int32_t* start,
                         const float* x_scale, float* acc /* (NT, 32) */) {
  __m512 t[NT];
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) t[c] = _mm512_setzero_ps();
  for (int j = 0; j < 16; ++j) {
    __m512i s[NT];
    AVX512_UNROLL
    for (int c = 0; c < NT; ++c) s[c] = broadcast(start + 16 * c + j);
    AVX512_UNROLL
    for (int i = 0; i < 4; ++i) {
      const __m512i w = _mm512_add_epi8(load(half.codes[4 * j + i]), _mm512_set1_epi8(64));
      AVX512_UNROLL
      for (int c = 0; c < NT; ++c) {
        s[c] = _mm512_dpbusd_epi32(s[c], w, broadcast(q + c * superblock_k + 16 * j + 4 * i));
      }
    }
    const __m512 scale = _mm512_load_ps(half.scale[j]);
    AVX512_UNROLL
    for (int c = 0; c < NT; ++c) t[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[c]), scale, t[c]);
  }
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) {
    float* to = acc + c * panel_rows;
    const __m512 v = _mm512_mul_ps(t[c], _mm512_load_ps(half.d));
    _mm512_store_ps(to, _mm512_fmadd_ps(v, _mm512_set1_ps(x_scale[c]), _mm512_load_ps(to)));
  }
}

AVX512_FN void book_columns(const HalfCodes& half, const PanelJob& job, int64_t g, float* acc) {
  const int64_t at = g * job.x->n + job.first_column;
  const int8_t* q = job.x->group256.q + at * superblock_k;
  const int32_t* start = job.x->group256.start_64 + at * 16;
  const float* scale = job.x->group256.scale + at;
  int c = 0;
  for (; c + book_column_tile <= job.columns; c += book_column_tile) {
    book_tile<book_column_tile>(half, q + c * superblock_k, start + c * 16, scale + c,
                                acc + c * panel_rows);
  }
  for (; c < job.columns; ++c) {
    book_tile<1>(half, q + c * superblock_k, start + c * 16, scale + c, acc + c * panel_rows);
  }
}

AVX512_FN void book_panel(const PanelJob& job) {
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

PanelKernel avx512_kernel_of_book(Dtype dtype) {
  return codes_decoder(dtype) != nullptr ? book_panel : nullptr;
}

}  // namespace tensor
