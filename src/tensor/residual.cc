#include "tensor/residual.h"

#include <algorithm>

namespace tensor {
namespace {

void block_residual(const float* x, const int8_t* q, float scale, int count, float* residual) {
  for (int i = 0; i < count; ++i) residual[i] = x[i] - scale * static_cast<float>(q[i]);
}

}  // namespace

bool rounds_activations(Dtype dtype) {
  const QuantNeeds needs = needs_of(dtype);
  return needs.group32 || needs.group256;
}

void rounding_residual(const QuantRows& rows, Dtype dtype, float* residual, base::Pool& pool) {
  constexpr int rows_grain = 4;
  const bool by_32 = needs_of(dtype).group32;
  pool.run(rows.n, rows_grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t c = begin; c < end; ++c) {
      for (int k = 0; k < rows.k; k += block_k) {
        const int64_t at = int64_t{k / superblock_k} * rows.n + c;
        const int in_superblock = k % superblock_k;
        const int8_t* q = (by_32 ? rows.group32.q : rows.group256.q) + at * superblock_k;
        const float scale =
            by_32 ? rows.group32.scale[at * 8 + in_superblock / block_k] : rows.group256.scale[at];
        const int64_t first = c * rows.k + k;
        block_residual(rows.x + first, q + in_superblock, scale, std::min(block_k, rows.k - k),
                       residual + first);
      }
    }
  });
}

}  // namespace tensor
