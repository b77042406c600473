#include "tensor/norms.h"

#include <gtest/gtest.h>

#include "tensor/dense_test_util.h"

namespace tensor {
namespace {

TEST(Norms, LayerNormIsTheFormulaAtEveryLength) {
  for (const Isa isa : test_isas()) {
    for (const int dim : {1, 5, 16, 36, 144, 1024}) {
      auto x = noise(dim, dim), weight = noise(dim, 1), bias = noise(dim, 2);
      for (float& value : x) value += 30;  // a mean that is large beside the deviation
      double sum = 0, squares = 0;
      for (const float value : x) sum += value;
      for (const float value : x) squares += (value - sum / dim) * (value - sum / dim);
      std::vector<double> wanted(dim);
      for (int i = 0; i < dim; ++i) {
        wanted[i] = (x[i] - sum / dim) / std::sqrt(squares / dim + 1e-6) * weight[i] + bias[i];
      }
      layer_norm(isa, x.data(), weight.data(), bias.data(), x.data(), dim, 1e-6f);
      EXPECT_LT(worst_difference(x, wanted), dim == 1 ? 1e-3 : 3e-5) << isa_name(isa) << dim;
    }
  }
}

TEST(Norms, GroupNormWithSwish) {
  constexpr int height = 5, width = 7, channels = 64, groups = 32;
  auto x = noise(height * width * channels, 1);
  for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] * (1 + i % channels) + 100;
  const auto weight = noise(channels, 2), bias = noise(channels, 3);
  std::vector<double> wanted(x.size());
  for (int group = 0; group < groups; ++group) {
    double sum = 0, squares = 0;
    const double count = height * width * channels / groups;
    const auto member = [&](size_t i) { return int(i % channels) / (channels / groups) == group; };
    for (size_t i = 0; i < x.size(); ++i) sum += member(i) ? x[i] : 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (member(i)) squares += (x[i] - sum / count) * (x[i] - sum / count);
    }
    for (size_t i = 0; i < x.size(); ++i) {
      if (!member(i)) continue;
      const double y =
          (x[i] - sum / count) / std::sqrt(squares / count + 1e-6) * weight[i % channels] +
          bias[i % channels];
      wanted[i] = y / (1 + std::exp(-y));
    }
  }
  base::Pool pool(2);
  for (const Isa isa : test_isas()) {
    std::vector<double> sums(height * 2 * channels);
    picture_sums(x.data(), {0, 3}, width, channels, sums.data(), isa, pool);
    picture_sums(x.data(), {3, 2}, width, channels, sums.data(), isa, pool);
    std::vector<float> scale(channels), shift(channels), out(x.size());
    group_norm({weight.data(), bias.data(), groups, 1e-6}, sums.data(), height, width, channels,
               scale.data(), shift.data());
    scale_channels(x.data(), scale.data(), shift.data(), height * width, channels, true, out.data(),
                   isa);
    EXPECT_LT(worst_difference(out, wanted), 5e-5) << isa_name(isa);
  }
}

TEST(Norms, SwishIsRightFarFromZeroToo) {
  for (const Isa isa : test_isas()) {
    std::vector<float> x(16), scale(16, 1), shift(16, 0), out(16);
    for (int i = 0; i < 16; ++i) x[i] = (i - 8) * 25.0f;
    scale_channels(x.data(), scale.data(), shift.data(), 1, 16, true, out.data(), isa);
    for (int i = 0; i < 16; ++i) {
      EXPECT_NEAR(out[i], x[i] / (1 + std::exp(-double(x[i]))), 1e-5) << isa_name(isa) << x[i];
    }
  }
}

}  // namespace
}  // namespace tensor
