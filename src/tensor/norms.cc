#include "tensor/norms.h"

#include <algorithm>
#include <cmath>

#include "tensor/dense_kernels.h"

namespace tensor {

void layer_norm(Isa isa, const float* x, const float* weight, const float* bias, float* out,
                int dim, float eps) {
  dense_kernels(isa).layer_norm(x, weight, bias, out, dim, eps);
}

void picture_sums(const float* x, PictureRows rows, int width, int channels, double* sums, Isa isa,
                  base::Pool& pool) {
  const DenseKernels& kernels = dense_kernels(isa);
  pool.run(rows.count, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = rows.first + begin; y < rows.first + end; ++y) {
      double* row = sums + y * 2 * channels;
      std::fill_n(row, 2 * channels, 0.0);
      kernels.channel_sums(x + y * width * channels, width, channels, row);
    }
  });
}

void group_norm(const GroupNorm& norm, const double* sums, int height, int width, int channels,
                float* scale, float* shift) {
  const int members = channels / norm.groups;
  const double count = double(height) * width * members;
  for (int group = 0; group < norm.groups; ++group) {
    double sum = 0, squares = 0;
    for (int y = 0; y < height; ++y) {
      for (int c = group * members; c < (group + 1) * members; ++c) {
        sum += sums[int64_t{y} * 2 * channels + c];
        squares += sums[int64_t{y} * 2 * channels + channels + c];
      }
    }
    const double mean = sum / count;
    const double variance = std::max(0.0, squares / count - mean * mean);
    const double factor = 1 / std::sqrt(variance + norm.eps);
    for (int c = group * members; c < (group + 1) * members; ++c) {
      scale[c] = static_cast<float>(norm.weight[c] * factor);
      shift[c] = static_cast<float>(norm.bias[c] - mean * norm.weight[c] * factor);
    }
  }
}

void scale_channels(const float* x, const float* scale, const float* shift, int64_t positions,
                    int channels, bool swish, float* out, Isa isa) {
  dense_kernels(isa).affine(x, scale, shift, positions, channels, swish, out);
}

}  // namespace tensor
