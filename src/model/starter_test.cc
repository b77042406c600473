// The starter model (tools/fetch.py starter) against transformers on its dequantised weights
// (tests/golden/model/smollm2-135m-q4_1): exact mode equals it, int8 mode comes as near as
// llama.cpp does on the same file, or nearer.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>

#include "model/golden_for_test.h"

namespace model {
namespace {

using golden::Expected;
using golden::Model;
using golden::Sequence;

constexpr int teacher_chunk = 128;

std::string starter_path() {
  const char* set = std::getenv("NAUTILE_FETCH_DIR");
  const std::string fetched = set ? set : std::string(NAUTILE_SOURCE_DIR) + "/build/fetched";
  return fetched + "/starter/SmolLM2-135M-Instruct.Q4_1.gguf";
}

// Natural logarithms of the probabilities of a row.
std::vector<double> log_probabilities(std::span<const float> row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float x : row) sum += std::exp(x - top);
  std::vector<double> result(row.size());
  for (size_t i = 0; i < row.size(); ++i) result[i] = row[i] - top - std::log(sum);
  return result;
}

double divergence(std::span<const float> reference, std::span<const float> other) {
  const auto p = log_probabilities(reference), q = log_probabilities(other);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return sum;
}

class Starter : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(std::filesystem::exists(starter_path()))
        << starter_path() << " is missing: run tools/fetch.py starter";
    expected_ = std::make_unique<Expected>(golden::folder("smollm2-135m-q4_1"));
    const auto settings = [](tensor::Precision precision) {
      return golden::Setting{
          .isa = golden::isas().back(), .precision = precision, .batch_tokens_max = 512};
    };
    exact_ = std::make_unique<Model>(starter_path(), settings(tensor::Precision::exact));
    int8_ = std::make_unique<Model>(starter_path(), settings(tensor::Precision::int8));
  }
  static void TearDownTestSuite() {
    expected_.reset();
    exact_.reset();
    int8_.reset();
  }
  // Plain C++ is a hundred times slower and, by tensor_test, the same arithmetic.
  static bool plain() { return golden::isas().back() == tensor::Isa::scalar; }
  static const base::Json& peer(std::string_view block) {
    return *(*expected_)["llama_cpp"].find("f16_cache")->find(block);
  }

  static std::unique_ptr<Expected> expected_;
  static std::unique_ptr<Model> exact_, int8_;
};
std::unique_ptr<Expected> Starter::expected_;
std::unique_ptr<Model> Starter::exact_, Starter::int8_;

TEST_F(Starter, ExactModeGivesTheOraclesLogits) {
  for (const base::Json& prompt : (*expected_)["prompts"].as_array()) {
    const auto ids = golden::ids_of(*prompt.find("ids"));
    if (plain() && ids.size() > 20) continue;
    const auto logits = golden::logits_of(*exact_, ids, 512);
    const size_t vocab = exact_->decoder->info().vocab;
    for (const base::Json& at : prompt.find("positions")->as_array()) {
      const float* row = &logits[at.find("position")->as_integer() * vocab];
      const auto& values = at.find("top20_logits")->as_array();
      const auto top = golden::ids_of(*at.find("top20_ids"));
      for (size_t i = 0; i < top.size(); ++i) {
        EXPECT_NEAR(row[top[i]], values[i].as_number(), 5e-3);
      }
    }
    if (const base::Json* last = prompt.find("full_logits_last")) {
      const auto full = expected_->tensor(last->as_string());
      for (size_t i = 0; i < vocab; ++i) {
        ASSERT_NEAR(logits[logits.size() - vocab + i], full[i], 5e-3) << i;
      }
    }
  }
}

// Over the first tokens of the text: the most likely token, the loss in exact mode, and how far
// int8 activations go from exact ones.
TEST_F(Starter, Int8IsNoFartherFromExactThanThePeer) {
  const base::Json& forced = (*expected_)["teacher_forced"];
  auto ids = golden::ids_of(*forced.find("ids"));
  if (plain()) ids.resize(24);
  const auto exact = golden::logits_of(*exact_, ids, teacher_chunk);
  const auto int8 = golden::logits_of(*int8_, ids, teacher_chunk);
  const auto oracle_loss = expected_->tensor("perplexity.nll");
  const size_t vocab = exact_->decoder->info().vocab;
  double sum = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::span<const float> reference(&exact[i * vocab], vocab), row(&int8[i * vocab], vocab);
    sum += divergence(reference, row);
    const double margin = forced.find("margin")->as_array()[i].as_number();
    const auto top = forced.find("top1")->as_array()[i].as_integer();
    if (margin > 0.001) {
      EXPECT_EQ(golden::argmax(reference), top) << i;
    }
    if (margin > 0.5) {
      EXPECT_EQ(golden::argmax(row), top) << i << " margin " << margin;
    }
    if (i + 1 < ids.size()) {
      EXPECT_NEAR(-log_probabilities(reference)[ids[i + 1]], oracle_loss[i], 1e-3);
    }
  }
  const double mean = sum / static_cast<double>(ids.size());
  RecordProperty("kl_mean", std::to_string(mean));
  if (!plain()) {
    EXPECT_LE(mean, peer("teacher_forced").find("kl_mean")->as_number());
  }
}

TEST_F(Starter, Int8PerplexityIsWithinOnePercent) {
  const base::Json& perplexity = (*expected_)["perplexity"];
  auto ids = golden::ids_of(*perplexity.find("ids"));
  if (plain()) ids.resize(100);
  const auto oracle = expected_->tensor("perplexity.nll");
  Sequence sequence(*int8_);
  Logits logits;
  double difference = 0;
  for (size_t first = 0; first < ids.size(); first += teacher_chunk) {
    const size_t count = std::min<size_t>(teacher_chunk, ids.size() - first);
    Segment segment = sequence.segment({&ids[first], count}, Head::text, true);
    ASSERT_TRUE(int8_->decoder->forward({&segment, 1}, logits).has_value());
    for (size_t i = 0; i < count && first + i + 1 < ids.size(); ++i) {
      const auto row = log_probabilities(logits.row(static_cast<int>(i)));
      difference += -row[ids[first + i + 1]] - oracle[first + i];
    }
  }
  const double ratio = std::exp(difference / static_cast<double>(ids.size() - 1));
  RecordProperty("perplexity_ratio", std::to_string(ratio));
  EXPECT_NEAR(ratio, 1.0, plain() ? 0.05 : 0.01);  // a short text has a fifth of the tokens
}

}  // namespace
}  // namespace model
