#include "tensor/linear.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

#include "base/sanitized.h"
#include "tensor/activations.h"
#include "tensor/linear_test_util.h"
#include "tensor/workspace.h"

namespace tensor {
namespace {

std::vector<Isa> isas_here() {
  std::vector<Isa> isas{Isa::scalar};
  for (const char* name : {"avx2", "avx512", "amx"}) {
    if (const auto isa = choose_isa(name)) isas.push_back(*isa);
  }
  return isas;
}

std::vector<float> run_linear(const PackedMatrix& w, const std::vector<float>& x, int n, Isa isa,
                              int threads = 1, Precision precision = Precision::int8) {
  base::Pool pool(threads);
  const int k = static_cast<int>(w.cols);
  Workspace workspace = std::move(*Workspace::create(quant_rows_bytes(n, k)));
  const PackedMatrix* matrices[] = {&w};
  const QuantRows rows = quantize_rows(x.data(), n, k, matrices, precision, isa, workspace, pool);
  std::vector<float> y(static_cast<size_t>(n * w.rows), NAN);
  linear(w, rows, {y.data(), w.rows}, isa, pool);
  return y;
}

// sum of |w x| bounds what rounding in the sum can do.
struct Reference {
  double value = 0;
  double magnitude = 0;
};

// What int8 rounding leaves of x, in f64.
std::vector<double> rounded(const std::vector<float>& x, int k, int group) {
  std::vector<double> out(x.size());
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(k)) {
    for (int k0 = 0; k0 < k; k0 += group) {
      const int count = std::min(group, k - k0);
      const float* from = x.data() + row + k0;
      float amax = 0;
      for (int i = 0; i < count; ++i) amax = std::max(amax, std::fabs(from[i]));
      const float inverse = amax > 0 ? 127.0f / amax : 0.0f;
      for (int i = 0; i < count; ++i) {
        out[row + static_cast<size_t>(k0 + i)] =
            std::nearbyint(from[i] * inverse) * static_cast<double>(amax / 127.0f);
      }
    }
  }
  return out;
}

Reference reference(const TestMatrix& w, int64_t row, const double* x) {
  std::vector<float> weights(static_cast<size_t>(w.packed.cols));
  decode_row(w.packed.dtype,
             w.file.data() + static_cast<uint64_t>(row) * row_bytes(w.packed.dtype, w.packed.cols),
             weights.data(), w.packed.cols);
  Reference sum;
  for (size_t k = 0; k < weights.size(); ++k) {
    sum.value += weights[k] * x[k];
    sum.magnitude += std::fabs(weights[k] * x[k]);
  }
  return sum;
}

int group_of(Dtype dtype) {
  const QuantNeeds needs = needs_of(dtype);
  return needs.group32 ? 32 : needs.group256 ? 256 : 0;
}

void expect_near_reference(Dtype dtype, int64_t rows, int k, int n, Isa isa, Precision precision) {
  const TestMatrix w = random_matrix(dtype, rows, k, 11);
  const auto x = random_activations(int64_t{n} * k, 5);
  const int group = precision == Precision::exact ? 0 : group_of(dtype);
  const std::vector<double> seen =
      group == 0 ? std::vector<double>(x.begin(), x.end()) : rounded(x, k, group);
  const auto y = run_linear(w.packed, x, n, isa, 1, precision);
  const double tolerance = precision == Precision::exact ? 1.2e-7 : 1e-6;
  for (int c = 0; c < n; ++c) {
    for (int64_t r = 0; r < rows; r += 1 + rows / 40) {
      const Reference want = reference(w, r, seen.data() + int64_t{c} * k);
      // Q4_K, Q5_K and Q4_1 subtract large parts: the error is of their size.
      ASSERT_NEAR(y[static_cast<size_t>(c * rows + r)], want.value, tolerance * want.magnitude)
          << info(dtype).name << " rows " << rows << " k " << k << " n " << n << " column " << c
          << " row " << r << " " << isa_name(isa);
    }
  }
}

class LinearIsa : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(isas, LinearIsa, testing::ValuesIn(isas_here()),
                         [](const auto& tested) { return std::string(isa_name(tested.param)); });

std::vector<Dtype> rounded_types() {
  std::vector<Dtype> types(std::begin(packed_types), std::end(packed_types));
  types.insert(types.end(), std::begin(book_types), std::end(book_types));
  return types;
}

TEST_P(LinearIsa, equals_exact_arithmetic_on_rounded_activations) {
  for (const Dtype dtype : rounded_types()) {
    const bool super = tensor::info(dtype).block_elements == 256;
    // Unoptimised and instrumented, the largest would take minutes and say nothing more.
    for (const int n : base::sanitized ? std::vector{1, 7, 17} : std::vector{1, 2, 7, 16, 17, 64}) {
      expect_near_reference(dtype, 80, super ? 512 : 576, n, GetParam(), Precision::int8);
    }
    expect_near_reference(dtype, 37, super ? 768 : 96, 3, GetParam(), Precision::int8);
    expect_near_reference(dtype, 7, super ? 256 : 32, 5, GetParam(), Precision::int8);
    expect_near_reference(dtype, 64, 8960, 2, GetParam(), Precision::int8);
  }
}

TEST_P(LinearIsa, float_weights_take_float_activations) {
  for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) {
    for (const int n : {1, 3, 16}) {
      expect_near_reference(dtype, 80, 576, n, GetParam(), Precision::int8);
      expect_near_reference(dtype, 33, 100, n, GetParam(), Precision::int8);
    }
  }
}

