#include "model/routing.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

namespace model {
namespace {

using format::MoeConfig;

std::vector<Route> choose(const MoeConfig& config, const std::vector<float>& logits,
                          const std::vector<float>& bias = {}) {
  std::vector<Route> chosen(config.experts_used);
  choose_experts(config, logits.data(), bias.empty() ? nullptr : bias.data(), chosen);
  return chosen;
}

std::vector<int> experts_of(const std::vector<Route>& routes) {
  std::vector<int> experts;
  for (const Route& route : routes) experts.push_back(route.expert);
  return experts;
}

MoeConfig config_of(int experts, int used, MoeConfig::Scoring scoring) {
  MoeConfig config;
  config.experts = experts;
  config.experts_used = used;
  config.scoring = scoring;
  return config;
}

TEST(Routing, SoftmaxWeightsAreNotRenormalised) {
  const auto config = config_of(4, 2, MoeConfig::Scoring::softmax);
  const auto routes = choose(config, {1, 3, 2, 0});
  EXPECT_EQ(experts_of(routes), (std::vector{1, 2}));
  const double sum = std::exp(1) + std::exp(3) + std::exp(2) + 1;
  EXPECT_FLOAT_EQ(routes[0].weight, std::exp(3) / sum);
  EXPECT_FLOAT_EQ(routes[1].weight, std::exp(2) / sum);
}

TEST(Routing, BiasChoosesButDoesNotWeigh) {
  auto config = config_of(4, 2, MoeConfig::Scoring::sigmoid);
  config.normalise = true;
  config.routed_scale = 2.5;
  const auto routes = choose(config, {0, 1, 2, 3}, {1, 0, 0, -0.5f});
  EXPECT_EQ(experts_of(routes), (std::vector{0, 2}));
  const double a = 0.5, b = 1 / (1 + std::exp(-2.0));
  EXPECT_FLOAT_EQ(routes[0].weight, 2.5 * a / (a + b));
  EXPECT_FLOAT_EQ(routes[1].weight, 2.5 * b / (a + b));
}

TEST(Routing, LowerIndexWinsOfEquals) {
  const auto config = config_of(6, 3, MoeConfig::Scoring::softmax);
  EXPECT_EQ(experts_of(choose(config, {1, 2, 1, 2, 1, 1})), (std::vector{1, 3, 0}));
}

TEST(Routing, GroupsByTheirBestOrTheirBestTwo) {
  auto config = config_of(6, 2, MoeConfig::Scoring::sigmoid);
  config.groups = 3;
  config.groups_used = 1;
  const std::vector<float> logits{2, -9, 1, 1, 0, 0};
  EXPECT_EQ(experts_of(choose(config, logits)), (std::vector{0, 1}));
  config.group_score = MoeConfig::GroupScore::best_two;
  EXPECT_EQ(experts_of(choose(config, logits)), (std::vector{2, 3}));
}

// A dropped group loses even against scores that the bias has made negative.
TEST(Routing, DroppedGroupsNeverWin) {
  auto config = config_of(4, 2, MoeConfig::Scoring::sigmoid);
  config.groups = 2;
  config.groups_used = 1;
  config.group_score = MoeConfig::GroupScore::best_two;
  EXPECT_EQ(experts_of(choose(config, {0, 0, 0, 0}, {-4, 3, -2, -2})), (std::vector{1, 0}));
}

TEST(Routing, NonsenseStillChoosesDifferentExperts) {
  const auto config = config_of(4, 4, MoeConfig::Scoring::softmax);
  auto experts = experts_of(choose(config, {NAN, 1, NAN, INFINITY}));
  std::sort(experts.begin(), experts.end());
  EXPECT_EQ(experts, (std::vector{0, 1, 2, 3}));
}

}  // namespace
}  // namespace model
