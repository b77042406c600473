// The loops of dense_body.inc and conv_body.inc at the width and with the tiles of AVX-512, in
// plain C++, on any machine.
#define PLAIN_WIDTH 16
#include <cstring>

#include "tensor/dense_kernels.h"
#include "tensor/dense_test_util.h"
#include "tensor/lanes_plain.h"
#include "tensor/ops.h"

namespace tensor {
namespace {

constexpr int tile_rows = 12;
#include "tensor/dense_body.inc"
// Apart from the above only to be short.
#include "tensor/conv_body.inc"

TEST(DenseWide, ProductsEqualThoseOfFourLanesBitForBit) {
  const DenseKernels& narrow = dense_kernels_scalar();
  const auto a = noise(31 * 300, 1), panel = noise(200 * 16, 2);
  for (const int rows : {1, 5, 11, 12, 13, 31}) {
    auto wanted = noise(31 * 16, 3);
    auto got = wanted;
    narrow.product(a.data(), 300, rows, panel.data(), 200, wanted.data(), 16, true);
    product(a.data(), 300, rows, panel.data(), 200, got.data(), 16, true);
    EXPECT_EQ(got, wanted) << rows;
  }
  std::vector<int16_t> words(31 * dense_step), codes(16 * dense_step);
  std::vector<float> scales(31), panel_scales = noise(16, 4);
  const auto x = noise(31 * dense_step, 5);
  for (int r = 0; r < 31; ++r) {
    round_step(&x[r * dense_step], dense_step, row_limit, &words[r * dense_step], &scales[r]);
  }
  float unused;
  for (int lane = 0; lane < 16; ++lane) {
    narrow.round_step(&x[lane * dense_step], 250, panel_limit, &codes[lane * dense_step], &unused);
  }
  for (const int rows : {2, 12, 31}) {
    auto wanted = noise(31 * 16, 6);
    auto got = wanted;
    narrow.word_product(
        {words.data(), scales.data(), rows, codes.data(), panel_scales.data(), wanted.data()});
    word_product(
        {words.data(), scales.data(), rows, codes.data(), panel_scales.data(), got.data()});
    EXPECT_EQ(got, wanted) << rows;
  }
}

TEST(DenseWide, RowsAndChannelsEqualThoseOfFourLanes) {
  const DenseKernels& narrow = dense_kernels_scalar();
  const auto near = [](const std::vector<float>& a, const std::vector<float>& b) {
    return worst_difference(a, std::vector<double>(b.begin(), b.end())) < 2e-6;
  };
  const auto x = noise(7 * 48, 1), scale = noise(48, 2), shift = noise(48, 3);
  std::vector<float> wanted(7 * 48), got(7 * 48);
  narrow.affine(x.data(), scale.data(), shift.data(), 7, 48, true, wanted.data());
  affine(x.data(), scale.data(), shift.data(), 7, 48, true, got.data());
  EXPECT_EQ(got, wanted);
  narrow.layer_norm(x.data(), scale.data(), shift.data(), wanted.data(), 36, 1e-6f);
  layer_norm(x.data(), scale.data(), shift.data(), got.data(), 36, 1e-6f);
  EXPECT_TRUE(near(got, wanted));
  std::vector<double> sums(96), wide_sums(96);
  narrow.channel_sums(x.data(), 7, 48, sums.data());
  channel_sums(x.data(), 7, 48, wide_sums.data());
  EXPECT_EQ(sums, wide_sums);
  auto scores = noise(45, 4), wide_scores = scores;
  EXPECT_NEAR(narrow.softmax(scores.data(), 45, 0.3f), softmax(wide_scores.data(), 45, 0.3f), 1e-5);
  EXPECT_TRUE(near(wide_scores, scores));
  const auto bias = noise(16, 5);
  narrow.finish({x.data(), 3, bias.data(), x.data() + 48, true, wanted.data(), 16});
  finish({x.data(), 3, bias.data(), x.data() + 48, true, got.data(), 16});
  EXPECT_EQ(got, wanted);
  widen(Dtype::f32, reinterpret_cast<const uint8_t*>(x.data()), got.data(), 32);
  EXPECT_EQ(0, std::memcmp(got.data(), x.data(), 32 * sizeof(float)));
}

TEST(DenseWide, TransformsEqualThoseOfFourLanesBitForBit) {
  const DenseKernels& narrow = dense_kernels_scalar();
  const auto pixels = noise(6 * 8 * 32, 1);
  std::vector<float> wanted(36 * 40), got(36 * 40);
  narrow.conv_input(pixels.data(), 8 * 32, 32, wanted.data(), 40);
  conv_input(pixels.data(), 8 * 32, 32, got.data(), 40);
  EXPECT_EQ(got, wanted);
  const auto weights = noise(9 * 5 * 16, 2);
  std::vector<float> u(36 * 80), wide_u(36 * 80);
  const auto* bytes = reinterpret_cast<const uint8_t*>(weights.data());
  narrow.conv_weights(Dtype::f32, bytes, 5, u.data(), 80);
  conv_weights(Dtype::f32, bytes, 5, wide_u.data(), 80);
  EXPECT_EQ(u, wide_u);
  const auto bias = noise(16, 3);
  std::vector<float> y(4 * 100), wide_y(4 * 100);
  narrow.conv_output(u.data(), 80, {bias.data(), pixels.data(), y.data(), 100, 20});
  conv_output(u.data(), 80, {bias.data(), pixels.data(), wide_y.data(), 100, 20});
  EXPECT_EQ(y, wide_y);
}

}  // namespace
}  // namespace tensor