TEST_P(LinearIsa, a_type_without_integer_codes_works) {
  for (const int n : {1, 2, 7, 16, 17, 64}) {
    expect_near_reference(Dtype::nvfp4, 37, 448, n, GetParam(), Precision::int8);
    expect_near_reference(Dtype::f8_scaled, 37, 384, n, GetParam(), Precision::int8);
    expect_near_reference(Dtype::f8_scaled, 64, 512, n, GetParam(), Precision::int8);
  }
}

TEST_P(LinearIsa, exact_mode_is_exact) {
  std::vector<Dtype> types = rounded_types();
  types.insert(types.end(), std::begin(decoded_types), std::end(decoded_types));
  for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) types.push_back(dtype);
  for (const Dtype dtype : types) {
    for (const int n : {1, 5, 17}) {
      expect_near_reference(dtype, 50, 512, n, GetParam(), Precision::exact);
    }
  }
}

TEST_P(LinearIsa, a_column_is_the_same_at_every_number_of_columns) {
  for (const Dtype dtype : rounded_types()) {
    const int k = 1536 + (group_of(dtype) == 32 ? 96 : 0);
    const TestMatrix w = random_matrix(dtype, 112, k, 3);
    const int n = 64;
    const auto x = random_activations(int64_t{n} * k, 9);
    const auto all = run_linear(w.packed, x, n, GetParam());
    for (int first = 0, step = 1; first < n; first += step, ++step) {
      const int count = std::min(step, n - first);
      const std::vector<float> part(x.begin() + int64_t{first} * k,
                                    x.begin() + int64_t{first + count} * k);
      const auto y = run_linear(w.packed, part, count, GetParam());
      ASSERT_EQ(0, std::memcmp(y.data(), all.data() + first * w.packed.rows, y.size() * 4))
          << info(dtype).name << " columns " << first << " to " << first + count;
    }
  }
}

TEST_P(LinearIsa, threads_do_not_change_a_bit) {
  for (const Dtype dtype : {Dtype::q4_0, Dtype::q4_1, Dtype::q4_k, Dtype::q6_k, Dtype::f16}) {
    const TestMatrix w = random_matrix(dtype, 700, 512, 3);
    const auto x = random_activations(int64_t{19} * 512, 9);
    for (const Precision precision : {Precision::int8, Precision::exact}) {
      const auto one = run_linear(w.packed, x, 19, GetParam(), 1, precision);
      for (const int threads : {2, 3}) {
        const auto more = run_linear(w.packed, x, 19, GetParam(), threads, precision);
        ASSERT_EQ(0, std::memcmp(one.data(), more.data(), one.size() * 4)) << threads;
      }
    }
  }
}

TEST_P(LinearIsa, equals_scalar_bit_for_bit) {
  std::vector<Dtype> types = rounded_types();
  types.insert(types.end(), std::begin(decoded_types), std::end(decoded_types));
  for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) types.push_back(dtype);
  for (const Dtype dtype : types) {
    const int block = tensor::info(dtype).block_elements;
    const int k = block == 256 ? 768 : block == 128 ? 640 : block == 64 ? 704 : 672;
    const TestMatrix w = random_matrix(dtype, 83, k, 21);
    for (const int n : {1, 3, 6, 21}) {
      const auto x = random_activations(int64_t{n} * k, 2);
      for (const Precision precision : {Precision::int8, Precision::exact}) {
        const auto want = run_linear(w.packed, x, n, Isa::scalar, 1, precision);
        const auto got = run_linear(w.packed, x, n, GetParam(), 1, precision);
        ASSERT_EQ(0, std::memcmp(want.data(), got.data(), want.size() * 4))
            << tensor::info(dtype).name << " n " << n;
      }
    }
  }
}

