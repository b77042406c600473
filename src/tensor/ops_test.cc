#include "tensor/ops.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace tensor {
namespace {

std::vector<float> noise(int n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& value : x) value = normal(random);
  return x;
}

std::vector<Isa> isas() {
  std::vector<Isa> all{Isa::scalar};
  if (__builtin_cpu_supports("avx2")) all.push_back(Isa::avx2);
  if (__builtin_cpu_supports("avx512bw")) all.push_back(Isa::avx512_vnni);
  return all;
}

TEST(Ops, RmsNormIsTheFormulaAtEveryLength) {
  for (const Isa isa : isas()) {
    for (const int dim : {1, 7, 8, 12, 16, 31, 64, 72, 576, 1536}) {
      const auto x = noise(dim, dim), weight = noise(dim, dim + 1);
      double squares = 0;
      for (const float v : x) squares += static_cast<double>(v) * v;
      const double scale = 1 / std::sqrt(squares / dim + 1e-5);
      std::vector<float> out(dim);
      rms_norm(isa, x.data(), weight.data(), out.data(), dim, 1e-5f);
      for (int i = 0; i < dim; ++i) {
        EXPECT_NEAR(out[i], x[i] * scale * weight[i], 2e-6 * std::abs(weight[i] * x[i]) + 1e-7);
      }
    }
  }
}

TEST(Ops, RopeTurnsPairsInBothLayouts) {
  for (const Isa isa : isas()) {
    for (const int dims : {2, 12, 16, 24, 64, 128}) {
      const int half = dims / 2;
      std::vector<float> cosine(half), sine(half);
      for (int i = 0; i < half; ++i) {
        cosine[i] = std::cos(0.3f * i + 1), sine[i] = std::sin(0.3f * i + 1);
      }
      const auto x = noise(dims, dims);
      auto split = x, adjacent = x;
      rope_half_split(isa, split.data(), cosine.data(), sine.data(), dims);
      rope_adjacent(isa, adjacent.data(), cosine.data(), sine.data(), dims);
      for (int i = 0; i < half; ++i) {
        EXPECT_NEAR(split[i], x[i] * cosine[i] - x[i + half] * sine[i], 1e-6);
        EXPECT_NEAR(split[i + half], x[i] * sine[i] + x[i + half] * cosine[i], 1e-6);
        EXPECT_NEAR(adjacent[2 * i], x[2 * i] * cosine[i] - x[2 * i + 1] * sine[i], 1e-6);
        EXPECT_NEAR(adjacent[2 * i + 1], x[2 * i] * sine[i] + x[2 * i + 1] * cosine[i], 1e-6);
      }
    }
  }
}

TEST(Ops, ExpIsWithinTwoUnitsAndEndsGently) {
  for (double x = 0; x > -86.9; x -= 0.00137) {
    const double exact = std::exp(static_cast<double>(static_cast<float>(x)));
    EXPECT_NEAR(exp_nonpositive(static_cast<float>(x)), exact, exact * 2.5e-7) << x;
  }
  EXPECT_EQ(exp_nonpositive(0), 1.0f);
  EXPECT_LT(exp_nonpositive(-1000), 2e-38f);
  EXPECT_LT(exp_nonpositive(-__builtin_inff()), 2e-38f);
  EXPECT_GE(exp_nonpositive(-__builtin_inff()), 0.0f);
}

}  // namespace
}  // namespace tensor
