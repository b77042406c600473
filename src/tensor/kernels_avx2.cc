// The AVX2 kernels: f32 activations here, the int8 ones of packed weights in the files beside it.
#include <algorithm>
#include <cstring>

#include "tensor/kernels.h"
#include "tensor/kernels_generic.h"
#include "tensor/simd256.h"

namespace tensor {
namespace {

constexpr int column_tile = 4;

PanelKernel quantized(Dtype dtype) {
  const PanelKernel kernel = avx2_kernel_of_block32(dtype);
  if (kernel != nullptr) return kernel;
  const PanelKernel super = avx2_kernel_of_superblock(dtype);
  return super != nullptr ? super : avx2_kernel_of_book(dtype);
}

// ---- f32 activations ---------------------------------------------------------------------------

template <Stored stored>
AVX2_INLINE __m256 weights8(const uint8_t* p) {
  if constexpr (stored == Stored::f32) return _mm256_load_ps(reinterpret_cast<const float*>(p));
  if constexpr (stored == Stored::f16) return half_to_float(p);
  const __m128i half = _mm_load_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

// e4m3 shifted into the bits of a half is 2^-8 of its value, subnormals too.
AVX2_INLINE __m256 f8_values(__m128i wide /* (8) codes, sign extended */) {
  const __m128i half =
      _mm_and_si128(_mm_slli_epi16(wide, 7), _mm_set1_epi16(static_cast<int16_t>(0xbf80)));
  return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0f));
}

struct Sixteen {
  __m256 low, high;
};
// Weights of 16 rows at w; of an FP8 unit its codes, with the scales of their block.
template <Stored stored>
AVX2_INLINE Sixteen weights16(const uint8_t* w, const Sixteen& scale) {
  if constexpr (stored == Stored::f8) {
    const __m256i wide = _mm256_cvtepi8_epi16(load16(w));
    return {_mm256_mul_ps(f8_values(_mm256_castsi256_si128(wide)), scale.low),
            _mm256_mul_ps(f8_values(_mm256_extracti128_si256(wide, 1)), scale.high)};
  } else {
    return {weights8<stored>(w), weights8<stored>(w + 8 * FloatStream<stored>::bytes)};
  }
}

// acc[c] += sum over one superblock, t = fma(w, x, t) in order of k.
template <Stored stored, int NT>
AVX2_FN void float_tile(const uint8_t* unit, int count, const float* x, int64_t x_stride,
                        float* acc) {
  using Stream = FloatStream<stored>;
  const uint8_t* w = Stream::weights(unit);
  const int run = Stream::run(count);
  __m256 t[2][NT];
  Sixteen scale{_mm256_setzero_ps(), _mm256_setzero_ps()};
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) t[0][c] = t[1][c] = _mm256_setzero_ps();
  for (int first = 0; first < count; first += run, unit += f8_scales_bytes) {
    const auto* scales = reinterpret_cast<const float*>(unit);
    if constexpr (Stream::f8) scale = {_mm256_load_ps(scales), _mm256_load_ps(scales + 8)};
    for (int k = first; k < first + run; ++k, w += half_rows * Stream::bytes) {
      if (k % Stream::lines_apart == 0) prefetch_line(w);
      const Sixteen weights = weights16<stored>(w, scale);
#pragma GCC unroll 4
      for (int c = 0; c < NT; ++c) {
        const __m256 v = _mm256_set1_ps(x[c * x_stride + k]);
        t[0][c] = _mm256_fmadd_ps(weights.low, v, t[0][c]);
        t[1][c] = _mm256_fmadd_ps(weights.high, v, t[1][c]);
      }
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) {
    for (int i = 0; i < 2; ++i) {
      float* to = acc + c * panel_rows + 8 * i;
      _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), t[i][c]));
    }
  }
}

template <Stored stored>
AVX2_FN void float_columns(const uint8_t* w, int count, const PanelJob& job, int64_t g, int h) {
  const int64_t stride = job.w->cols;
  const float* x = job.x->x + job.first_column * stride + g * superblock_k;
  for (int c = 0; c < job.columns; c += column_tile, x += column_tile * stride) {
    float* acc = job.acc + c * panel_rows + h * half_rows;
    switch (job.columns - c) {
      case 1:
        float_tile<stored, 1>(w, count, x, stride, acc);
        break;
      case 2:
        float_tile<stored, 2>(w, count, x, stride, acc);
        break;
      case 3:
        float_tile<stored, 3>(w, count, x, stride, acc);
        break;
      default:
        float_tile<stored, 4>(w, count, x, stride, acc);
        break;
    }
  }
}

// The weights of `count` k of an FP8 unit: [k][16 rows].
AVX2_FN void decode_f8(const uint8_t* unit, int count, float* out) {
  const uint8_t* code = unit + f8_codes_at;
  for (int k0 = 0; k0 < count; k0 += f8_scaled_k, unit += f8_scales_bytes) {
    const auto* scales = reinterpret_cast<const float*>(unit);
    const Sixteen scale{_mm256_load_ps(scales), _mm256_load_ps(scales + 8)};
    for (int k = 0; k < f8_scaled_k; ++k, code += half_rows, out += half_rows) {
      if (k % 4 == 0) prefetch_line(code);
      const Sixteen weights = weights16<Stored::f8>(code, scale);
      _mm256_store_ps(out, weights.low);
      _mm256_store_ps(out + 8, weights.high);
    }
  }
}

constexpr int f8_columns_max = 4;  // that take the codes straight from the stream

// What stands in memory is read as it is, or turned into f32 first: FP8 by this file, others by
// any.
enum class Decoded { no, f8, any };
template <Stored stored, Decoded decoded>
AVX2_FN void float_panel(const PanelJob& job) {
  alignas(64) float weights[decoded != Decoded::no ? superblock_k * half_rows : 1];
  const int64_t cols = job.w->cols;
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  for (int64_t g = 0; g * superblock_k < cols; ++g) {
    for (int h = 0; h < 2 && job.panel * 2 + h < half_count(*job.w); ++h) {
      const int64_t half = job.panel * 2 + h;
      auto count = static_cast<int>(std::min<int64_t>(superblock_k, cols - g * superblock_k));
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

AVX2_FN void exact_panel(const PanelJob& job) { exact_panel_lanes(job); }
AVX2_FN void silu_product(float* gate, const float* up, int64_t count) {
  silu_product_lanes(gate, up, count);
}

}  // namespace

const KernelSet& avx2_kernels() {
  static constexpr KernelSet set{
      quantized, floating, exact_panel, silu_product, quantize_superblock_avx2, 256 << 10};
  return set;
}

}  // namespace tensor