TEST_P(LinearIsa, rounds_activations_as_scalar_does) {
  base::Pool pool(1);
  const int n = 5;
  for (const int k : {256, 1536, 96, 576}) {
    std::vector<PackedMatrix> matrices;
    for (const Dtype dtype : rounded_types()) {
      if (k % tensor::info(dtype).block_elements == 0) matrices.push_back({dtype, 1, k, nullptr});
    }
    std::vector<const PackedMatrix*> pointers;
    for (const PackedMatrix& matrix : matrices) pointers.push_back(&matrix);
    auto x = random_activations(int64_t{n} * k, 77);
    std::fill(x.begin(), x.begin() + 32, 0.0f);
    x[40] = NAN;
    x[41] = -INFINITY;
    for (int i = 0; i < 32; ++i) x[static_cast<size_t>(k + i)] = 1e-39f * static_cast<float>(i);
    // Each quantiser writes what the forms of the tested ISA need, into zeroed memory.
    std::vector<Workspace> spaces;
    std::vector<QuantRows> made;
    for (int i = 0; i < 2; ++i) {
      spaces.push_back(std::move(*Workspace::create(quant_rows_bytes(n, k))));
      made.push_back(quantize_rows(x.data(), n, k, pointers, Precision::int8, GetParam(),
                                   spaces.back(), pool));
      if (i == 1) continue;
      for (int c = 0; c < n; ++c) {
        for (int g = 0; g * superblock_k < k; ++g) quantize_superblock_scalar(made[0], g, c);
      }
    }
    const auto* scalar = reinterpret_cast<const uint8_t*>(made[0].group32.q);
    const auto* tested = reinterpret_cast<const uint8_t*>(made[1].group32.q);
    EXPECT_EQ(0, std::memcmp(scalar, tested, spaces[0].used_bytes())) << k;
  }
}

TEST_P(LinearIsa, adds_bias_and_accumulates) {
  base::Pool pool(2);
  const TestMatrix w = random_matrix(Dtype::q4_0, 45, 64, 3);
  const auto x = random_activations(3 * 64, 9);
  const auto bias = random_activations(45, 10);
  const auto plain = run_linear(w.packed, x, 3, GetParam());
  Workspace workspace = std::move(*Workspace::create(quant_rows_bytes(3, 64)));
  const PackedMatrix* matrices[] = {&w.packed};
  const QuantRows rows =
      quantize_rows(x.data(), 3, 64, matrices, Precision::int8, GetParam(), workspace, pool);
  std::vector<float> y(3 * 50, 2.0f);
  linear(w.packed, rows, {y.data(), 50, bias.data(), true}, GetParam(), pool);
  for (int c = 0; c < 3; ++c) {
    for (int r = 0; r < 50; ++r) {
      const float want = r < 45 ? 2.0f + (plain[static_cast<size_t>(c * 45 + r)] + bias[r]) : 2.0f;
      ASSERT_EQ(y[static_cast<size_t>(c * 50 + r)], want);
    }
  }
}

TEST_P(LinearIsa, several_matrices_at_once_equal_one_after_the_other) {
  base::Pool pool(3);
  const int k = 512, n = 9;
  const TestMatrix q = random_matrix(Dtype::q4_k, 150, k, 1);
  const TestMatrix key = random_matrix(Dtype::q6_k, 40, k, 2);
  const TestMatrix value = random_matrix(Dtype::q8_0, 33, k, 3);
  const auto x = random_activations(int64_t{n} * k, 9);
  Workspace workspace = std::move(*Workspace::create(quant_rows_bytes(n, k)));
  const PackedMatrix* matrices[] = {&q.packed, &key.packed, &value.packed};
  const QuantRows rows =
      quantize_rows(x.data(), n, k, matrices, Precision::int8, GetParam(), workspace, pool);
  std::vector<std::vector<float>> outputs;
  std::vector<LinearJob> jobs;
  for (const PackedMatrix* matrix : matrices) {
    outputs.emplace_back(static_cast<size_t>(n * matrix->rows));
    jobs.push_back({matrix, {outputs.back().data(), matrix->rows}});
  }
  linear_many(jobs, rows, GetParam(), pool);
  for (size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_EQ(outputs[i], run_linear(*matrices[i], x, n, GetParam())) << i;
  }
}

