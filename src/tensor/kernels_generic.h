// Kernels that are written once, in plain C++ with GCC's vector types, and compiled for each ISA:
// every operation is a single IEEE operation (no contraction), so all ISAs give the same bits.
// Included by the kernel files; KERNEL_TARGET is the function attribute of the ISA.
#pragma once

#include <cstring>

#include "tensor/kernels.h"

namespace tensor {

typedef float Float16 __attribute__((vector_size(64)));
typedef int32_t Int16Lanes __attribute__((vector_size(64)));
typedef double Double16 __attribute__((vector_size(128)));

// exp(x), relative error below 3e-7; x is clamped to where the result is a normal number.
__attribute__((always_inline)) inline void exp_lanes(Float16& x) {
  constexpr float log2_e = 1.44269504f;
  constexpr float ln2_high = 0.693359375f;  // few bits: times an integer it is exact
  constexpr float ln2_low = -2.12194440e-4f;
  constexpr float round_magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Float16 low = Float16{} - 87.0f;
  const Float16 high = Float16{} + 88.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Float16 shifted = x * log2_e + round_magic;
  const Float16 n = shifted - round_magic;
  const Float16 r = (x - n * ln2_high) - n * ln2_low;
  Float16 p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  // 2^n: n sits in the low bits of `shifted`.
  const Int16Lanes exponent = ((Int16Lanes)shifted << 23) + (127 << 23);
  x = p * (Float16)exponent;
}

__attribute__((always_inline)) inline void silu_product_lanes(float* gate, const float* up,
                                                              int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    Float16 g, u;
    std::memcpy(&g, gate + i, sizeof g);
    std::memcpy(&u, up + i, sizeof u);
    Float16 e = -g;
    exp_lanes(e);
    g = g / (e + 1.0f) * u;
    std::memcpy(gate + i, &g, sizeof g);
  }
}

// One superblock of one half for up to 4 columns: acc[c][r] += sum over k of w[k][r] * x[c][k], in
// order of k. A product of two f32 is exact in f64.
template <int columns>
__attribute__((always_inline)) inline void exact_tile(const float* w /* (count, 16) */, int count,
                                                      const float* x, int64_t x_stride,
                                                      double* acc /* (columns, 32) */) {
  Double16 sum[columns];
  for (int c = 0; c < columns; ++c) std::memcpy(&sum[c], acc + c * panel_rows, sizeof sum[c]);
  for (int k = 0; k < count; ++k) {
    Float16 lanes;
    std::memcpy(&lanes, w + k * half_rows, sizeof lanes);
    const Double16 weights = __builtin_convertvector(lanes, Double16);
    for (int c = 0; c < columns; ++c) {
      sum[c] += weights * static_cast<double>(x[c * x_stride + k]);
    }
  }
  for (int c = 0; c < columns; ++c) std::memcpy(acc + c * panel_rows, &sum[c], sizeof sum[c]);
}

__attribute__((always_inline)) inline void exact_panel_lanes(const PanelJob& job) {
  alignas(64) float weights[superblock_k * half_rows];
  alignas(64) double acc[kernel_columns_max * panel_rows];
  const int64_t cols = job.w->cols;
  std::memset(acc, 0, sizeof(double) * static_cast<size_t>(job.columns * panel_rows));
  for (int64_t g = 0; g * superblock_k < cols; ++g) {
    for (int h = 0; h < 2; ++h) {
      const int64_t half = job.panel * 2 + h;
      if (half >= half_count(*job.w)) break;
      const int count = decode_half_superblock(*job.w, half, g, weights);
      const float* x = job.x->x + job.first_column * cols + g * superblock_k;
      double* sums = acc + h * half_rows;
      int c = 0;
      for (; c + 2 <= job.columns; c += 2) {
        exact_tile<2>(weights, count, x + c * cols, cols, sums + c * panel_rows);
      }
      if (c < job.columns) {
        exact_tile<1>(weights, count, x + c * cols, cols, sums + c * panel_rows);
      }
    }
  }
  for (int i = 0; i < job.columns * panel_rows; ++i) job.acc[i] = static_cast<float>(acc[i]);
}

}  // namespace tensor
