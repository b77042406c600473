#include "engine/sampler.h"

#include <cmath>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <set>
#include <sstream>

#include "base/json.h"

namespace engine {
namespace {

base::Json golden() {
  std::ifstream file(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/sampling/expected.json");
  std::stringstream text;
  text << file.rdbuf();
  auto json = base::parse_json(text.str(), "sampling goldens");
  EXPECT_TRUE(json.has_value());
  return json ? *json : base::Json();
}

std::vector<float> floats(const base::Json& array) {
  std::vector<float> out;
  for (const auto& v : array.as_array()) out.push_back(static_cast<float>(v.as_number()));
  return out;
}

SamplingParams params_of(const base::Json& json) {
  SamplingParams p;
  auto number = [&](const char* key, double fallback) {
    const base::Json* v = json.find(key);
    return v ? v->as_number() : fallback;
  };
  p.temperature = number("temperature", 1.0);
  p.top_k = static_cast<int>(number("top_k", 0));
  p.top_p = number("top_p", 1.0);
  p.min_p = number("min_p", 0.0);
  p.repetition_penalty = number("repetition_penalty", 1.0);
  p.frequency_penalty = number("frequency_penalty", 0.0);
  p.presence_penalty = number("presence_penalty", 0.0);
  return p;
}

TEST(Sampler, EveryGoldenCase) {
  base::Json json = golden();
  ASSERT_TRUE(json.is_object());
  History history;
  for (const auto& id : json.find("history")->as_array()) {
    history.add(static_cast<int32_t>(id.as_integer()));
  }
  Sampler sampler;
  int compared = 0;
  for (const auto& c : json.find("cases")->as_array()) {
    if (c.find("distance_to_nearest_cut")->as_number() < 1e-6) continue;
    auto logits = floats(*json.find("vectors")->find(c.find("vector")->as_string()));
    auto choices = sampler.distribution(logits, history, params_of(*c.find("params")));
    ASSERT_TRUE(choices.has_value());
    std::vector<double> got(logits.size(), 0.0);
    for (const Choice& choice : *choices) got[static_cast<size_t>(choice.id)] = choice.probability;
    const auto& expected = c.find("probs")->as_array();
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], expected[i].as_number(), 1e-6)
          << c.find("vector")->as_string() << " " << c.find("params")->dump() << " id " << i;
    }
    ++compared;
  }
  EXPECT_GT(compared, 80);
  SamplingParams greedy;
  greedy.temperature = 0;
  for (const auto& [name, id] : json.find("greedy")->as_object()) {
    auto picked = sampler.pick(floats(*json.find("vectors")->find(name)), {}, greedy, 0.5);
    ASSERT_TRUE(picked.has_value());
    EXPECT_EQ(*picked, id.as_integer()) << name;
  }
}

TEST(Sampler, PickFollowsTheDistribution) {
  Sampler sampler;
  std::vector<float> logits = {1, 2, 0, 2, -1, 0.5f, 1.5f, -3};
  SamplingParams params;
  params.temperature = 0.8;
  params.top_p = 0.9;
  auto choices = sampler.distribution(logits, {}, params);
  ASSERT_TRUE(choices.has_value());
  std::vector<int> counts(logits.size(), 0);
  constexpr int draws = 20000;
  for (int i = 0; i < draws; ++i) {
    auto id = sampler.pick(logits, {}, params, uniform(7, static_cast<uint64_t>(i)));
    ASSERT_TRUE(id.has_value());
    ++counts[static_cast<size_t>(*id)];
  }
  std::set<int32_t> kept;
  for (const Choice& c : *choices) {
    kept.insert(c.id);
    double frequency = static_cast<double>(counts[static_cast<size_t>(c.id)]) / draws;
    EXPECT_NEAR(frequency, c.probability, 0.015) << c.id;
  }
  for (size_t i = 0; i < counts.size(); ++i) {
    if (!kept.contains(static_cast<int32_t>(i))) {
      EXPECT_EQ(counts[i], 0);
    }
  }
}

TEST(Sampler, NotANumberIsNeverSampled) {
  Sampler sampler;
  constexpr float inf = std::numeric_limits<float>::infinity();
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  for (double temperature : {0.0, 1.0}) {
    SamplingParams params;
    params.temperature = temperature;
    for (std::vector<float> row :
         {std::vector<float>{0, nan, 1}, {nan, nan}, {0, inf}, {-inf}, {}}) {
      auto picked = sampler.pick(row, {}, params, 0.3);
      ASSERT_FALSE(picked.has_value());
      EXPECT_EQ(picked.error().kind, base::ErrorKind::internal);
      EXPECT_FALSE(sampler.logprobs(row, 0, 2).has_value());
    }
    auto masked = sampler.pick(std::vector<float>{-inf, 0, -inf}, {}, params, 0.999999);
    ASSERT_TRUE(masked.has_value());
    EXPECT_EQ(*masked, 1);
  }
}

TEST(Sampler, LogprobsAreOfTheRawRow) {
  Sampler sampler;
  std::vector<float> logits = {1, 3, 3, -2};
  auto result = sampler.logprobs(logits, 3, 3);
  ASSERT_TRUE(result.has_value());
  double z = std::exp(1.0) + 2 * std::exp(3.0) + std::exp(-2.0);
  EXPECT_NEAR(result->chosen.logprob, -2 - std::log(z), 1e-6);
  ASSERT_EQ(result->top.size(), 3u);
  EXPECT_EQ(result->top[0].id, 1);  // ties: lower id first
  EXPECT_EQ(result->top[1].id, 2);
  EXPECT_EQ(result->top[2].id, 0);
  EXPECT_NEAR(result->top[0].logprob, 3 - std::log(z), 1e-6);
  EXPECT_EQ(sampler.logprobs(logits, 0, 20)->top.size(), 4u);
  EXPECT_EQ(sampler.logprobs(logits, 99, 0)->chosen.logprob,
            -std::numeric_limits<float>::infinity());
}

TEST(Sampler, UniformIsAFunctionOfSeedAndPosition) {
  EXPECT_EQ(uniform(1, 2), uniform(1, 2));
  double sum = 0;
  std::set<double> seen;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (uint64_t position = 0; position < 100; ++position) {
      double u = uniform(seed, position);
      ASSERT_GE(u, 0.0);
      ASSERT_LT(u, 1.0);
      sum += u;
      seen.insert(u);
    }
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
  EXPECT_EQ(seen.size(), 10000u);
}

TEST(Sampler, SettingsOutOfRangeAreNamed) {
  SamplingParams params;
  EXPECT_TRUE(check_sampling(params).has_value());
  params.top_p = std::numeric_limits<double>::quiet_NaN();
  auto checked = check_sampling(params);
  ASSERT_FALSE(checked.has_value());
  EXPECT_NE(checked.error().what.find("top_p"), std::string::npos);
  params.top_p = 1;
  params.temperature = -1;
  EXPECT_FALSE(check_sampling(params).has_value());
}

}  // namespace
}  // namespace engine
