#include "tensor/full_attention.h"

#include <gtest/gtest.h>

#include "tensor/dense_test_util.h"

namespace tensor {
namespace {

struct Case {
  int heads, dim, tokens;
  std::vector<float> qkv;

  Case(int h, int d, int t) : heads(h), dim(d), tokens(t), qkv(noise(int64_t{t} * 3 * h * d, 7)) {}
  int64_t width() const { return int64_t{heads} * dim; }
  double at(int part, int token, int head, int d) const {
    return qkv[(int64_t{token} * 3 + part) * width() + head * dim + d];
  }

  std::vector<double> reference(double scale) const {
    std::vector<double> out(tokens * width());
    for (int head = 0; head < heads; ++head) {
      for (int i = 0; i < tokens; ++i) {
        std::vector<double> weight(tokens);
        double sum = 0;
        for (int j = 0; j < tokens; ++j) {
          double score = 0;
          for (int d = 0; d < dim; ++d) score += at(0, i, head, d) * at(1, j, head, d);
          sum += weight[j] = std::exp(score * scale);
        }
        for (int d = 0; d < dim; ++d) {
          double value = 0;
          for (int j = 0; j < tokens; ++j) value += weight[j] * at(2, j, head, d);
          out[i * width() + head * dim + d] = value / sum;
        }
      }
    }
    return out;
  }

  std::vector<float> run(float scale, Isa isa, int threads, int pieces) const {
    FullAttention x{heads, dim, tokens, scale};
    std::vector<float> out(tokens * width());
    x.q = qkv.data(), x.k = x.q + width(), x.v = x.k + width(), x.stride = 3 * width();
    x.out = out.data(), x.out_stride = width();
    run(x, isa, threads, pieces);
    return out;
  }

  std::vector<float> run_on_tiles(float scale, Isa isa, int threads, int pieces) const {
    const auto bytes = [&](int64_t cols) {
      return DenseRows::bytes(DenseForm::tiles, tokens, cols);
    };
    TestMemory of_qkv(bytes(3 * width())), of_out(bytes(width()));
    const auto rows = [&](int64_t cols, TestMemory& memory) {
      return DenseRows(DenseForm::tiles, tokens, cols, memory.bytes, dense_kernels(isa));
    };
    const DenseRows qkv_rows = rows(3 * width(), of_qkv), out_rows = rows(width(), of_out);
    for (int token = 0; token < tokens; ++token) {
      qkv_rows.set(token, qkv.data() + int64_t{token} * 3 * width());
    }
    FullAttention x{heads, dim, tokens, scale};
    x.tiles = true, x.qkv_rows = &qkv_rows, x.out_rows = &out_rows;
    run(x, isa, threads, pieces);
    std::vector<float> out;
    for (int token = 0; token < tokens; ++token) {
      for (int64_t i = 0; i < width(); ++i) {
        const int64_t at = i / tile_depth * tile_numbers + i % tile_depth;
        out.push_back(bf16_to_f32(out_rows.tiles(token)[at]));
      }
    }
    return out;
  }

 private:
  static void run(const FullAttention& x, Isa isa, int threads, int pieces) {
    base::Pool pool(threads);
    TestMemory memory(full_attention_bytes(x, threads));
    full_attention_pack(x, memory.bytes, isa, pool);
    for (int first = 0; first < x.pieces(); first += pieces) {
      full_attention(x, memory.bytes, first, std::min(pieces, x.pieces() - first), isa, pool);
    }
  }
};

TEST(FullAttention, EqualsTheFormulaInDoublePrecision) {
  const Case cases[] = {{3, 12, 36}, {1, 32, 50}, {2, 64, 97}, {1, 272, 300}};
  for (const Case& c : cases) {
    const float scale = 1 / std::sqrt(float(c.dim));
    const auto wanted = c.reference(scale);
    for (const Isa isa : test_isas()) {
      EXPECT_LT(worst_difference(c.run(scale, isa, 2, 1000), wanted), 3e-6)
          << isa_name(isa) << " " << c.heads << " x " << c.dim << ", " << c.tokens;
    }
  }
}

// Three factors are rounded to 8 bits, a share of a softmax, and the result.
TEST(FullAttention, OnTilesStaysAsNearAsBfloat16Is) {
  for (const Case& c : {Case(3, 32, 36), Case(1, 32, 50), Case(2, 64, 97), Case(1, 288, 300)}) {
    const float scale = 1 / std::sqrt(float(c.dim));
    const auto wanted = c.reference(scale);
    for (const Isa isa : tile_isas()) {
      const double worst = worst_difference(c.run_on_tiles(scale, isa, 2, 1000), wanted);
      EXPECT_LT(worst, 1e-2) << isa_name(isa) << " " << c.heads << " x " << c.dim;
      EXPECT_GT(worst, 1e-5) << "in f32 after all";
    }
  }
}

TEST(FullAttention, DoesNotDependOnThreadsOrPieces) {
  const Case c(3, 20, 130);
  for (const Isa isa : test_isas()) {
    EXPECT_EQ(c.run(0.2f, isa, 1, 1000), c.run(0.2f, isa, 2, 2)) << isa_name(isa);
  }
  const Case whole_tiles(3, 32, 130);
  for (const Isa isa : tile_isas()) {
    EXPECT_EQ(whole_tiles.run_on_tiles(0.2f, isa, 1, 1000),
              whole_tiles.run_on_tiles(0.2f, isa, 2, 2))
        << isa_name(isa);
  }
}

}  // namespace
}  // namespace tensor
