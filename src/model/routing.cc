#include "model/routing.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace model {
namespace {

using format::MoeConfig;

void score(const MoeConfig& config, const float* logits, double* scores) {
  const int n = config.experts;
  if (config.scoring == MoeConfig::Scoring::sigmoid) {
    for (int e = 0; e < n; ++e) scores[e] = 1 / (1 + std::exp(-static_cast<double>(logits[e])));
    return;
  }
  const double top = *std::max_element(logits, logits + n);
  double sum = 0;
  for (int e = 0; e < n; ++e) sum += scores[e] = std::exp(logits[e] - top);
  for (int e = 0; e < n; ++e) scores[e] /= sum;
}

// The index of the largest of those still allowed; the lower one of equals. Numbers that are none
// lose against all others, but some index always wins while one is allowed.
int best_allowed(const double* values, const bool* allowed, int n) {
  int best = -1;
  for (int i = 0; i < n; ++i) {
    if (allowed[i] && (best < 0 || values[i] > values[best])) best = i;
  }
  return best;
}

double group_score(const MoeConfig& config, const double* z, int size) {
  double best = -INFINITY, second = -INFINITY;
  for (int i = 0; i < size; ++i) {
    if (z[i] > best) {
      second = best;
      best = z[i];
    } else if (z[i] > second) {
      second = z[i];
    }
  }
  const bool two = config.group_score == MoeConfig::GroupScore::best_two && size > 1;
  return two ? best + second : best;
}

// Leaves only the experts of the best groups.
void limit_to_groups(const MoeConfig& config, const double* z, bool* allowed) {
  std::array<double, experts_max> scores;
  std::array<bool, experts_max> open;
  const int size = config.experts / config.groups;
  for (int g = 0; g < config.groups; ++g) scores[g] = group_score(config, z + g * size, size);
  std::fill_n(open.begin(), config.groups, true);
  std::fill_n(allowed, config.experts, false);
  for (int i = 0; i < config.groups_used; ++i) {
    const int g = best_allowed(scores.data(), open.data(), config.groups);
    open[g] = false;
    std::fill_n(allowed + g * size, size, true);
  }
}

}  // namespace

void choose_experts(const MoeConfig& config, const float* logits, const float* bias,
                    std::span<Route> chosen) {
  std::array<double, experts_max> scores, z;
  std::array<bool, experts_max> allowed;
  const int n = config.experts;
  score(config, logits, scores.data());
  for (int e = 0; e < n; ++e) z[e] = scores[e] + (bias ? bias[e] : 0.0f);
  std::fill_n(allowed.begin(), n, true);
  if (config.groups > 1 && config.groups_used < config.groups) {
    limit_to_groups(config, z.data(), allowed.data());
  }
  double sum = 0;
  for (Route& route : chosen) {
    route.expert = best_allowed(z.data(), allowed.data(), n);
    allowed[route.expert] = false;
    sum += scores[route.expert];
  }
  for (Route& route : chosen) {
    double weight = scores[route.expert];
    if (config.normalise) weight /= sum + 1e-20;
    route.weight = static_cast<float>(weight * config.routed_scale);
  }
}

}  // namespace model
