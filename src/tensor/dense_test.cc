#include "tensor/dense.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

#include "tensor/dense_test_util.h"

namespace tensor {
namespace {

struct Product {
  int n;
  int64_t rows, cols;  // of W
  std::vector<float> w, x, bias, add;

  Product(int count, int64_t outputs, int64_t inputs)
      : n(count),
        rows(outputs),
        cols(inputs),
        w(noise(rows * cols, 1, 1 / std::sqrt(float(cols)))),
        x(noise(n * cols, 2)),
        bias(noise(rows, 3)),
        add(noise(n * rows, 4)) {}

  // What a file of this form would hold, and the rows that it meets.
  void round_to(DenseForm form) {
    for (float& value : w) {
      if (form == DenseForm::f16) value = f16_to_f32(f32_to_f16(value));
      if (form == DenseForm::bf16 || form == DenseForm::tiles) value = to_bf16(value);
    }
    for (float& value : x) {
      if (form == DenseForm::tiles) value = to_bf16(value);
    }
  }
  static float to_bf16(float value) { return bf16_to_f32(f32_to_bf16(value)); }
  std::vector<double> reference(bool gelu) const {
    std::vector<double> y(n * rows);
    for (int r = 0; r < n; ++r) {
      for (int64_t o = 0; o < rows; ++o) {
        double sum = bias[o];
        for (int64_t i = 0; i < cols; ++i) sum += double(w[o * cols + i]) * x[r * cols + i];
        sum += add[r * rows + o];
        y[r * rows + o] = gelu ? sum / 2 * (1 + std::erf(sum / std::sqrt(2.0))) : sum;
      }
    }
    return y;
  }
  std::vector<float> run(DenseForm form, Isa isa, int threads, bool gelu, int panels_at_a_time,
                         int rows_used = -1) const {
    base::Pool pool(threads);
    TestMemory memory(dense_bytes(form, rows, cols));
    DenseMatrix matrix{form, rows, cols, memory.bytes};
    pack_dense(matrix, memory.bytes, 0, rows, w.data());
    const int used = rows_used < 0 ? n : rows_used;
    TestMemory row_memory(DenseRows::bytes(form, used, cols));
    const DenseRows in(form, used, cols, row_memory.bytes, dense_kernels(isa));
    for (int r = 0; r < used; ++r) in.set(r, x.data() + r * cols);
    std::vector<float> y(add.begin(), add.begin() + used * rows);
    for (int panel = 0; panel < matrix.panels(); panel += panels_at_a_time) {
      const int count = std::min(panels_at_a_time, matrix.panels() - panel);
      dense(matrix, in, {panel, count}, {y.data(), rows, bias.data(), y.data(), gelu}, isa, pool);
    }
    return y;
  }
};

std::vector<DenseForm> forms_of(Isa isa) {
  std::vector<DenseForm> forms{DenseForm::f32, DenseForm::f16, DenseForm::bf16, DenseForm::words};
  if (dense_kernels(isa).tiles) forms.push_back(DenseForm::tiles);
  return forms;
}

TEST(Dense, EqualsTheSumInDoublePrecision) {
  const struct {
    int n;
    int64_t rows, cols;
  } shapes[] = {{1, 16, 8}, {5, 52, 36}, {36, 144, 36}, {97, 83, 257}, {13, 64, 600}};
  for (const Isa isa : test_isas()) {
    for (const DenseForm form : forms_of(isa)) {
      for (const auto& shape : shapes) {
        Product product(shape.n, shape.rows, shape.cols);
        product.round_to(form);
        const double bound = form == DenseForm::words ? 4e-3 : 5e-6;
        for (const bool gelu : {false, true}) {
          EXPECT_LT(
              worst_difference(product.run(form, isa, 2, gelu, 1000), product.reference(gelu)),
              bound)
              << isa_name(isa) << " form " << int(form) << " " << shape.rows << " x " << shape.cols;
        }
      }
    }
  }
}

TEST(Dense, RowsDoNotDependOnTheirNumberOnThreadsOrOnRangesOfPanels) {
  for (const Isa isa : test_isas()) {
    for (const DenseForm form : forms_of(isa)) {
      Product product(103, 150, 530);
      product.round_to(form);
      const auto whole = product.run(form, isa, 1, true, 1000);
      EXPECT_EQ(whole, product.run(form, isa, 2, true, 3));
      const auto few = product.run(form, isa, 2, true, 1000, 7);
      EXPECT_EQ(few, std::vector<float>(whole.begin(), whole.begin() + 7 * 150));
    }
  }
}

TEST(Dense, WordsAreTheSameBitsOnEveryMachine) {
  // Blocks of rows and panels that are whole, cut and single, for every machine's sizes of them.
  for (const int rows : {1, 15, 16, 17, 25, 33, 96, 300}) {
    const Product product(rows, rows < 96 ? 83 : 48, 700);
    const auto wanted = product.run(DenseForm::words, Isa::scalar, 1, false, 1000);
    for (const Isa isa : test_isas()) {
      EXPECT_EQ(wanted, product.run(DenseForm::words, isa, 2, false, 1000))
          << isa_name(isa) << " rows " << rows;
    }
  }
}

// More than one block of rows and one step of them, and what is left of both.
TEST(Dense, TilesEqualTheSumOfRoundedNumbersInEveryBlock) {
  for (const Isa isa : tile_isas()) {
    for (const int rows : {1, 16, 17, 33, 300}) {
      Product product(rows, rows < 300 ? 83 : 48, rows < 300 ? 4100 : 700);
      product.round_to(DenseForm::tiles);
      EXPECT_LT(worst_difference(product.run(DenseForm::tiles, isa, 2, false, 1000),
                                 product.reference(false)),
                1e-5)
          << isa_name(isa) << " rows " << rows;
    }
  }
}

// The second product reads the very rows that set() would have made of the first one's results,
// also where outputs fill neither a panel nor a tile, and whatever the memory held before.
TEST(Dense, ResultsBecomeTheRowsOfTheNextProduct) {
  for (const Isa isa : tile_isas()) {
    const Product first(50, 67, 200), second(50, 40, 67);
    const DenseKernels& kernels = dense_kernels(isa);
    base::Pool pool(2);
    const auto packed = [](const Product& p) {
      TestMemory memory(dense_bytes(DenseForm::tiles, p.rows, p.cols));
      pack_dense({DenseForm::tiles, p.rows, p.cols}, memory.bytes, 0, p.rows, p.w.data());
      return memory;
    };
    const TestMemory first_memory = packed(first), second_memory = packed(second);
    const DenseMatrix w1{DenseForm::tiles, first.rows, first.cols, first_memory.bytes};
    const DenseMatrix w2{DenseForm::tiles, second.rows, second.cols, second_memory.bytes};
    const uint64_t bytes = DenseRows::bytes(DenseForm::tiles, 50, 67);
    TestMemory in_memory(DenseRows::bytes(DenseForm::tiles, 50, 200));
    TestMemory made(bytes), wanted(bytes);
    std::memset(made.bytes, 0xff, bytes);  // no numbers
    const DenseRows in(DenseForm::tiles, 50, 200, in_memory.bytes, kernels);
    const DenseRows made_rows(DenseForm::tiles, 50, 67, made.bytes, kernels);
    const DenseRows wanted_rows(DenseForm::tiles, 50, 67, wanted.bytes, kernels);
    for (int r = 0; r < 50; ++r) in.set(r, &first.x[r * 200]);
    std::vector<float> between(50 * 67), y(50 * 40), expected(50 * 40);
    dense(w1, in, {0, w1.panels()}, {between.data(), 67, first.bias.data()}, isa, pool);
    for (int r = 0; r < 50; ++r) wanted_rows.set(r, &between[r * 67]);
    DenseOut out{nullptr, 0, first.bias.data()};
    out.rows = &made_rows;
    dense(w1, in, {0, w1.panels()}, out, isa, pool);
    dense(w2, wanted_rows, {0, w2.panels()}, {expected.data(), 40}, isa, pool);
    dense(w2, made_rows, {0, w2.panels()}, {y.data(), 40}, isa, pool);
    EXPECT_EQ(y, expected) << isa_name(isa);
  }
}

TEST(Dense, WordsAreNearerThanBfloat16AndSurviveWhatIsNoNumber) {
  const Product product(20, 64, 1024);
  const auto exact = product.reference(false);
  Product rounded = product;
  rounded.round_to(DenseForm::bf16);
  for (float& value : rounded.x) value = Product::to_bf16(value);
  const double words =
      worst_difference(product.run(DenseForm::words, Isa::scalar, 1, false, 1000), exact);
  const auto brain = rounded.run(DenseForm::bf16, Isa::scalar, 1, false, 1000);
  EXPECT_LT(words, worst_difference(brain, exact) / 3);

  for (const Isa isa : test_isas()) {
    Product odd(3, 16, 300);
    odd.x[5] = NAN, odd.x[300] = INFINITY, odd.w[7] = NAN, odd.w[310] = -INFINITY;
    for (int i = 600; i < 900; ++i) odd.x[i] = 0;
    const auto y = odd.run(DenseForm::words, isa, 1, false, 1000);
    EXPECT_EQ(y.size(), 48u);
    EXPECT_FLOAT_EQ(y[2 * 16 + 15], odd.bias[15] + odd.add[2 * 16 + 15]);
  }
}

TEST(Dense, WorstCaseOfAStepDoesNotOverflow) {
  for (const Isa isa : test_isas()) {
    Product product(2, 16, 512);
    std::fill(product.w.begin(), product.w.end(), 3.0f);
    std::fill(product.x.begin(), product.x.end(), -7.0f);
    const auto y = product.run(DenseForm::words, isa, 1, false, 1000);
    EXPECT_NEAR(y[0], -21.0 * 512 + product.bias[0] + product.add[0], 0.01) << isa_name(isa);
  }
}

TEST(Dense, GeluIsThatOfTheErrorFunctionEverywhere) {
  for (const Isa isa : test_isas()) {
    Product product(1, 4096, 1);
    for (int i = 0; i < 4096; ++i) {
      product.w[i] = 0.004f * (i - 2048), product.bias[i] = product.add[i] = 0;
    }
    product.x[0] = 1;
    const auto y = product.run(DenseForm::f32, isa, 1, true, 1000);
    EXPECT_LT(worst_difference(y, product.reference(true)), 1e-6) << isa_name(isa);
  }
}

}  // namespace
}  // namespace tensor
