#include "tensor/conv.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "tensor/dense_test_util.h"
#include "tensor/norms.h"

namespace tensor {
namespace {

struct Picture {
  ConvShape shape;
  bool doubled, norm, add;
  Dtype dtype = Dtype::f32;
  std::vector<float> x, w, bias, scale, shift, rest;

  Picture(ConvShape s, bool twice, bool with_norm, bool with_add, Dtype type)
      : shape(s), doubled(twice), norm(with_norm), add(with_add), dtype(type) {
    const int half = doubled ? 2 : 1;
    x = noise(int64_t{s.height / half} * (s.width / half) * s.in, 1);
    w = noise(int64_t{s.out} * s.in * 9, 2, 1 / std::sqrt(9.0f * s.in));
    bias = noise(s.out, 3), scale = noise(s.in, 4), shift = noise(s.in, 5);
    rest = noise(int64_t{s.height} * s.width * s.out, 6);
    for (float& value : w) {
      if (dtype == Dtype::f16) value = f16_to_f32(f32_to_f16(value));
      if (dtype == Dtype::bf16) value = bf16_to_f32(f32_to_bf16(value));
    }
  }

  double pixel(int y, int x_at, int c) const {
    if (y < 0 || x_at < 0 || y >= shape.height || x_at >= shape.width) return 0;
    const int half = doubled ? 2 : 1;
    const double value = x[(int64_t{y / half} * (shape.width / half) + x_at / half) * shape.in + c];
    if (!norm) return value;
    const double scaled = value * scale[c] + shift[c];
    return scaled / (1 + std::exp(-scaled));
  }

  std::vector<double> reference() const {
    std::vector<double> out(rest.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const int o = int(i % shape.out), at = int(i / shape.out);
      double sum = bias[o] + (add ? rest[i] : 0);
      for (int tap = 0; tap < 9; ++tap) {
        const int y = at / shape.width + tap / 3 - 1, x_at = at % shape.width + tap % 3 - 1;
        for (int c = 0; c < shape.in; ++c) {
          sum += w[(int64_t{o} * shape.in + c) * 9 + tap] * pixel(y, x_at, c);
        }
      }
      out[i] = sum;
    }
    return out;
  }

  std::vector<float> run(Isa isa, int threads, int band_rows, int panels,
                         bool on_tiles = false) const {
    base::Pool pool(threads);
    TestMemory packed(conv_bytes(dtype, shape.in, shape.out));
    const ConvMatrix matrix{dtype, shape.in, shape.out, packed.bytes};
    pack_conv(matrix, packed.bytes, 0, matrix.panels(), w.data());
    ConvShape shape = this->shape;
    shape.tiles = on_tiles;
    const ConvSizes sizes = conv_sizes(shape, band_rows, threads);
    TestMemory weights(sizes.weights * 4), pixels(sizes.pixels * 4), tiles(sizes.tiles * 4),
        products(sizes.products * 4);
    const ConvMemory memory{weights.floats(), pixels.floats(), tiles.floats(), products.floats()};
    std::vector<float> y = rest;
    const ConvInput input{x.data(), norm ? scale.data() : nullptr, shift.data(), doubled};
    const ConvOutput output{y.data(), bias.data(), add ? y.data() : nullptr};
    conv_weights(shape, matrix, memory, isa, pool);
    for (int row = 0; row < shape.tile_rows(); row += band_rows) {
      const ConvBand band{row, std::min(band_rows, shape.tile_rows() - row)};
      conv_input(shape, input, band, memory, isa, pool);
      for (int panel = 0; panel < matrix.panels(); panel += panels) {
        conv_output(shape, output, band, panel, std::min(panels, matrix.panels() - panel), memory,
                    isa, pool);
      }
    }
    return y;
  }
};

const Picture pictures[] = {
    {{6, 6, 32, 32}, false, true, true, Dtype::f32},
    {{12, 12, 16, 48}, true, false, false, Dtype::bf16},
    {{9, 21, 10, 37}, false, false, true, Dtype::f16},   // nothing is a multiple of anything
    {{24, 52, 32, 3}, false, true, false, Dtype::f32},   // several blocks of tiles, few outputs
    {{8, 8, 288, 144}, false, true, true, Dtype::bf16},  // two steps of inputs, groups of panels
    {{1, 1, 16, 16}, false, false, false, Dtype::f32},
    {{32, 96, 16, 20}, false, true, true, Dtype::bf16},  // a thread has several blocks of a band
};

TEST(Conv, EqualsTheSumInDoublePrecision) {
  for (const Picture& picture : pictures) {
    const auto wanted = picture.reference();
    for (const Isa isa : test_isas()) {
      const auto got = picture.run(isa, 2, picture.shape.band_rows(), 1000);
      EXPECT_LT(worst_difference(got, wanted), 5e-5)  // ten times that of a plain sum
          << isa_name(isa) << " " << picture.shape.height << " x " << picture.shape.width << " x "
          << picture.shape.in << " -> " << picture.shape.out;
    }
  }
}

// Both halves of a number are 16 bits of it.
TEST(Conv, OnTilesEqualsTheSumToSixteenBits) {
  for (const Picture& picture : pictures) {
    const auto wanted = picture.reference();
    for (const Isa isa : tile_isas()) {
      for (const int threads : {1, 2}) {
        const auto got = picture.run(isa, threads, picture.shape.band_rows(), 1000, true);
        EXPECT_LT(worst_difference(got, wanted), 1e-3)
            << isa_name(isa) << " " << picture.shape.height << " x " << picture.shape.width << " x "
            << picture.shape.in << " -> " << picture.shape.out;
      }
    }
  }
}

TEST(Conv, DoesNotDependOnBandsRangesOrThreads) {
  for (const Picture& picture : pictures) {
    for (const Isa isa : test_isas()) {
      const auto whole = picture.run(isa, 1, picture.shape.tile_rows(), 1000);
      EXPECT_EQ(whole, picture.run(isa, 2, 1, 4)) << isa_name(isa);
      EXPECT_EQ(whole, picture.run(isa, 3, 2, 8)) << isa_name(isa);
    }
    for (const Isa isa : tile_isas()) {
      const auto whole = picture.run(isa, 1, picture.shape.tile_rows(), 1000, true);
      EXPECT_EQ(whole, picture.run(isa, 2, 1, 4, true)) << isa_name(isa);
      EXPECT_EQ(whole, picture.run(isa, 3, 2, 8, true)) << isa_name(isa);
    }
  }
}

TEST(Conv, BandsStayInTheOuterCacheAndHaveWorkAtAnySize) {
  EXPECT_EQ((ConvShape{384, 384, 128, 128}.band_rows()), 4);
  EXPECT_EQ((ConvShape{24, 24, 512, 512}.band_rows()), 6);
  EXPECT_EQ((ConvShape{4, 40000, 512, 512}.band_rows()), 1);
  EXPECT_EQ((ConvShape{24, 24, 512, 512}.operations(6, 32)), 36u * 36 * 512 * 512);
}

}  // namespace
}  // namespace tensor
