// The promise of house.md on real runners: the tokens and log-probabilities of a request do not
// depend on batch, chunking, threads or cache. 200 random requests on the tiny golden models, and
// the greedy answers that the reference implementation gave for them.
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "base/json.h"
#include "engine/fake_model_for_test.h"
#include "engine/local_client.h"

namespace engine {
namespace {

const char* const families[] = {"llama-gqa",  "llama3-tied", "qwen2", "qwen2-tied", "qwen3-yarn",
                                "ds-v2-lite", "ds-v2-group", "ds-v3", "ds-v3-fp8",  "kimi-like"};
// 40 of each family; fewer where a sanitizer or scalar code makes each of them ten times as long.
int cases_per_family() { return std::getenv("NAUTILE_SLOW_MACHINE") ? 8 : 40; }

std::string folder(const std::string& family) {
  return std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/" + family;
}

base::Json expected_of(const std::string& family) {
  std::ifstream file(folder(family) + "/expected.json");
  std::stringstream text;
  text << file.rdbuf();
  auto json = base::parse_json(text.str(), "expected.json");
  EXPECT_TRUE(json.has_value()) << family;
  return json ? *json : base::Json();
}

struct Setting {
  int threads = 1;
  int chunk = 64;
  int running_max = 8;
  bool cache = true;
  bool exact = false;
  SpeculationMode speculation = SpeculationMode::automatic;
  int expert_places = 0;
};

std::unique_ptr<EngineClient> open(const std::string& family, const Setting& setting) {
  EngineOptions options;
  options.models = {{.id = "m", .path = folder(family)}};
  options.threads = setting.threads;
  options.prompt_chunk_tokens = setting.chunk;
  options.running_max = setting.running_max;
  options.prefix_cache = setting.cache;
  options.exact = setting.exact;
  options.speculation = setting.speculation;
  options.expert_places = setting.expert_places;
  options.kv_tokens = 4096;
  if (const char* isa = std::getenv("NAUTILE_ISA")) options.isa = isa;
  auto client = make_local_client(options);
  EXPECT_TRUE(client.has_value()) << client.error().message();
  return client ? std::move(*client) : nullptr;
}

std::vector<Request> random_requests(uint64_t seed, int count, int context_tokens) {
  base::SeededRandom random(seed);
  std::vector<Request> requests;
  for (int i = 0; i < count; ++i) {
    Request r;
    r.id = static_cast<uint64_t>(i) + 1;
    r.model = "m";
    IdsPrompt prompt;
    auto length = 1 + random.below(static_cast<uint64_t>(context_tokens) * 3 / 4);
    // A quarter shares its beginning with others, so that a warm cache has something to give.
    uint64_t text = random.below(4) == 0 ? 7 : 100 + random.below(1000);
    base::SeededRandom ids(text);
    for (uint64_t n = 0; n < length; ++n) {
      prompt.ids.push_back(static_cast<int32_t>(ids.below(250)));
    }
    r.tokens_max = 1 + static_cast<int>(random.below(static_cast<uint64_t>(context_tokens) / 4));
    r.prompt = std::move(prompt);
    r.sampling.temperature = random.below(3) == 0 ? 0.0 : 0.9;
    if (random.below(2) == 0) r.sampling.top_p = 0.9;
    if (random.below(4) == 0) r.sampling.frequency_penalty = 0.5;
    r.sampling.seed = random.u64();
    r.ignore_end_tokens = true;
    r.logprobs_top = 3;
    r.account = random.below(3);
    requests.push_back(std::move(r));
  }
  return requests;
}

struct Answer {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
};

// All requests at once (as many as running_max are computed together); by their order.
std::vector<Answer> answers(EngineClient& client, const std::vector<Request>& requests,
                            uint64_t id_offset = 0) {
  Collector collector;
  for (Request r : requests) {
    r.id += id_offset;
    auto started = client.start(r, collector.sink());
    EXPECT_TRUE(started.has_value()) << started.error().message();
  }
  std::vector<Answer> all;
  for (const Request& r : requests) {
    End end = collector.wait_end(r.id + id_offset);
    EXPECT_EQ(end.reason, EndReason::length) << end.error.message();
    all.push_back({collector.ids(r.id + id_offset), collector.logprobs(r.id + id_offset)});
  }
  return all;
}

void expect_same(const std::vector<Answer>& got, const std::vector<Answer>& expected,
                 const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].ids, expected[i].ids) << what << ", request " << i;
    EXPECT_EQ(got[i].logprobs, expected[i].logprobs) << what << ", request " << i;
  }
}

