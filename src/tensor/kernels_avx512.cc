// The AVX-512 kernels: f32 activations here, the int8 ones of packed weights in the files beside
// it.
#include <algorithm>
#include <cstring>

#include "tensor/kernels.h"
#include "tensor/kernels_generic.h"
#include "tensor/simd512.h"

namespace tensor {
namespace {

PanelKernel quantized(Dtype dtype) {
  const PanelKernel kernel = avx512_kernel_of_block32(dtype);
  if (kernel != nullptr) return kernel;
  const PanelKernel super = avx512_kernel_of_superblock(dtype);
  return super != nullptr ? super : avx512_kernel_of_book(dtype);
}

// ---- f32 activations ---------------------------------------------------------------------------

template <Stored stored>
AVX512_INLINE __m512 weights16(const uint8_t* p) {
  if constexpr (stored == Stored::f32) return _mm512_load_ps(reinterpret_cast<const float*>(p));
  if constexpr (stored == Stored::f16) return half_to_float(p);
  const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

// e4m3 shifted into the bits of a half is 2^-8 of its value, subnormals too.
AVX512_INLINE __m512 f8_values(const uint8_t* p) {
  const __m256i wide = _mm256_cvtepi8_epi16(bytes16(p));
  const __m256i half =
      _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(static_cast<int16_t>(0xbf80)));
  return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0f));
}

// Weights of 16 rows at w; of an FP8 unit its codes, with the scale of their block.
template <Stored stored>
AVX512_INLINE __m512 scaled_weights16(const uint8_t* w, __m512 scale) {
  if constexpr (stored == Stored::f8) return _mm512_mul_ps(f8_values(w), scale);
  return weights16<stored>(w);
}

// acc[c] += sum over one superblock, t = fma(w, x, t) in order of k.
template <Stored stored, int NT>
AVX512_FN void float_tile(const uint8_t* unit, int count, const float* x, int64_t x_stride,
                          float* acc) {
  using Stream = FloatStream<stored>;
  const uint8_t* w = Stream::weights(unit);
  const int run = Stream::run(count);
  __m512 t[NT], scale = _mm512_setzero_ps();
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) t[c] = _mm512_setzero_ps();
  for (int first = 0; first < count; first += run, unit += f8_scales_bytes) {
    if constexpr (Stream::f8) scale = _mm512_load_ps(reinterpret_cast<const float*>(unit));
    for (int k = first; k < first + run; ++k, w += half_rows * Stream::bytes) {
      if (k % Stream::lines_apart == 0) prefetch_line(w);
      const __m512 weights = scaled_weights16<stored>(w, scale);
      AVX512_UNROLL
      for (int c = 0; c < NT; ++c) {
        t[c] = _mm512_fmadd_ps(weights, _mm512_set1_ps(x[c * x_stride + k]), t[c]);
      }
    }
  }
  AVX512_UNROLL
  for (int c = 0; c < NT; ++c) {
    float* to = acc + c * panel_rows;
    _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), t[c]));
  }
}

template <Stored stored>
AVX512_FN void float_columns(const uint8_t* w, int count, const PanelJob& job, int64_t g, int h) {
  const int64_t stride = job.w->cols;
  const float* x = job.x->x + job.first_column * stride + g * superblock_k;
  for (int c = 0; c < job.columns;) {
    float* acc = job.acc + c * panel_rows + h * half_rows;
    const int left = job.columns - c;
    const float* from = x + c * stride;
    if (left >= 8) {
      float_tile<stored, 8>(w, count, from, stride, acc);
      c += 8;
    } else if (left >= 4) {
      float_tile<stored, 4>(w, count, from, stride, acc);
      c += 4;
    } else if (left >= 2) {
      float_tile<stored, 2>(w, count, from, stride, acc);
      c += 2;
    } else {
      float_tile<stored, 1>(w, count, from, stride, acc);
      c += 1;
    }
  }
}

// The weights of `count` k of an FP8 unit: [k][16 rows].
AVX512_FN void decode_f8(const uint8_t* unit, int count, float* out) {
  const uint8_t* code = unit + f8_codes_at;
  for (int k0 = 0; k0 < count; k0 += f8_scaled_k, unit += f8_scales_bytes) {
    const __m512 scale = _mm512_load_ps(reinterpret_cast<const float*>(unit));
    for (int k = 0; k < f8_scaled_k; ++k, code += half_rows, out += half_rows) {
      if (k % 4 == 0) prefetch_line(code);
      _mm512_store_ps(out, scaled_weights16<Stored::f8>(code, scale));
    }
  }
}

constexpr int f8_columns_max = 4;  // that take the codes straight from the stream

// What stands in memory is read as it is, or turned into f32 first: FP8 by this file, others by
// any.
enum class Decoded { no, f8, any };
template <Stored stored, Decoded decoded>
AVX512_FN void float_panel(const PanelJob& job) {
  alignas(64) float weights[decoded != Decoded::no ? superblock_k * half_rows : 16];
  const int64_t cols = job.w->cols;
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  for (int64_t g = 0; g * superblock_k < cols; ++g) {
    for (int h = 0; h < 2 && job.panel * 2 + h < half_count(*job.w); ++h) {
      const int64_t half = job.panel * 2 + h;
      const auto count = static_cast<int>(std::min<int64_t>(superblock_k, cols - g * superblock_k));
      const uint8_t* w = nullptr;
      if constexpr (decoded != Decoded::no) {
        if constexpr (decoded == Decoded::f8) {
          if (job.columns <= f8_columns_max) {
            float_columns<Stored::f8>(half_view(*job.w, half).unit(g), count, job, g, h);
            continue;
          }
          decode_f8(half_view(*job.w, half).unit(g), count, weights);
        } else {
          decode_half_superblock(*job.w, half, g, weights);
        }
        w = reinterpret_cast<const uint8_t*>(weights);
      } else {
        w = half_view(*job.w, half).unit(g);
      }
      float_columns<stored>(w, count, job, g, h);
    }
  }
}

PanelKernel floating(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return float_panel<Stored::f32, Decoded::no>;
    case Dtype::f16:
      return float_panel<Stored::f16, Decoded::no>;
    case Dtype::bf16:
      return float_panel<Stored::bf16, Decoded::no>;
    case Dtype::f8_scaled:
      return float_panel<Stored::f32, Decoded::f8>;
    default:
      return float_panel<Stored::f32, Decoded::any>;
  }
}

AVX512_FN void exact_panel(const PanelJob& job) { exact_panel_lanes(job); }
AVX512_FN void silu_product(float* gate, const float* up, int64_t count) {
  silu_product_lanes(gate, up, count);
}

}  // namespace

const KernelSet& avx512_kernels() {
  static constexpr KernelSet set{
      quantized, floating, exact_panel, silu_product, quantize_superblock_avx2, 1200 << 10};
  return set;
}

}  // namespace tensor
