// The encoders against the decoders, which are tested against ggml's golden blocks. What ggml's own
// quantisers lose on the same weights is compared by bench/peer/quantize.py.
#include "tensor/encode.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace tensor {
namespace {

constexpr Dtype block_types[] = {Dtype::q8_0, Dtype::q4_0, Dtype::q5_0, Dtype::q5_1, Dtype::iq4_nl,
                                 Dtype::q2_k, Dtype::q3_k, Dtype::q4_k, Dtype::q5_k, Dtype::q6_k};

std::vector<float> normal_weights(size_t count, float scale, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> weights(count);
  for (float& weight : weights) {  // twelve uniform numbers: nearly normal, the same everywhere
    float sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<float>(random() % 65536) / 65536.0f;
    weight = (sum - 6) * scale;
  }
  return weights;
}

std::vector<float> through(Dtype dtype, const std::vector<float>& weights) {
  std::vector<uint8_t> blocks(row_bytes(dtype, weights.size()));
  encode_row(dtype, weights.data(), static_cast<int64_t>(weights.size()), blocks.data());
  std::vector<float> back(weights.size());
  decode_row(dtype, blocks.data(), back.data(), static_cast<int64_t>(back.size()));
  return back;
}

double relative_error(const std::vector<float>& x, const std::vector<float>& y) {
  double off = 0, all = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    off += (x[i] - y[i]) * static_cast<double>(x[i] - y[i]);
    all += x[i] * static_cast<double>(x[i]);
  }
  return std::sqrt(off / all);
}

TEST(Encode, NormalWeightsLoseWhatTheTypeMust) {
  // Measured with ggml's quantisers on normal weights, to three digits; ours must not lose more.
  const std::pair<Dtype, double> most[] = {
      {Dtype::q8_0, 0.00527},  {Dtype::q4_0, 0.0846}, {Dtype::q5_0, 0.0420}, {Dtype::q5_1, 0.0375},
      {Dtype::iq4_nl, 0.0755}, {Dtype::q2_k, 0.293},  {Dtype::q3_k, 0.149},  {Dtype::q4_k, 0.0705},
      {Dtype::q5_k, 0.0356},   {Dtype::q6_k, 0.01755}};
  const auto weights = normal_weights(256 * 64, 0.02f, 7);
  for (const auto& [dtype, bound] : most) {
    EXPECT_LE(relative_error(weights, through(dtype, weights)), bound) << info(dtype).name;
  }
}

TEST(Encode, WhatTheTypeCanSayComesBackExactly) {
  // Decoded blocks are points that the type has: nearly all must be found again.
  const auto weights = normal_weights(256 * 16, 0.5f, 3);
  for (const Dtype dtype : {Dtype::q8_0, Dtype::q4_0, Dtype::q5_0}) {
    const auto once = through(dtype, weights);
    EXPECT_LT(relative_error(once, through(dtype, once)), 1e-3) << info(dtype).name;
  }
}

TEST(Encode, ZerosConstantsAndOutliers) {
  std::vector<std::vector<float>> cases;
  cases.emplace_back(256, 0.0f);
  cases.emplace_back(256, 0.75f);
  cases.emplace_back(256, -3.0f);
  cases.emplace_back(256, 1e-30f);
  cases.emplace_back(256, encodable_abs_max);
  cases.emplace_back(256, 0.01f);
  cases.back()[17] = -40.0f;
  for (const Dtype dtype : block_types) {
    for (const auto& weights : cases) {
      const auto back = through(dtype, weights);
      float largest = 0;
      for (const float weight : weights) largest = std::max(largest, std::fabs(weight));
      for (size_t i = 0; i < weights.size(); ++i) {
        ASSERT_TRUE(std::isfinite(back[i])) << info(dtype).name;
        ASSERT_LE(std::fabs(back[i] - weights[i]), largest * 0.3f + 1e-6f)
            << info(dtype).name << " " << weights[i] << " at " << i;
      }
    }
  }
}

TEST(Encode, PlainTypesRoundToNearest) {
  const std::vector<float> weights = {0.1f, -65504.0f, 1e-8f, 3.14159f};
  EXPECT_EQ(through(Dtype::f32, weights), weights);
  const auto half = through(Dtype::f16, weights);
  EXPECT_EQ(half[1], -65504.0f);
  EXPECT_NEAR(half[3], 3.14159f, 1e-3);
  EXPECT_FALSE(is_encodable(Dtype::iq2_xxs));
  EXPECT_TRUE(is_encodable(Dtype::bf16));
}

}  // namespace
}  // namespace tensor
