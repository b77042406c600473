#include "tensor/residual.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "tensor/ops.h"
#include "tensor/packed.h"
#include "tensor/workspace.h"

namespace tensor {
namespace {

// A second rounding of what the first left over leaves less than a hundredth of it.
TEST(Residual, IsWhatRoundingTookAway) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  base::Pool pool(2);
  for (const int k : {64, 576, 1536}) {
    for (const Dtype dtype : {Dtype::q4_1, Dtype::q8_0, Dtype::q4_k, Dtype::q6_k}) {
      const int n = 5;
      if (k % info(dtype).block_elements != 0) continue;
      std::vector<float> x(n * k), first(n * k), second(n * k);
      for (float& value : x) value = normal(random);
      PackedMatrix w;
      w.dtype = dtype;
      w.rows = 32;
      w.cols = k;
      const PackedMatrix* const matrices[] = {&w};
      auto workspace = Workspace::create(2 * quant_rows_bytes(n, k));
      ASSERT_TRUE(workspace.has_value());
      const auto rounded =
          quantize_rows(x.data(), n, k, matrices, Precision::int8, Isa::scalar, *workspace, pool);
      rounding_residual(rounded, dtype, first.data(), pool);
      const auto again = quantize_rows(first.data(), n, k, matrices, Precision::int8, Isa::scalar,
                                       *workspace, pool);
      rounding_residual(again, dtype, second.data(), pool);
      double squares[3] = {};
      for (int i = 0; i < n * k; ++i) {
        squares[0] += std::pow(x[i], 2), squares[1] += std::pow(first[i], 2);
        squares[2] += std::pow(second[i], 2);
      }
      EXPECT_LT(squares[1], squares[0] * 1e-4);
      EXPECT_GT(squares[1], squares[0] * 1e-6);
      EXPECT_LT(squares[2], squares[1] * 1e-3);
    }
  }
}

}  // namespace
}  // namespace tensor
