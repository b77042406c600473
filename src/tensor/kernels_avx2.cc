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

enum class Stored { f32, f16, bf16 };

template <Stored stored>
AVX2_INLINE __m256 weights8(const uint8_t* p) {
  if constexpr (stored == Stored::f32) return _mm256_load_ps(reinterpret_cast<const float*>(p));
  if constexpr (stored == Stored::f16) return half_to_float(p);
  const __m128i half = _mm_load_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

// acc[c] += sum over one superblock, t = fma(w, x, t) in order of k.
template <Stored stored, int NT>
AVX2_FN void float_tile(const uint8_t* w, int count, const float* x, int64_t x_stride, float* acc) {
  constexpr int size = stored == Stored::f32 ? 4 : 2;
  __m256 t[2][NT];
#pragma GCC unroll 4
  for (int c = 0; c < NT; ++c) t[0][c] = t[1][c] = _mm256_setzero_ps();
  for (int k = 0; k < count; ++k, w += half_rows * size) {
    if (k % 2 == 0 || size == 4) prefetch_line(w);
    const __m256 w0 = weights8<stored>(w), w1 = weights8<stored>(w + 8 * size);
#pragma GCC unroll 4
    for (int c = 0; c < NT; ++c) {
      const __m256 v = _mm256_set1_ps(x[c * x_stride + k]);
      t[0][c] = _mm256_fmadd_ps(w0, v, t[0][c]);
      t[1][c] = _mm256_fmadd_ps(w1, v, t[1][c]);
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

// `decoded`: any type, turned into f32 first.
template <Stored stored, bool decoded>
AVX2_FN void float_panel(const PanelJob& job) {
  alignas(64) float weights[decoded ? superblock_k * half_rows : 1];
  const int64_t cols = job.w->cols;
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  for (int64_t g = 0; g * superblock_k < cols; ++g) {
    for (int h = 0; h < 2 && job.panel * 2 + h < half_count(*job.w); ++h) {
      const int64_t half = job.panel * 2 + h;
      auto count = static_cast<int>(std::min<int64_t>(superblock_k, cols - g * superblock_k));
      const uint8_t* w = nullptr;
      if constexpr (decoded) {
        decode_half_superblock(*job.w, half, g, weights);
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
      return float_panel<Stored::f32, false>;
    case Dtype::f16:
      return float_panel<Stored::f16, false>;
    case Dtype::bf16:
      return float_panel<Stored::bf16, false>;
    default:
      return float_panel<Stored::f32, true>;
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