// Experts: each matrix on rows of its own, some on none.
TEST_P(LinearIsa, matrices_on_rows_of_their_own_equal_each_alone) {
  base::Pool pool(3);
  const int k = 256, n = 40;
  const auto x = random_activations(int64_t{n} * k, 9);
  for (const Precision precision : {Precision::int8, Precision::exact}) {
    std::vector<TestMatrix> gate, up;
    for (int e = 0; e < 4; ++e) {
      gate.push_back(random_matrix(Dtype::q4_k, 70, k, 1 + e));
      up.push_back(random_matrix(Dtype::q4_k, 70, k, 11 + e));
    }
    Workspace workspace = std::move(*Workspace::create(quant_rows_bytes(n, k)));
    const PackedMatrix* matrices[] = {&gate[0].packed, &up[0].packed};
    const QuantRows rows =
        quantize_rows(x.data(), n, k, matrices, precision, GetParam(), workspace, pool);
    std::vector<float> plain(n * 70), product(n * 70);
    std::vector<LinearJob> jobs;
    std::vector<GateUpJob> pairs;
    constexpr int first[] = {0, 1, 1, 20, 40};
    for (int e = 0; e < 4; ++e) {
      const int at = first[e], count = first[e + 1] - at;
      jobs.push_back({&gate[e].packed, {&plain[at * 70], 70}, at, count});
      pairs.push_back({&gate[e].packed, &up[e].packed, &product[at * 70], 70, at, count});
    }
    linear_many(jobs, rows, GetParam(), pool);
    gate_up_silu_many(pairs, rows, GetParam(), pool);
    for (int e = 0; e < 4; ++e) {
      const int count = first[e + 1] - first[e];
      if (count == 0) continue;
      const std::vector<float> own(x.begin() + first[e] * k, x.begin() + first[e + 1] * k);
      const auto alone = run_linear(gate[e].packed, own, count, GetParam(), 1, precision);
      EXPECT_EQ(0, std::memcmp(alone.data(), &plain[first[e] * 70], alone.size() * 4)) << e;
      Workspace other = std::move(*Workspace::create(quant_rows_bytes(n, k)));
      const QuantRows own_rows =
          quantize_rows(own.data(), count, k, matrices, precision, GetParam(), other, pool);
      std::vector<float> both(alone.size());
      gate_up_silu(gate[e].packed, up[e].packed, own_rows, both.data(), 70, GetParam(), pool);
      EXPECT_EQ(0, std::memcmp(both.data(), &product[first[e] * 70], both.size() * 4)) << e;
    }
  }
}

TEST_P(LinearIsa, gate_up_silu_equals_its_parts) {
  base::Pool pool(2);
  for (const Precision precision : {Precision::int8, Precision::exact}) {
    const int k = 256, n = 5, rows_count = 70;
    const TestMatrix gate = random_matrix(Dtype::q4_0, rows_count, k, 1);
    const TestMatrix up = random_matrix(Dtype::q6_k, rows_count, k, 2);
    const auto x = random_activations(int64_t{n} * k, 9);
    Workspace workspace = std::move(*Workspace::create(quant_rows_bytes(n, k)));
    const PackedMatrix* matrices[] = {&gate.packed, &up.packed};
    const QuantRows rows =
        quantize_rows(x.data(), n, k, matrices, precision, GetParam(), workspace, pool);
    std::vector<float> y(n * rows_count);
    gate_up_silu(gate.packed, up.packed, rows, y.data(), rows_count, GetParam(), pool);
    const auto g = run_linear(gate.packed, x, n, GetParam(), 1, precision);
    const auto u = run_linear(up.packed, x, n, GetParam(), 1, precision);
    for (size_t i = 0; i < y.size(); ++i) {
      const double want = g[i] / (1.0 + std::exp(-static_cast<double>(g[i]))) * u[i];
      ASSERT_NEAR(y[i], want, 1e-6 * std::fabs(want) + 1e-30) << g[i];
    }
  }
}

TEST_P(LinearIsa, a_group_of_zeros_or_nonsense_stays_in_its_column) {
  const TestMatrix w = random_matrix(Dtype::q4_0, 32, 64, 3);
  auto x = random_activations(3 * 64, 9);
  std::fill(x.begin(), x.begin() + 64, 0.0f);
  const auto clean = run_linear(w.packed, x, 3, GetParam());
  for (int r = 0; r < 32; ++r) EXPECT_EQ(clean[static_cast<size_t>(r)], 0.0f);
  x[64] = NAN;
  x[65] = INFINITY;
  const auto dirty = run_linear(w.packed, x, 3, GetParam());
  EXPECT_EQ(0, std::memcmp(clean.data(), dirty.data(), 32 * 4));
  EXPECT_EQ(0, std::memcmp(clean.data() + 64, dirty.data() + 64, 32 * 4));
}

TEST(Isa, is_chosen_by_name_or_refused_with_a_reason) {
  EXPECT_EQ(*choose_isa("scalar"), Isa::scalar);
  EXPECT_FALSE(choose_isa("neon").has_value());
  EXPECT_TRUE(choose_isa("").has_value());
  for (const char* name : {"avx2", "avx512", "amx"}) {
    const auto forced = choose_isa(name);
    if (forced) {
      EXPECT_EQ(isa_name(*forced), name);
    } else {
      EXPECT_EQ(forced.error().kind, base::ErrorKind::unsupported);
    }
  }
}

}  // namespace
}  // namespace tensor