class Invariance : public testing::TestWithParam<const char*> {};

TEST_P(Invariance, BatchChunksThreadsAndCacheChangeNothing) {
  std::string family = GetParam();
  auto alone = open(family, {.threads = 1, .chunk = 64, .running_max = 1, .cache = false});
  ASSERT_TRUE(alone);
  int context = std::min(alone->models()[0].context_tokens, 320);
  auto requests =
      random_requests(static_cast<uint64_t>(family.size()), cases_per_family(), context);
  auto expected = answers(*alone, requests);
  alone.reset();
  for (int chunk : {16, 64, 512}) {
    int threads = chunk == 64 ? 1 : 2;
    auto batch = open(family, {.threads = threads, .chunk = chunk, .running_max = 8});
    ASSERT_TRUE(batch);
    std::string what = fmt::format("{}, chunk {}, {} threads", family, chunk, threads);
    expect_same(answers(*batch, requests), expected, what + ", cold");
    expect_same(answers(*batch, requests, 1000), expected, what + ", warm");
    EXPECT_GT(batch->stats().cached_tokens, 0u);
  }
}

// Guessing two ids a step with the model's own layer for it, and taking back what was wrong.
TEST(Speculation, OnAndOffGiveTheSameTokens) {
  for (const char* family : {"ds-v3", "ds-v3-fp8"}) {
    auto off = open(family, {.speculation = SpeculationMode::off});
    ASSERT_TRUE(off);
    auto requests = random_requests(9, cases_per_family() / 2, 320);
    auto expected = answers(*off, requests);
    off.reset();
    for (int threads : {1, 2}) {
      auto on = open(
          family,
          {.threads = threads, .chunk = 48, .running_max = 4, .speculation = SpeculationMode::on});
      ASSERT_TRUE(on);
      expect_same(answers(*on, requests), expected, std::string(family) + ", guessing, cold");
      expect_same(answers(*on, requests, 1000), expected, std::string(family) + ", guessing, warm");
    }
  }
}

// Experts that are read from disk when they are chosen, and give way to others.
TEST(ExpertsOnDisk, TokensAreThoseOfTheModelInMemory) {
  for (const char* family : {"ds-v2-lite", "ds-v3", "kimi-like"}) {
    auto resident = open(family, {.speculation = SpeculationMode::off});
    ASSERT_TRUE(resident);
    auto requests = random_requests(12, cases_per_family() / 4, 320);
    auto expected = answers(*resident, requests);
    resident.reset();
    for (int places : {1, 5}) {
      auto from_disk = open(family, {.threads = 2,
                                     .running_max = 4,
                                     .speculation = SpeculationMode::on,
                                     .expert_places = places});
      ASSERT_TRUE(from_disk);
      expect_same(answers(*from_disk, requests), expected,
                  fmt::format("{}, {} places", family, places));
    }
  }
}

TEST_P(Invariance, TheReferencesGreedyAnswers) {
  std::string family = GetParam();
  auto client = open(family, {.threads = 2, .chunk = 16, .exact = true});
  ASSERT_TRUE(client);
  base::Json expected = expected_of(family);
  std::vector<Request> requests;
  std::vector<std::vector<int32_t>> ids;
  for (const base::Json& greedy : expected.find("greedy")->as_array()) {
    Request r;
    r.id = requests.size() + 1;
    r.model = "m";
    IdsPrompt prompt;
    for (const auto& id : greedy.find("ids")->as_array()) {
      prompt.ids.push_back(static_cast<int32_t>(id.as_integer()));
    }
    r.prompt = prompt;
    std::vector<int32_t> answer;
    for (const auto& id : greedy.find("continuation")->as_array()) {
      answer.push_back(static_cast<int32_t>(id.as_integer()));
    }
    r.tokens_max = static_cast<int>(answer.size());
    r.sampling.temperature = 0;
    r.ignore_end_tokens = true;
    requests.push_back(r);
    ids.push_back(answer);
  }
  ASSERT_FALSE(requests.empty());
  auto got = answers(*client, requests);
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(got[i].ids, ids[i]) << family << " " << i;
}

