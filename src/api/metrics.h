// What /metrics says, under vLLM's names with vLLM's meanings and units, because dashboards exist
// for them. Numbers only. Loop thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "net/server.h"

namespace api {

// Prometheus' cumulative histogram over fixed upper bounds.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)) {
    counts_.resize(bounds_.size() + 1);
  }
  void add(double value);
  void write(std::string& out, const std::string& name, const std::string& labels) const;

 private:
  std::vector<double> bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
  uint64_t count_ = 0;
};

// One sequence that ended, as the gate saw it.
struct FinishedSequence {
  std::string model;
  engine::EndReason reason = engine::EndReason::stop;
  engine::Usage usage;
  double first_token_s = -1;  // since the request arrived; < 0: there was none
  double whole_s = 0;
  int tokens_max = -1;  // < 0: until the context is full
  int choices = 1;
};

class Metrics {
 public:
  void finished(const FinishedSequence& sequence);
  void between_tokens(const std::string& model, double seconds, int tokens);
  void answered(int status) { ++responses_[status]; }

  std::string text(const engine::EngineStats& stats, const std::vector<engine::ModelStatus>& models,
                   const net::ServerStats& server) const;

 private:
  struct PerModel {
    PerModel();
    std::array<uint64_t, 4> ended{};  // by EndReason
    Histogram first_token, inter_token, whole, queue, prefill, decode;
    Histogram prompt_tokens, generation_tokens, tokens_max, choices;
  };
  PerModel& of(const std::string& model);

  std::map<std::string, PerModel> models_;  // keys are ids of models(), so bounded
  std::map<int, uint64_t> responses_;
};

}  // namespace api
