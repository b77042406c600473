#include "model/rope.h"

#include <cmath>
#include <gtest/gtest.h>

#include "model/golden_for_test.h"

namespace model {
namespace {

using format::RopeScaling;

// models.md §8: R1-0528-Qwen3-8B, pairs 24 to 40; before them plain, after them a quarter.
TEST(Rope, YarnOfR1Qwen3) {
  Config config;
  config.head_dim = 128;
  config.rope_base = 1e6;
  config.rope_scaling = {.kind = RopeScaling::Kind::yarn, .factor = 4, .original_context = 32768};
  const Rope rope = make_rope(config);
  const double expected[] = {0.00537532149,  0.00413173802,  0.00316842257,  0.00242342238,
                             0.00184827656,  0.00140511248,  0.00106436098,  0.000802959728,
                             0.000602941176, 0.000450323576, 0.000334240546, 0.000246258407,
                             0.000179841156, 0.000129931495, 9.2623017e-05,  6.49039432e-05,
                             4.44569853e-05};
  for (int i = 0; i < 17; ++i) {
    EXPECT_NEAR(rope.frequencies[24 + i], expected[i], expected[i] * 2e-7);
  }
  EXPECT_NEAR(rope.frequencies[23], std::pow(1e6, -46.0 / 128), 1e-9);
  EXPECT_NEAR(rope.frequencies[50], std::pow(1e6, -100.0 / 128) / 4, 1e-12);
  EXPECT_EQ(rope.multiplier, 1.0f);
}

// models.md §1.2: divisors of Llama 3's scaling, from numbers and from a GGUF's rope_freqs.
TEST(Rope, Llama3) {
  Config config;
  config.head_dim = 128;
  config.rope_base = 5e5;
  config.rope_scaling = {.kind = RopeScaling::Kind::llama3, .factor = 8, .original_context = 8192};
  const Rope rope = make_rope(config);
  const double divisors[] = {1.207484, 1.553415, 2.026313, 2.694530, 3.684253, 5.257327};
  Config from_gguf = config;
  from_gguf.rope_divisors.assign(64, 1);
  for (int i = 0; i < 64; ++i) {
    const double divisor = i < 29 ? 1 : i < 35 ? divisors[i - 29] : 8;
    from_gguf.rope_divisors[i] = static_cast<float>(divisor);
    const double plain = std::pow(5e5, -2.0 * i / 128);
    EXPECT_NEAR(rope.frequencies[i], plain / divisor, plain * 1e-6) << i;
  }
  const Rope divided = make_rope(from_gguf);
  for (int i = 0; i < 64; ++i) {
    EXPECT_NEAR(divided.frequencies[i], rope.frequencies[i], rope.frequencies[i] * 1e-6);
  }
}

TEST(Rope, FrequenciesOfTheGoldens) {
  for (const char* family : {"llama-gqa", "llama3-tied", "qwen2", "qwen2-tied", "qwen3-yarn"}) {
    const golden::Expected expected(golden::folder(family));
    const auto files = format::ModelFiles::open(golden::folder(family));
    ASSERT_TRUE(files.has_value()) << files.error().message();
    const auto config = (*files)->config();
    ASSERT_TRUE(config.has_value()) << config.error().message();
    const Rope rope = make_rope(*config);
    const auto& wanted = expected["rope"].find("inv_freq")->as_array();
    ASSERT_EQ(rope.frequencies.size(), wanted.size()) << family;
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_NEAR(rope.frequencies[i], wanted[i].as_number(), wanted[i].as_number() * 2e-7);
    }
    EXPECT_NEAR(rope.multiplier, expected["rope"].find("multiplier_on_cos_sin")->as_number(), 1e-6);
  }
}

}  // namespace
}  // namespace model
