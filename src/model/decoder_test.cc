// The decoder against reference implementations (tests/golden/model), from both containers and
// with every instruction set of this machine, and the promise of runner.h: a row's result depends
// on nothing but its sequence.
#include "model/decoder.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/sanitized.h"
#include "model/golden_for_test.h"
#include "model/synthetic.h"

namespace model {
namespace {

using golden::Expected;
using golden::largest_difference;
using golden::Model;
using golden::Sequence;
using golden::Setting;
using golden::some_ids;

// Every family, from safetensors and, where there is one, from GGUF.
const char* const golden_paths[] = {
    "llama-gqa",
    "llama-gqa/model.gguf",
    "llama3-tied",
    "qwen2",
    "qwen2/model.gguf",
    "llama3-tied/model.gguf",
    "qwen2-tied",
    "qwen3-yarn",
    "qwen3-yarn/model.gguf",
    "ds-v2-lite",
    "ds-v2-lite/model.gguf",
    "ds-v2-lite/model-legacy.gguf",
    "ds-v3",
    "ds-v3/model.gguf",
    "ds-v3-fp8",
    "ds-v2-group",
    "kimi-like",
};

std::string folder_of(const std::string& path) {
  return path.ends_with(".gguf") ? std::filesystem::path(path).parent_path().string() : path;
}

void expect_prompts(Model& model, const Expected& expected) {
  for (const base::Json& prompt : expected["prompts"].as_array()) {
    const std::string name = prompt.find("name")->as_string();
    const auto ids = golden::ids_of(*prompt.find("ids"));
    const auto logits = golden::logits_of(model, ids, 1024);
    const auto wanted = expected.tensor(prompt.find("logits")->as_string());
    const int vocab = model.decoder->info().vocab;
    int row = 0;
    for (const int position : golden::ids_of(*prompt.find("logit_positions"))) {
      const double difference =
          largest_difference({&logits[int64_t{position} * vocab], size_t(vocab)},
                             {&wanted[int64_t{row++} * vocab], size_t(vocab)});
      EXPECT_LE(difference, expected.bound(name)) << name << " position " << position;
    }
  }
}

void expect_hidden(Model& model, const Expected& expected) {
  const base::Json& prompt = expected["prompts"].as_array()[1];
  ASSERT_EQ(prompt.find("name")->as_string(), "p7");
  std::vector<float> states;
  model.decoder->set_tap([&](int, const float* x, int rows) {
    const int64_t width =
        (expected.tensor("p7.hidden").size() / 7) / (model.decoder->info().layers + 1);
    states.insert(states.end(), x, x + rows * width);
  });
  golden::logits_of(model, golden::ids_of(*prompt.find("ids")), 1024);
  model.decoder->set_tap({});
  EXPECT_LE(largest_difference(states, expected.tensor("p7.hidden")), 5e-4);
}

void expect_greedy(Model& model, const Expected& expected) {
  for (const base::Json& greedy : expected["greedy"].as_array()) {
    auto ids = golden::ids_of(*greedy.find("ids"));
    const auto wanted = golden::ids_of(*greedy.find("continuation"));
    std::vector<int32_t> got;
    Sequence sequence(model);
    Logits logits;
    while (got.size() < wanted.size()) {
      const Origin origin = got.empty() ? Origin::prompt : Origin::sampled;
      Segment segment = sequence.segment(ids, Head::text, false, origin);
      ASSERT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
      ids = {golden::argmax(logits.row(0))};
      got.push_back(ids[0]);
    }
    EXPECT_EQ(got, wanted);
  }
}

class Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Golden, EqualsTheReferenceImplementation) {
  const std::string path = golden::folder(GetParam());
  const Expected expected(folder_of(path));
  for (const tensor::Isa isa : golden::isas()) {
    SCOPED_TRACE(std::string("with ") + std::string(tensor::isa_name(isa)));
    Model model(path, {.isa = isa});
    expect_prompts(model, expected);
    expect_hidden(model, expected);
    expect_greedy(model, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Decoder, Golden, ::testing::ValuesIn(golden_paths), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

// ---- invariance -------------------------------------------------------------------------------

// The same prompt in chunks, each step shared with other sequences at other depths.
std::vector<float> logits_in_company(Model& model, std::span<const int32_t> ids, int chunk) {
  const int vocab = model.decoder->info().vocab;
  Sequence sequence(model), first(model), second(model);
  const auto others = some_ids(600, vocab, 99);
  std::vector<float> all;
  Logits logits;
  for (size_t at = 0; at < ids.size(); at += chunk) {
    const size_t count = std::min<size_t>(chunk, ids.size() - at);
    Segment segments[] = {first.segment({&others[at % 500], 3}, Head::text, true),
                          sequence.segment(ids.subspan(at, count), Head::text, true),
                          second.segment({&others[at % 500], 17}, Head::none, false)};
    EXPECT_TRUE(model.decoder->forward(segments, logits).has_value());
    all.insert(all.end(), logits.values.begin() + 3 * vocab, logits.values.end());
  }
  return all;
}

void expect_invariance(const std::string& path, tensor::Precision precision, tensor::Isa isa,
                       int count) {
  SCOPED_TRACE(path + " with " + std::string(tensor::isa_name(isa)));
  Model reference(path, {.isa = isa, .precision = precision, .threads = 1});
  const auto ids = some_ids(count, reference.decoder->info().vocab, 5);
  const auto whole = golden::logits_of(reference, ids, 1024);
  for (const int threads : base::sanitized ? std::vector{2} : std::vector{1, 2, 3}) {
    Model model(path, {.isa = isa, .precision = precision, .threads = threads});
    for (const int chunk : {16, 64, 512}) {
      EXPECT_EQ(golden::logits_of(model, ids, chunk), whole) << chunk << ", " << threads;
    }
  }
  Model model(path, {.isa = isa, .precision = precision, .kv_pages = 400});
  EXPECT_EQ(golden::logits_of(model, ids, 1), whole);
  EXPECT_EQ(logits_in_company(model, ids, 64), whole);
  const int64_t some = int64_t{count} / 5 * reference.decoder->info().vocab;
  EXPECT_EQ(logits_in_company(model, {ids.data(), size_t(count) / 5}, 1),
            std::vector<float>(whole.begin(), whole.begin() + some));
}

class Synthetic : public ::testing::Test {
 protected:
  // A file with every common block type, removed at the end.
  static void SetUpTestSuite() {
    // Its own: the tiers run this program several times side by side.
    path_ = fmt::format("{}/decoder_test-{}.gguf", NAUTILE_BINARY_DIR, getpid());
    const auto shape = named_shape("tiny");
    ASSERT_TRUE(shape.has_value());
    const auto written = write_synthetic_gguf(path_, *shape, "MIXED", 1);
    ASSERT_TRUE(written.has_value()) << written.error().message();
  }
  static void TearDownTestSuite() { std::remove(path_.c_str()); }
  static std::string path_;
};
std::string Synthetic::path_;

TEST_F(Synthetic, RowDoesNotDependOnChunksBatchOrThreads) {
  // 530: past the first span of 512 keys.
  const int far = base::sanitized ? 140 : 530;
  expect_invariance(path_, tensor::Precision::int8, golden::isas().back(), far);
  expect_invariance(path_, tensor::Precision::exact, golden::isas().back(), 70);
  expect_invariance(golden::folder("qwen3-yarn"), tensor::Precision::int8, golden::isas().back(),
                    far);
  if (!golden::tests_scalar()) return;
  expect_invariance(path_, tensor::Precision::int8, tensor::Isa::scalar, 70);
  expect_invariance(golden::folder("llama-gqa"), tensor::Precision::exact, tensor::Isa::scalar, 70);
}

TEST_F(Synthetic, InstructionSetsAgreeUpToFloatOrder) {
  std::vector<std::vector<float>> logits;
  for (const tensor::Isa isa : golden::isas()) {
    Model model(path_, {.isa = isa, .precision = tensor::Precision::int8});
    logits.push_back(golden::logits_of(model, some_ids(70, model.decoder->info().vocab, 5), 64));
  }
  for (const auto& other : logits) {
    // Rounding to int8 can tip either way on the last bit of an f32 input, hence not 1e-5.
    EXPECT_LT(largest_difference(other, logits[0]), 0.2);
  }
}

TEST_F(Synthetic, LastRowAloneEqualsAllRows) {
  Model model(path_, {.isa = golden::isas().back(), .precision = tensor::Precision::int8});
  const int vocab = model.decoder->info().vocab;
  const auto ids = some_ids(90, vocab, 8);
  const auto all = golden::logits_of(model, ids, 90);
  Sequence sequence(model);
  Logits logits;
  Segment segment = sequence.segment(ids, Head::text, false);
  ASSERT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
  EXPECT_EQ(logits.values, std::vector<float>(all.end() - vocab, all.end()));
}

// ---- loading ------------------------------------------------------------------------------------

TEST_F(Synthetic, ModelThatDoesNotFitIsRefusedWithTheNumbers) {
  const auto files = format::ModelFiles::open(path_);
  ASSERT_TRUE(files.has_value());
  base::Pool pool(1);
  RunnerOptions options;
  options.pool = &pool;
  options.kv_pages = 64;
  const auto plan = Decoder::plan(**files, options);
  ASSERT_TRUE(plan.has_value());
  EXPECT_GE(plan->weight_bytes, (*files)->bytes_total() / 2);
  EXPECT_EQ(plan->kv_bytes, 64u * 64 * 2 * 2 * 2 * 64 * 2);  // tokens, layers, K and V, f16
  options.memory_bytes_max = plan->total_bytes() - 1;
  const auto refused = make_runner(**files, options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::out_of_memory);
  EXPECT_NE(refused.error().why.find("weights"), std::string::npos);
  options.memory_bytes_max = plan->total_bytes();
  EXPECT_TRUE(make_runner(**files, options).has_value());
}

TEST_F(Synthetic, LoadingReportsProgressAndStopsWhenToldTo) {
  const auto files = format::ModelFiles::open(path_);
  ASSERT_TRUE(files.has_value());
  base::Pool pool(2);
  RunnerOptions options;
  options.pool = &pool;
  options.kv_pages = 4;
  double last = 0;
  options.load.progress = [&](double fraction) { last = fraction; };
  EXPECT_TRUE(make_runner(**files, options).has_value());
  EXPECT_EQ(last, 1.0);
  std::atomic<bool> cancel{false};
  options.load.cancel = &cancel;
  options.load.progress = [&](double fraction) { cancel = fraction > 0.3; };
  const auto stopped = make_runner(**files, options);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().kind, base::ErrorKind::interrupted);
}

TEST_F(Synthetic, IdOutsideTheVocabularyIsAnError) {
  Model model(path_, {.precision = tensor::Precision::int8});
  Logits logits;
  for (const int32_t id : {-1, 512, 1 << 30}) {
    Sequence sequence(model);
    Segment segment = sequence.segment({&id, 1}, Head::text, false);
    const auto refused = model.decoder->forward({&segment, 1}, logits);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().kind, base::ErrorKind::invalid_input);
    EXPECT_EQ(sequence.kv.length, 0);
  }
}

}  // namespace
}  // namespace model
