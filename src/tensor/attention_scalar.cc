// The inner loops in plain C++: what the vector forms must equal up to float order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/attention_kernels.h"
#include "tensor/ops.h"

namespace tensor {
namespace {

constexpr float f16_largest = 65504.0f;

float element(Dtype dtype, const uint8_t* block, int64_t index) {
  if (dtype == Dtype::f32) return reinterpret_cast<const float*>(block)[index];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(block)[index];
  return dtype == Dtype::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

void widen_panel(Dtype dtype, const uint8_t* block, int64_t first, int count, float* panel) {
  for (int i = 0; i < count; ++i) panel[i] = element(dtype, block, first + i);
}

void scores(Dtype dtype, const uint8_t* k_block, const float* q, int rows, int head_dim, int keys,
            float* panel, float* scores) {
  for (int p = 0; p * panel_width < keys; ++p) {
    widen_panel(dtype, k_block, int64_t{p} * head_dim * panel_width, head_dim * panel_width, panel);
    for (int r = 0; r < rows; ++r) {
      const float* row = q + (r / group_rows) * head_dim * group_rows + r % group_rows;
      for (int key = 0; key < panel_width; ++key) {
        float sum = 0;
        for (int d = 0; d < head_dim; ++d) sum += row[d * group_rows] * panel[d * 16 + key];
        scores[r * block_keys + p * panel_width + key] = sum;
      }
    }
  }
}

void softmax(float* scores, const int* visible, int rows, float* maximum, float* sum, float* o,
             int dim_padded) {
  for (int r = 0; r < rows; ++r) {
    float* row = scores + r * block_keys;
    std::fill(row + visible[r], row + block_keys, 0.0f);
    if (visible[r] == 0) continue;
    const float top = std::max(maximum[r], *std::max_element(row, row + visible[r]));
    const float shrink = exp_nonpositive(maximum[r] - top);
    float total = 0;
    for (int key = 0; key < visible[r]; ++key) total += row[key] = exp_nonpositive(row[key] - top);
    maximum[r] = top;
    sum[r] = sum[r] * shrink + total;
    for (int d = 0; d < dim_padded; ++d) o[r * dim_padded + d] *= shrink;
  }
}

void values(Dtype dtype, const uint8_t* v_block, const float* weights, int rows, int dim_padded,
            int keys, float* panel, float* o) {
  for (int p = 0; p * panel_width < dim_padded; ++p) {
    widen_panel(dtype, v_block, int64_t{p} * block_keys * panel_width, keys * panel_width, panel);
    for (int r = 0; r < rows; ++r) {
      float* out = o + r * dim_padded + p * panel_width;
      for (int key = 0; key < keys; ++key) {
        const float weight = weights[r * block_keys + key];
        for (int d = 0; d < panel_width; ++d) out[d] += weight * panel[key * panel_width + d];
      }
    }
  }
}

void shared_values(Dtype dtype, const uint8_t* k_block, const float* weights, int rows,
                   int head_dim, int dim_padded, int keys, float*, float* o) {
  for (int d = 0; d < std::min(dim_padded, head_dim); ++d) {
    for (int r = 0; r < rows; ++r) {
      float& out = o[r * dim_padded + d];
      for (int key = 0; key < keys; ++key) {
        const int64_t at = (int64_t{key / panel_width} * head_dim + d) * panel_width;
        out += weights[r * block_keys + key] * element(dtype, k_block, at + key % panel_width);
      }
    }
  }
}

void narrow(Dtype dtype, const float* from, uint16_t* to, int n) {
  for (int i = 0; i < n; ++i) {
    to[i] = dtype == Dtype::f16 ? f32_to_f16(std::clamp(from[i], -f16_largest, f16_largest))
                                : f32_to_bf16(from[i]);
  }
}

}  // namespace

const AttentionKernels& attention_kernels_scalar() {
  static constexpr AttentionKernels table{scores, softmax, values, shared_values, narrow};
  return table;
}

}  // namespace tensor
