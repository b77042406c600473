#include "tensor/dtype.h"

#include <bit>
#include <cmath>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <vector>

#include "base/json.h"

namespace tensor {
namespace {

std::vector<uint8_t> from_hex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(c));
  return text;
}

std::optional<DtypeInfo> by_name(const std::string& name) {
  for (uint32_t id = 0; id < 64; ++id) {
    const auto found = dtype_info(id);
    if (found && found->name == upper(name)) return found;
  }
  return std::nullopt;
}

TEST(Dtype, decodes_every_golden_block_exactly) {
  std::ifstream file(NAUTILE_SOURCE_DIR "/tests/golden/quant/blocks.json");
  std::stringstream text;
  text << file.rdbuf();
  const auto goldens = base::parse_json(text.str(), "blocks.json");
  ASSERT_TRUE(goldens.has_value());
  int types = 0;
  for (const auto& [name, blocks] : goldens->as_object()) {
    const auto type = by_name(name);
    ASSERT_TRUE(type.has_value()) << name;
    EXPECT_TRUE(type->dequantizable);
    ++types;
    for (const auto& block : blocks.as_array()) {
      const auto bytes = from_hex(block.find("block_hex")->as_string());
      const auto expected = from_hex(block.find("f32le_hex")->as_string());
      ASSERT_EQ(bytes.size(), static_cast<size_t>(type->block_bytes)) << name;
      std::vector<float> out(static_cast<size_t>(type->block_elements));
      ASSERT_EQ(expected.size(), out.size() * 4) << name;
      decode_row(type->dtype, bytes.data(), out.data(), type->block_elements);
      EXPECT_EQ(0, std::memcmp(out.data(), expected.data(), expected.size())) << name;
    }
  }
  EXPECT_EQ(types, 23);
}

TEST(Dtype, refuses_retired_and_unknown_ids) {
  for (uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 41u, 999u, 0xffffffffu}) {
    EXPECT_FALSE(dtype_info(id).has_value()) << id;
  }
  EXPECT_EQ(row_bytes(Dtype::q4_k, 512), 288u);
}

TEST(Dtype, half_conversions_agree_with_arithmetic) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = f16_to_f32(half);
    const int exponent = half >> 10 & 31;
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(value), (half & 0x3ff) != 0);
      EXPECT_FALSE(std::isfinite(value));
      continue;
    }
    const float magnitude =
        exponent == 0 ? std::ldexp(static_cast<float>(half & 0x3ff), -24)
                      : std::ldexp(static_cast<float>(1024 + (half & 0x3ff)), exponent - 25);
    ASSERT_EQ(std::fabs(value), magnitude) << bits;
    ASSERT_EQ(f32_to_f16(value), half) << bits;
    // Halfway to the next half goes to the even one, a little more goes up.
    if ((half & 0x7fff) < 0x7bff && half < 0x8000) {
      const float next = f16_to_f32(static_cast<uint16_t>(half + 1));
      const float middle = value + (next - value) / 2;
      ASSERT_EQ(f32_to_f16(middle), half + (half & 1)) << bits;
      ASSERT_EQ(f32_to_f16(std::nextafter(middle, 1e9f)), half + 1) << bits;
    }
  }
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(1e30f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e-30f), 0x8000);
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(std::nanf("")))));
}

TEST(Dtype, bf16_rounds_to_nearest_even) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x7f7fffffu)), 0x7f80);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::nanf("")))));
  EXPECT_EQ(bf16_to_f32(0x4049), 3.140625f);
}

TEST(Dtype, eight_bit_floats) {
  const uint8_t e4m3[] = {0x00, 0x01, 0x08, 0x38, 0x7e, 0xc0};
  float out[6];
  decode_row(Dtype::f8_e4m3, e4m3, out, 6);
  EXPECT_EQ(out[0], 0.0f);
  EXPECT_EQ(out[1], 0x1p-9f);
  EXPECT_EQ(out[2], 0x1p-6f);
  EXPECT_EQ(out[3], 1.0f);
  EXPECT_EQ(out[4], 448.0f);
  EXPECT_EQ(out[5], -2.0f);
  const uint8_t e5m2[] = {0x3c, 0xc0, 0x01};
  decode_row(Dtype::f8_e5m2, e5m2, out, 3);
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[1], -2.0f);
  EXPECT_EQ(out[2], 0x1p-16f);
  const uint8_t e8m0[] = {0, 127, 254};
  decode_row(Dtype::f8_e8m0, e8m0, out, 3);
  EXPECT_EQ(out[0], 0x1p-127f);
  EXPECT_EQ(out[1], 1.0f);
  EXPECT_EQ(out[2], 0x1p127f);
}

}  // namespace
}  // namespace tensor
