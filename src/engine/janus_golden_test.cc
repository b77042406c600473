// Janus through the whole engine, from files of pictures and messages to answers and pictures:
// what the reference implementation gave, and that nothing else that runs changes it.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "base/json.h"
#include "engine/fake_model_for_test.h"
#include "engine/local_client.h"

namespace engine {
namespace {

std::string folder(const std::string& family) {
  return std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/" + family;
}
std::string file_of(const std::string& name) {
  std::ifstream file(folder("janus-hf") + "/" + name, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  EXPECT_FALSE(bytes.str().empty()) << name;
  return bytes.str();
}
// janus-original has the expected values of janus-hf.
const base::Json& expected() {
  static const base::Json json = [] {
    auto parsed = base::parse_json(file_of("expected.json"), "expected.json");
    EXPECT_TRUE(parsed.has_value());
    return parsed ? *parsed : base::Json();
  }();
  return json;
}
std::string tensor(const std::string& name) {
  const base::Json& about = *expected().find("tensors")->find(name);
  return file_of("expected.bin")
      .substr(static_cast<size_t>(about.find("offset")->as_integer()),
              static_cast<size_t>(about.find("bytes")->as_integer()));
}
std::vector<int32_t> ids_of(const base::Json& list) {
  std::vector<int32_t> ids;
  for (const auto& id : list.as_array()) ids.push_back(static_cast<int32_t>(id.as_integer()));
  return ids;
}
std::string between(const std::string& text, const std::string& from, const std::string& until) {
  const size_t begin = text.find(from) + from.size();
  return text.substr(begin, text.find(until, begin) - begin);
}

// The reader's work without its processes, which media's own tests are about.
class ReaderHere final : public media::PictureReader {
 public:
  base::Result<std::vector<uint8_t>> fit(std::span<const uint8_t> bytes,
                                         const media::Fit& fit) override {
    return media::decode_and_fit(bytes, fit);
  }
};

struct Setting {
  int threads = 2;
  int chunk = 0;
  int running_max = 16;
  bool cache = true;
  bool exact = false;
};
std::unique_ptr<EngineClient> open(const std::string& family, const Setting& setting) {
  EngineOptions options;
  options.models = {{.id = "m", .path = folder(family)}};
  options.threads = setting.threads;
  options.prompt_chunk_tokens = setting.chunk;
  options.running_max = setting.running_max;
  options.prefix_cache = setting.cache;
  options.exact = setting.exact;
  options.kv_tokens = 4096;
  options.pictures = std::make_shared<ReaderHere>();
  if (const char* isa = std::getenv("NAUTILE_ISA")) options.isa = isa;
  auto client = make_local_client(options);
  EXPECT_TRUE(client.has_value()) << client.error().message();
  return client ? std::move(*client) : nullptr;
}

Request question(uint64_t id, const base::Json& example) {
  std::string text =
      between(example.find("prompt")->as_string(), "<|User|>: ", "\n\n<|Assistant|>:");
  Message message{.role = "user", .content = {}, .pictures = {}};
  for (const base::Json& name : example.find("pictures")->as_array()) {
    text = text.substr(std::string("<image_placeholder>\n").size());
    message.pictures.push_back({0, file_of(name.as_string() + ".png")});
  }
  message.content = text;
  Request r;
  r.id = id;
  r.model = "m";
  r.prompt = ChatPrompt{{message}};
  r.sampling.temperature = 0;
  r.tokens_max = static_cast<int>(example.find("greedy")->as_array().size());
  r.ignore_end_tokens = true;
  return r;
}
Request drawing(uint64_t id, int pictures, uint64_t seed, double temperature) {
  Request r;
  r.id = id;
  r.model = "m";
  DrawPrompt prompt;
  prompt.text = between(expected().find("generation")->find("prompt")->as_string(),
                        "<|User|>: ", "\n\n<|Assistant|>:");
  prompt.pictures = pictures;
  r.prompt = prompt;
  r.sampling.temperature = temperature;
  r.sampling.seed = seed;
  return r;
}

std::vector<Drawn> drawn_of(Collector& collector, uint64_t id) {
  End end = collector.wait_end(id);
  EXPECT_EQ(end.reason, EndReason::stop) << end.error.message();
  auto drawn = collector.all<Drawn>(id);
  std::sort(drawn.begin(), drawn.end(),
            [](const Drawn& a, const Drawn& b) { return a.picture < b.picture; });
  return drawn;
}

// At most one level apart, by byte.
void expect_pixels(const std::string& png, const std::string& name) {
  auto decoded = media::decode({reinterpret_cast<const uint8_t*>(png.data()), png.size()});
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message();
  const std::string pixels = tensor(name);
  ASSERT_EQ(decoded->values.size() / 4, pixels.size() / 3);
  int worst = 0;
  for (size_t i = 0; i < pixels.size(); ++i) {
    const int level = decoded->values[i / 3 * 4 + i % 3];
    worst = std::max(worst, std::abs(level - static_cast<uint8_t>(pixels[i])));
  }
  EXPECT_LE(worst, 1) << name;
}

class Janus : public testing::TestWithParam<const char*> {};

TEST_P(Janus, SeesWhatTheReferenceSees) {
  auto client = open(GetParam(), {.exact = true});
  ASSERT_TRUE(client);
  const ModelStatus status = client->models()[0];
  EXPECT_TRUE(status.sees);
  EXPECT_EQ(status.picture_tokens, 38);
  EXPECT_EQ(status.drawn_side, 96);
  EXPECT_GT(status.weight_bytes, 1'200'000u) << "what sees and draws is most of this file";
  Collector collector;
  uint64_t id = 0;
  for (const base::Json& example : expected().find("understanding")->as_array()) {
    auto started = client->start(question(++id, example), collector.sink());
    ASSERT_TRUE(started.has_value()) << started.error().message();
  }
  id = 0;
  for (const base::Json& example : expected().find("understanding")->as_array()) {
    const End end = collector.wait_end(++id);
    EXPECT_EQ(end.reason, EndReason::length) << end.error.message();
    EXPECT_EQ(end.usage.prompt_tokens, static_cast<int>(example.find("ids")->as_array().size()));
    EXPECT_EQ(collector.ids(id), ids_of(*example.find("greedy")))
        << example.find("name")->as_string();
  }
}

TEST_P(Janus, DrawsWhatTheReferenceDraws) {
  auto client = open(GetParam(), {.exact = true});
  ASSERT_TRUE(client);
  Collector collector;
  ASSERT_TRUE(client->start(drawing(1, 2, 1, /*temperature=*/0), collector.sink()).has_value());
  for (const Drawn& drawn : drawn_of(collector, 1)) {
    EXPECT_EQ(drawn.codes, ids_of(*expected().find("generation")->find("greedy_codes")));
    expect_pixels(drawn.png, "dec.greedy.u8");
  }
  EXPECT_EQ(collector.all<Drawn>(1).size(), 2u);
  const base::Json& random = expected().find("decode")->find("grids")->as_array()[0];
  Request codes = drawing(2, 1, 1, 0);
  std::get<DrawPrompt>(codes.prompt).codes = ids_of(*random.find("codes"));
  ASSERT_TRUE(client->start(codes, collector.sink()).has_value());
  const auto decoded = drawn_of(collector, 2);
  ASSERT_EQ(decoded.size(), 1u);
  expect_pixels(decoded[0].png, "dec.random.u8");
}

// Answers and pictures with the arithmetic that is served, however it is cut and mixed.
TEST_P(Janus, BatchChunksThreadsAndCacheChangeNothing) {
  std::vector<Request> requests;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    requests.push_back(drawing(seed, 1 + static_cast<int>(seed % 3), seed * 10, 1.0));
  }
  for (const base::Json& example : expected().find("understanding")->as_array()) {
    requests.push_back(question(requests.size() + 1, example));
    requests.back().sampling.temperature = 0.9;
    requests.back().sampling.seed = requests.size();
  }
  struct Result {
    std::vector<int32_t> ids;
    std::vector<std::string> pictures;
    bool operator==(const Result&) const = default;
  };
  const auto run = [&](EngineClient& client, bool together, uint64_t offset) {
    Collector collector;
    std::vector<Result> results;
    for (Request r : requests) {
      r.id += offset;
      EXPECT_TRUE(client.start(r, collector.sink()).has_value());
      if (!together) collector.wait_end(r.id);
    }
    for (const Request& r : requests) {
      collector.wait_end(r.id + offset);
      Result result{collector.ids(r.id + offset), {}};
      auto drawn = collector.all<Drawn>(r.id + offset);
      std::sort(drawn.begin(), drawn.end(),
                [](const Drawn& a, const Drawn& b) { return a.picture < b.picture; });
      for (const Drawn& picture : drawn) result.pictures.push_back(picture.png);
      EXPECT_FALSE(result.ids.empty() && result.pictures.empty());
      results.push_back(std::move(result));
    }
    return results;
  };
  auto alone = open(GetParam(), {.threads = 1, .chunk = 64, .running_max = 1, .cache = false});
  ASSERT_TRUE(alone);
  const auto expected_results = run(*alone, false, 0);
  alone.reset();
  for (int chunk : {16, 512}) {
    auto batch = open(GetParam(), {.threads = 2, .chunk = chunk});
    ASSERT_TRUE(batch);
    EXPECT_EQ(run(*batch, true, 0), expected_results) << "chunk " << chunk << ", cold";
    EXPECT_EQ(run(*batch, true, 1000), expected_results) << "chunk " << chunk << ", warm";
  }
}

INSTANTIATE_TEST_SUITE_P(Namings, Janus, testing::Values("janus-hf", "janus-original"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace engine
