#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace engine {
namespace {

constexpr double negligible_below = -32.0;  // exp(-32) = 1.3e-14

uint64_t mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  x ^= x >> 31;
  return x;
}

template <class T>
bool likelier(double a, T id_a, double b, T id_b) {
  return a != b ? a > b : id_a < id_b;
}

base::Result<void> check_range(const char* field, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return {};
  return base::fail(base::ErrorKind::invalid_input,
                    fmt::format("{} must be between {} and {}", field, low, high));
}

}  // namespace

double uniform(uint64_t seed, uint64_t position) {
  // Two rounds, so that neighbouring seeds and positions share nothing.
  uint64_t state = mix(seed + 0x9e3779b97f4a7c15ull);
  state = mix(state ^ (position * 0xd1342543de82ef95ull + 0x632be59bd9b4e019ull));
  state = mix(state + seed);
  return static_cast<double>(state >> 11) * 0x1.0p-53;
}

bool has_penalties(const SamplingParams& p) {
  return p.repetition_penalty != 1.0 || p.frequency_penalty != 0.0 || p.presence_penalty != 0.0;
}

base::Result<void> check_sampling(const SamplingParams& p) {
  TRY(check_range("temperature", p.temperature, 0, 100));
  TRY(check_range("top_k", p.top_k, 0, std::numeric_limits<int32_t>::max()));
  TRY(check_range("top_p", p.top_p, 0, 1));
  TRY(check_range("min_p", p.min_p, 0, 1));
  TRY(check_range("repetition_penalty", p.repetition_penalty, 0.01, 100));
  TRY(check_range("frequency_penalty", p.frequency_penalty, -100, 100));
  TRY(check_range("presence_penalty", p.presence_penalty, -100, 100));
  return {};
}

void guide(std::span<const float> with_text, std::span<const float> without_text, float weight,
           std::vector<float>& guided) {
  guided.resize(with_text.size());
  for (size_t i = 0; i < guided.size(); ++i) {
    guided[i] = without_text[i] + weight * (with_text[i] - without_text[i]);
  }
}

base::Result<double> Sampler::best_logit(std::span<const float> logits) const {
  // `bad` stays 0 for finite values and -inf: x - x is 0 or NaN, and -inf is let through.
  float best = -std::numeric_limits<float>::infinity();
  bool bad = logits.empty();
  for (float l : logits) {
    bad |= !(l < std::numeric_limits<float>::infinity());  // NaN and +inf
    best = l > best ? l : best;
  }
  if (bad || best == -std::numeric_limits<float>::infinity()) {
    return base::fail(base::ErrorKind::internal, "the model computed a value that is not a number",
                      "the weights or a kernel are damaged",
                      "check the model file with its sha256; report this if the file is whole");
  }
  return best;
}

base::Result<void> Sampler::apply_penalties(std::span<const float> logits, const History& history,
                                            const SamplingParams& params) {
  ASSIGN([[maybe_unused]] double best, best_logit(logits));
  row_.assign(logits.begin(), logits.end());
  if (!has_penalties(params)) return {};
  for (auto [id, count] : history.counts()) {
    if (id < 0 || static_cast<size_t>(id) >= row_.size()) continue;
    double& l = row_[static_cast<size_t>(id)];
    l = l > 0 ? l / params.repetition_penalty : l * params.repetition_penalty;
    l -= count * params.frequency_penalty + params.presence_penalty;
  }
  return {};
}

int32_t Sampler::argmax() const {
  // max_element gives the first of equals: the lowest id.
  return static_cast<int32_t>(std::max_element(row_.begin(), row_.end()) - row_.begin());
}

void Sampler::collect(double temperature) {
  double best = *std::max_element(row_.begin(), row_.end());
  double cut = best + negligible_below * temperature;
  kept_.clear();
  for (size_t i = 0; i < row_.size(); ++i) {
    if (row_[i] < cut) continue;
    double x = (row_[i] - best) / temperature;
    kept_.push_back({static_cast<int32_t>(i), x, std::exp(x)});
  }
}

void Sampler::keep_top_k(int k) {
  auto n = static_cast<size_t>(k);
  if (k <= 0 || kept_.size() <= n) return;
  std::nth_element(
      kept_.begin(), kept_.begin() + k, kept_.end(),
      [](const Candidate& a, const Candidate& b) { return likelier(a.x, a.id, b.x, b.id); });
  kept_.resize(n);
}

