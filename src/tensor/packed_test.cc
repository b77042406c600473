#include "tensor/packed.h"

#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include "base/random.h"
#include "tensor/layout.h"

namespace tensor {
namespace {

struct Shape {
  Dtype dtype;
  int64_t rows, cols;
};

std::vector<uint8_t> random_bytes(uint64_t count, uint64_t seed) {
  std::vector<uint8_t> bytes(count);
  base::SeededRandom random(seed);
  random.fill(bytes);
  return bytes;
}

class PackedRoundTrip : public testing::TestWithParam<Shape> {};

TEST_P(PackedRoundTrip, gives_the_file_bytes_back) {
  const auto [dtype, rows, cols] = GetParam();
  const uint64_t row = row_bytes(dtype, static_cast<uint64_t>(cols));
  const auto file = random_bytes(static_cast<uint64_t>(rows) * row, 7);
  std::vector<uint8_t> memory(packed_bytes(dtype, rows, cols) + 64);
  auto* aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  const PackedMatrix matrix{dtype, rows, cols, aligned};
  // In uneven chunks, as a loader streams them.
  for (int64_t first = 0; first < rows; first += 5) {
    const int64_t count = std::min<int64_t>(5, rows - first);
    pack_rows(matrix, aligned, first, file.data() + static_cast<uint64_t>(first) * row, count);
  }
  std::vector<uint8_t> back(file.size());
  unpack_rows(matrix, 0, rows, back.data());
  EXPECT_EQ(0, std::memcmp(back.data(), file.data(), file.size()));

  const DtypeInfo& type = info(dtype);
  if (!type.dequantizable) return;
  std::vector<float> expected(static_cast<size_t>(cols)), got(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; r += 7) {
    decode_row(dtype, file.data() + static_cast<uint64_t>(r) * row, expected.data(), cols);
    decode_packed_row(matrix, r, got.data());
    EXPECT_EQ(0, std::memcmp(expected.data(), got.data(), expected.size() * 4)) << r;
  }
}

INSTANTIATE_TEST_SUITE_P(
    types, PackedRoundTrip,
    testing::Values(
        Shape{Dtype::q4_0, 64, 64}, Shape{Dtype::q4_0, 48, 96}, Shape{Dtype::q4_0, 33, 576},
        Shape{Dtype::q4_1, 40, 576}, Shape{Dtype::q4_1, 7, 32}, Shape{Dtype::q5_0, 37, 96},
        Shape{Dtype::q5_1, 37, 96}, Shape{Dtype::q8_0, 65, 96}, Shape{Dtype::q8_0, 32, 576},
        Shape{Dtype::q4_k, 50, 512}, Shape{Dtype::q5_k, 50, 512}, Shape{Dtype::q6_k, 50, 256},
        Shape{Dtype::q6_k, 17, 768}, Shape{Dtype::f32, 19, 300}, Shape{Dtype::f16, 50, 96},
        Shape{Dtype::bf16, 33, 257}, Shape{Dtype::iq3_s, 5, 512}, Shape{Dtype::nvfp4, 5, 128},
        Shape{Dtype::iq4_nl, 37, 96}, Shape{Dtype::iq4_nl, 64, 576}, Shape{Dtype::mxfp4, 37, 96},
        Shape{Dtype::f8_scaled, 37, 384}, Shape{Dtype::f8_scaled, 64, 512},
        Shape{Dtype::mxfp4, 64, 256}, Shape{Dtype::mxfp4, 33, 672}, Shape{Dtype::iq4_xs, 50, 512},
        Shape{Dtype::q2_k, 50, 512}, Shape{Dtype::q2_k, 17, 256}, Shape{Dtype::q3_k, 50, 512},
        Shape{Dtype::q3_k, 17, 768}, Shape{Dtype::i8, 3, 10}, Shape{Dtype::iq1_s, 5, 256},
        Shape{Dtype::iq1_m, 5, 512}, Shape{Dtype::iq2_xxs, 5, 512}, Shape{Dtype::iq2_xs, 5, 512},
        Shape{Dtype::iq2_s, 5, 512}, Shape{Dtype::iq3_xxs, 5, 512}, Shape{Dtype::tq1_0, 5, 512},
        Shape{Dtype::tq2_0, 5, 512}),
    [](const auto& tested) {
      return std::string(tensor::info(tested.param.dtype).name) + "_" +
             std::to_string(tested.param.rows) + "x" + std::to_string(tested.param.cols);
    });

TEST(Packed, takes_no_more_bytes_than_the_file) {
  for (Dtype dtype : {Dtype::q4_0, Dtype::q4_1, Dtype::q5_0, Dtype::q5_1, Dtype::q8_0, Dtype::q4_k,
                      Dtype::q5_k, Dtype::q6_k, Dtype::f16, Dtype::q2_k, Dtype::q3_k, Dtype::iq4_nl,
                      Dtype::iq4_xs, Dtype::mxfp4, Dtype::f8_scaled}) {
    EXPECT_EQ(packed_bytes(dtype, 96, 1536), 96 * row_bytes(dtype, 1536)) << info(dtype).name;
  }
  // An odd number of blocks costs half a header a half.
  EXPECT_EQ(packed_bytes(Dtype::q4_0, 32, 96), 32 * row_bytes(Dtype::q4_0, 96) + 2 * 32);
}

TEST(Packed, a_panel_of_two_halves_is_one_stream_of_alternating_units) {
  const std::vector<uint8_t> memory(static_cast<size_t>(packed_bytes(Dtype::q4_0, 48, 160)));
  // 2 full units, one short, 3 halves
  const PackedMatrix matrix{Dtype::q4_0, 48, 160, memory.data()};
  const HalfView first = half_view(matrix, 0), second = half_view(matrix, 1);
  const HalfView alone = half_view(matrix, 2);
  const auto at = [&](const uint8_t* p) { return static_cast<uint64_t>(p - memory.data()); };
  EXPECT_EQ(at(first.unit(1)), 2 * 576u);
  EXPECT_EQ(at(second.unit(1)), 3 * 576u);
  EXPECT_EQ(at(first.unit(2)), 4 * 576u);
  EXPECT_EQ(at(second.unit(2)), 4 * 576u + 320u);
  EXPECT_EQ(at(alone.unit(0)), 4 * 576u + 640u);
  EXPECT_EQ(at(alone.unit(1)) - at(alone.unit(0)), 576u);
  EXPECT_EQ(packed_bytes(Dtype::q4_0, 48, 160), 3 * (2 * 576u + 320u));
}

}  // namespace
}  // namespace tensor