INSTANTIATE_TEST_SUITE_P(Families, Invariance, testing::ValuesIn(families), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// ---- the starter: real, quantised weights ------------------------------------------------------

std::string starter_path() {
  const char* set = std::getenv("NAUTILE_FETCH_DIR");
  std::string fetched = set ? set : std::string(NAUTILE_SOURCE_DIR) + "/build/fetched";
  return fetched + "/starter/SmolLM2-135M-Instruct.Q4_1.gguf";
}

std::unique_ptr<EngineClient> open_starter(int threads, int chunk, int running_max) {
  EngineOptions options;
  options.models = {{.id = "m", .path = starter_path(), .starter = true, .context_tokens = 2048}};
  options.threads = threads;
  options.prompt_chunk_tokens = chunk;
  options.running_max = running_max;
  if (const char* isa = std::getenv("NAUTILE_ISA")) options.isa = isa;
  auto client = make_local_client(options);
  EXPECT_TRUE(client.has_value()) << client.error().message();
  return client ? std::move(*client) : nullptr;
}

Request starter_request(uint64_t id, std::string question, int tokens_max, double temperature) {
  Request r;
  r.id = id;
  r.model = "m";
  r.prompt = ChatPrompt{{{.role = "user", .content = std::move(question)}}};
  r.tokens_max = tokens_max;
  r.sampling.temperature = temperature;
  r.sampling.seed = 40 + id;
  r.logprobs_top = 5;
  r.account = id % 2;
  return r;
}

TEST(Starter, AnswersAsTheReferenceDoesAndStopsByItself) {
  auto client = open_starter(2, 0, 4);
  ASSERT_TRUE(client);
  ModelStatus status = client->models()[0];
  EXPECT_EQ(status.thinking, ThinkingSupport::never);
  EXPECT_TRUE(status.has_template);
  EXPECT_EQ(status.defaults.find("temperature")->as_number(), 0.2);
  Collector collector;
  // The first words are those of the reference implementation for this prompt, each with a margin.
  Request r =
      starter_request(1, "Why is the sea salty? Answer in two sentences.", 100, /*temperature=*/0);
  ASSERT_TRUE(client->start(r, collector.sink()).has_value());
  End end = collector.wait_end(1);
  EXPECT_EQ(end.reason, EndReason::stop) << end.error.message();
  EXPECT_EQ(end.usage.prompt_tokens, 41);
  std::string text = collector.text(1, Part::answer);
  EXPECT_TRUE(text.starts_with("The sea is salty because it contains a high concentration of salt"))
      << text;
  EXPECT_EQ(text.find("<|im_end|>"), std::string::npos);
}

TEST(Starter, BatchChunksThreadsAndCacheChangeNothing) {
  std::vector<Request> requests;
  std::string words;
  for (uint64_t id = 1; id <= 4; ++id) {
    for (int i = 0; i < 40; ++i) words += fmt::format(" word {}", i * id);
    requests.push_back(starter_request(id, "Repeat:" + words, 12, id % 2 ? 0.8 : 0.0));
    requests.back().ignore_end_tokens = true;
  }
  auto alone = open_starter(1, 64, 1);
  ASSERT_TRUE(alone);
  auto expected = answers(*alone, requests);
  alone.reset();
  auto batch = open_starter(2, 48, 4);
  ASSERT_TRUE(batch);
  expect_same(answers(*batch, requests), expected, "starter, batch, cold");
  expect_same(answers(*batch, requests, 1000), expected, "starter, batch, warm");
}

}  // namespace
}  // namespace engine