void Sampler::keep_top_p(double top_p) {
  if (top_p >= 1.0) return;
  double total = 0;
  for (const Candidate& c : kept_) total += c.weight;
  // Ids lighter than (1 - top_p) / n weigh less than 1 - top_p together, so the prefix ends before
  // them: they need no sorting. The rest is taken from a heap until the sum is reached.
  double light = total * (1.0 - top_p) / static_cast<double>(kept_.size());
  std::erase_if(kept_, [light](const Candidate& c) { return c.weight < light; });
  auto worse = [](const Candidate& a, const Candidate& b) {
    return likelier(b.x, b.id, a.x, a.id);
  };
  std::make_heap(kept_.begin(), kept_.end(), worse);
  double sum = 0;
  auto end = kept_.end();
  while (end != kept_.begin()) {
    std::pop_heap(kept_.begin(), end, worse);
    --end;
    sum += end->weight;
    if (sum >= top_p * total) break;
  }
  kept_.erase(kept_.begin(), end);
}

void Sampler::keep_min_p(double min_p) {
  if (min_p <= 0) return;
  double best = 0;
  for (const Candidate& c : kept_) best = std::max(best, c.weight);
  std::erase_if(kept_, [&](const Candidate& c) { return c.weight < min_p * best; });
}

base::Result<void> Sampler::filter(std::span<const float> logits, const History& history,
                                   const SamplingParams& params) {
  TRY(apply_penalties(logits, history, params));
  if (params.temperature <= 0) {
    kept_.assign(1, {argmax(), 0.0, 1.0});
    return {};
  }
  collect(params.temperature);
  keep_top_k(params.top_k);
  keep_top_p(params.top_p);
  keep_min_p(params.min_p);
  return {};
}

base::Result<int32_t> Sampler::pick(std::span<const float> logits, const History& history,
                                    const SamplingParams& params, double random) {
  TRY(filter(logits, history, params));
  // The order of kept_ depends on the library's heap and partition, so it is made canonical: the
  // cumulative sum walks the ids upwards.
  std::sort(kept_.begin(), kept_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  double total = 0;
  for (const Candidate& c : kept_) total += c.weight;
  double target = random * total;
  double sum = 0;
  for (const Candidate& c : kept_) {
    sum += c.weight;
    if (target < sum) return c.id;
  }
  return kept_.back().id;
}

base::Result<std::vector<Choice>> Sampler::distribution(std::span<const float> logits,
                                                        const History& history,
                                                        const SamplingParams& params) {
  TRY(filter(logits, history, params));
  std::sort(kept_.begin(), kept_.end(),
            [](const Candidate& a, const Candidate& b) { return likelier(a.x, a.id, b.x, b.id); });
  double total = 0;
  for (const Candidate& c : kept_) total += c.weight;
  std::vector<Choice> choices;
  for (const Candidate& c : kept_) choices.push_back({c.id, c.weight / total});
  return choices;
}

base::Result<Sampler::Logprobs> Sampler::logprobs(std::span<const float> logits, int32_t chosen,
                                                  int n) {
  ASSIGN(double best, best_logit(logits));
  double total = 0;
  for (float l : logits) {
    double x = l - best;
    if (x >= negligible_below) total += std::exp(x);
  }
  double log_total = best + std::log(total);
  Logprobs result;
  auto of = [&](int32_t id) {
    return IdLogprob{id, static_cast<float>(logits[static_cast<size_t>(id)] - log_total)};
  };
  result.chosen = chosen >= 0 && static_cast<size_t>(chosen) < logits.size()
                      ? of(chosen)
                      : IdLogprob{chosen, -std::numeric_limits<float>::infinity()};
  // n is 20 at most: a small sorted list, and one comparison for nearly every id.
  std::vector<int32_t> top;
  size_t wanted = std::min(static_cast<size_t>(std::max(n, 0)), logits.size());
  auto better = [&](int32_t a, int32_t b) {
    return likelier(logits[static_cast<size_t>(a)], a, logits[static_cast<size_t>(b)], b);
  };
  for (size_t i = 0; wanted > 0 && i < logits.size(); ++i) {
    auto id = static_cast<int32_t>(i);
    if (top.size() == wanted && !better(id, top.back())) continue;
    if (top.size() == wanted) top.pop_back();
    top.insert(std::upper_bound(top.begin(), top.end(), id, better), id);
  }
  for (int32_t id : top) result.top.push_back(of(id));
  return result;
}

}  // namespace engine
