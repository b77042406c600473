// The AVX-512 and AMX kernels on any machine: their source compiled against SIMDe's emulation of
// the instructions (and tiles.h's own of tiles), compared bit for bit with the scalar kernels.
#define NAUTILE_EMULATED_AVX512
#include "tensor/kernels_avx512.cc"

#include <gtest/gtest.h>

#include "tensor/kernels_amx.cc"
#include "tensor/kernels_avx512_32.cc"
#include "tensor/kernels_avx512_book.cc"
#include "tensor/kernels_avx512_k.cc"
#include "tensor/linear_test_util.h"
#include "tensor/workspace.h"

namespace tensor {
namespace {

struct Panels {
  std::vector<float> acc;  // (panels, columns, 32)
};

// Every panel of w for columns first.. of x, rows that do not exist set to zero.
Panels run_panels(PanelKernel kernel, const PackedMatrix& w, const QuantRows& x, int first,
                  int columns) {
  const int64_t panels = (w.rows + panel_rows - 1) / panel_rows;
  Panels result;
  result.acc.resize(static_cast<size_t>(panels * columns * panel_rows));
  std::vector<float> space(static_cast<size_t>(columns * panel_rows) + 16);
  auto* acc = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(space.data()) + 63) / 64 * 64);
  for (int64_t p = 0; p < panels; ++p) {
    kernel({&w, p, &x, first, columns, acc});
    for (int c = 0; c < columns; ++c) {
      for (int64_t r = 0; r < panel_rows && p * panel_rows + r < w.rows; ++r) {
        result.acc[static_cast<size_t>((p * columns + c) * panel_rows + r)] =
            acc[c * panel_rows + r];
      }
    }
  }
  return result;
}

void expect_equals_scalar(const KernelSet& kernels, Dtype dtype, int64_t rows, int k,
                          Precision precision) {
  base::Pool pool(1);
  const TestMatrix w = random_matrix(dtype, rows, k, 31);
  constexpr int n = 48;
  const auto x = random_activations(int64_t{n} * k, 8);
  Workspace workspace = std::move(*Workspace::create(quant_rows_bytes(n, k)));
  const PackedMatrix* matrices[] = {&w.packed};
  // Scalar and AVX-512 share their forms of the activations.
  const QuantRows rows_of_x =
      quantize_rows(x.data(), n, k, matrices, precision, Isa::scalar, workspace, pool);
  const auto kernel = [&](const KernelSet& set) {
    if (precision == Precision::exact) return set.exact;
    const PanelKernel quantized = set.quantized(dtype);
    return quantized != nullptr ? quantized : set.floating(dtype);
  };
  for (const int columns : {1, 2, 3, 4, 5, 6, 7, 8, 11, 31, 47}) {
    const int first = n - columns;
    const auto want = run_panels(kernel(scalar_kernels()), w.packed, rows_of_x, first, columns);
    const auto got = run_panels(kernel(kernels), w.packed, rows_of_x, first, columns);
    ASSERT_EQ(0, std::memcmp(want.acc.data(), got.acc.data(), want.acc.size() * sizeof(float)))
        << tensor::info(dtype).name << " columns " << columns;
  }
}

TEST(EmulatedAvx512, equals_scalar_bit_for_bit) {
  for (const Dtype dtype : packed_types) {
    const bool super = tensor::info(dtype).block_elements == 256;
    expect_equals_scalar(emulated_avx512_kernels(), dtype, 83, super ? 768 : 672, Precision::int8);
    expect_equals_scalar(emulated_avx512_kernels(), dtype, 16, super ? 256 : 96, Precision::int8);
  }
  for (const Dtype dtype : book_types) {
    expect_equals_scalar(emulated_avx512_kernels(), dtype, 83, 768, Precision::int8);
    expect_equals_scalar(emulated_avx512_kernels(), dtype, 7, 256, Precision::int8);
  }
}

TEST(EmulatedAvx512, float_weights_and_exact_mode_equal_scalar) {
  for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) {
    expect_equals_scalar(emulated_avx512_kernels(), dtype, 37, 288, Precision::int8);
  }
  expect_equals_scalar(emulated_avx512_kernels(), Dtype::nvfp4, 37, 256, Precision::int8);
  expect_equals_scalar(emulated_avx512_kernels(), Dtype::f8_scaled, 37, 384, Precision::int8);
  expect_equals_scalar(emulated_avx512_kernels(), Dtype::q4_k, 37, 256, Precision::exact);
}

TEST(EmulatedAmx, equals_scalar_bit_for_bit) {
  for (const Dtype dtype : packed_types) {
    const bool super = tensor::info(dtype).block_elements == 256;
    expect_equals_scalar(emulated_amx_kernels(), dtype, 83, super ? 768 : 672, Precision::int8);
    expect_equals_scalar(emulated_amx_kernels(), dtype, 16, super ? 256 : 96, Precision::int8);
  }
}

}  // namespace
}  // namespace tensor
