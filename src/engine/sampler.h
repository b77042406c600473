// Sampler: one row of logits in, one id out, exactly as the sampling goldens define it:
//
//   logits -> repetition penalty (l > 0 ? l / r : l * r, once for every id of the history)
//          -> l -= count * frequency + (count > 0) * presence
//          -> l / T -> top_k -> top_p -> min_p -> softmax over what is kept
//
// History is prompt and generated ids alike, without a window. Ties go to the lower id: in argmax
// (T = 0), among equals at the edge of top_k, in the order of top_p. top_p keeps the smallest
// prefix whose sum reaches top_p, the crossing id included; no filter keeps fewer than one.
//
// Ids whose tempered logit lies more than 32 below the best are left out of every sum: together
// they weigh less than 2e-9 in a vocabulary of 150,000.
//
// Log-probabilities are those of the model itself: log softmax of the raw row, before penalties,
// temperature and filters, as OpenAI reports them. So they do not depend on the request's settings.
//
// One thread at a time: the object holds scratch memory, nothing that outlives a call.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace engine {

// A uniform number in [0, 1): a pure function of the request's seed and the position of the token
// in its sequence, so that batching, preemption and resuming draw the same.
double uniform(uint64_t seed, uint64_t position);

// How often every id stands in a sequence; kept only for requests with penalties.
class History {
 public:
  void add(int32_t id) { ++counts_[id]; }
  const std::unordered_map<int32_t, int>& counts() const { return counts_; }

 private:
  std::unordered_map<int32_t, int> counts_;
};

bool has_penalties(const SamplingParams& params);
// Ranges and finiteness; invalid_input names the field.
base::Result<void> check_sampling(const SamplingParams& params);

struct Choice {
  int32_t id = 0;
  double probability = 0;
};
struct IdLogprob {
  int32_t id = 0;
  float logprob = 0;
};

// Classifier-free guidance: without + weight * (with - without), in f32.
void guide(std::span<const float> with_text, std::span<const float> without_text, float weight,
           std::vector<float>& guided);

class Sampler {
 public:
  // The next id. `random` in [0, 1). Fails (internal) if the row has a NaN or +inf, or nothing
  // finite: such an id is never sampled.
  base::Result<int32_t> pick(std::span<const float> logits /* (vocab) */, const History& history,
                             const SamplingParams& params, double random);
  // The distribution that pick() draws from: kept ids, most likely first, lower id first.
  base::Result<std::vector<Choice>> distribution(std::span<const float> logits /* (vocab) */,
                                                 const History& history,
                                                 const SamplingParams& params);
  // Log-probabilities of `chosen` and of the `n` most likely ids, most likely first, from the raw
  // row. An id outside the row is reported as -inf.
  struct Logprobs {
    IdLogprob chosen;
    std::vector<IdLogprob> top;  // min(n, vocab) of them
  };
  base::Result<Logprobs> logprobs(std::span<const float> logits /* (vocab) */, int32_t chosen,
                                  int n);

 private:
  struct Candidate {
    int32_t id;
    double x;       // penalised logit over T, minus the best one: <= 0
    double weight;  // exp(x)
  };
  base::Result<double> best_logit(std::span<const float> logits) const;
  base::Result<void> apply_penalties(std::span<const float> logits, const History& history,
                                     const SamplingParams& params);
  base::Result<void> filter(std::span<const float> logits, const History& history,
                            const SamplingParams& params);
  int32_t argmax() const;
  void collect(double temperature);
  void keep_top_k(int k);
  void keep_top_p(double top_p);
  void keep_min_p(double min_p);

  std::vector<double> row_;  // (vocab) penalised logits
  std::vector<Candidate> kept_;
};

}  // namespace engine
