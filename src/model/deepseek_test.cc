// What only the DeepSeek families have, against the reference (tests/golden/model/ds-*, kimi-like):
// which experts a row chooses, the layer that predicts one id more; and that the two forms of
// latent attention agree. Logits, states and greedy ids of these families are in decoder_test.cc.
#include <cstring>
#include <fmt/format.h>
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

constexpr const char* families[] = {"ds-v2-lite", "ds-v2-group", "ds-v3", "ds-v3-fp8", "kimi-like"};

// By layer: (rows, experts_used), experts ascending as the goldens list them.
using Routing = std::map<int, std::vector<std::vector<Route>>>;

Routing routing_of(Model& model, std::span<const int32_t> ids) {
  Routing routing;
  model.decoder->set_routing_tap([&](int layer, std::span<const Route> routes) {
    const size_t used = routes.size() / ids.size();
    for (size_t row = 0; row < ids.size(); ++row) {
      std::vector<Route> sorted(routes.begin() + row * used, routes.begin() + (row + 1) * used);
      std::sort(sorted.begin(), sorted.end(),
                [](const Route& a, const Route& b) { return a.expert < b.expert; });
      routing[layer].push_back(sorted);
    }
  });
  golden::logits_of(model, ids, 1024);
  model.decoder->set_routing_tap({});
  return routing;
}

TEST(DeepSeek, RowsChooseTheExpertsOfTheReference) {
  for (const char* family : families) {
    const Expected expected(golden::folder(family));
    const base::Json& prompt = expected["prompts"].as_array()[1];
    for (const tensor::Isa isa : golden::isas()) {
      SCOPED_TRACE(std::string(family) + " with " + std::string(tensor::isa_name(isa)));
      Model model(golden::folder(family), {.isa = isa});
      Routing routing = routing_of(model, golden::ids_of(*prompt.find("ids")));
      for (const base::Json& wanted : prompt.find("routing")->as_array()) {
        const auto& layer = routing[static_cast<int>(wanted.find("layer")->as_integer())];
        const auto& experts = wanted.find("experts")->as_array();
        const auto& weights = wanted.find("weights_by_expert")->as_array();
        ASSERT_EQ(layer.size(), experts.size());
        for (size_t row = 0; row < layer.size(); ++row) {
          const auto chosen = golden::ids_of(experts[row]);
          ASSERT_EQ(layer[row].size(), chosen.size());
          for (size_t i = 0; i < chosen.size(); ++i) {
            EXPECT_EQ(layer[row][i].expert, chosen[i]) << "row " << row;
            EXPECT_NEAR(layer[row][i].weight, weights[row].as_array()[i].as_number(), 2e-5);
          }
        }
      }
    }
  }
}

// Sampled ids attend with absorbed queries, prompts to expanded keys: the same function.
TEST(DeepSeek, AbsorbedAndExpandedAttentionAgree) {
  for (const char* family : families) {
    const std::string folder = golden::folder(family);
    const Expected expected(folder);
    for (const tensor::Isa isa : golden::isas()) {
      SCOPED_TRACE(std::string(family) + " with " + std::string(tensor::isa_name(isa)));
      Model model(folder, {.isa = isa});
      const base::Json& prompt = expected["prompts"].as_array()[3];
      const auto ids = golden::ids_of(*prompt.find("ids"));
      const auto expanded = golden::logits_of(model, ids, 1024);
      const auto absorbed = golden::logits_of(model, ids, 1024, Origin::sampled);
      EXPECT_LE(largest_difference(absorbed, expanded),
                2 * expected.bound(prompt.find("name")->as_string()));
      EXPECT_NE(absorbed, expanded);  // two forms indeed
    }
  }
}

// ---- the layer that predicts one id more --------------------------------------------------------

TEST(DeepSeek, MtpEqualsTheReference) {
  for (const char* family : {"ds-v3", "ds-v3-fp8"}) {
    const std::string folder = golden::folder(family);
    const Expected expected(folder);
    for (const tensor::Isa isa : golden::isas()) {
      Model model(folder, {.isa = isa, .mtp = true});
      ASSERT_TRUE(model.decoder->info().mtp);
      const int vocab = model.decoder->info().vocab;
      for (const base::Json& prompt : expected["prompts"].as_array()) {
        const std::string name = prompt.find("name")->as_string();
        const base::Json* mtp = expected["mtp"].find(name);
        if (!mtp) continue;
        SCOPED_TRACE(std::string(family) + " " + name);
        const auto ids = golden::ids_of(*prompt.find("ids"));
        const auto logits = golden::logits_of(model, ids, 64, Origin::prompt, Head::mtp);
        ASSERT_EQ(logits.size(), (ids.size() - 1) * vocab);
        const base::Json& wanted = *mtp->find("postnorm");
        const auto values = expected.tensor(wanted.find("logits")->as_string());
        int row = 0;
        for (const int position : golden::ids_of(*wanted.find("positions"))) {
          EXPECT_LE(largest_difference({&logits[int64_t{position} * vocab], size_t(vocab)},
                                       {&values[int64_t{row++} * vocab], size_t(vocab)}),
                    expected.bound(name))
              << position;
        }
      }
    }
  }
}

TEST(DeepSeek, MtpDoesNotChangeWhatTheMainLayersSay) {
  Model with(golden::folder("ds-v3"), {.isa = golden::isas().back(), .mtp = true});
  Model without(golden::folder("ds-v3"), {.isa = golden::isas().back()});
  EXPECT_FALSE(without.decoder->info().mtp);
  const auto ids = some_ids(200, 288, 3);
  EXPECT_EQ(golden::logits_of(with, ids, 64), golden::logits_of(without, ids, 64));
}

std::vector<float> draft(Model& model, Sequence& sequence, int32_t id) {
  Logits logits;
  Segment segment = sequence.segment({&id, 1}, Head::none, false, Origin::sampled);
  EXPECT_TRUE(model.decoder->draft({&segment, 1}, logits).has_value());
  return logits.values;
}

std::vector<float> forward(Model& model, Sequence& sequence, std::span<const int32_t> ids,
                           Origin origin, Head head = Head::text) {
  Logits logits;
  Segment segment = sequence.segment(ids, head, true, origin);
  EXPECT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
  return logits.values;
}

// A draft is what the head says when its id has been computed, and leaves no trace.
TEST(DeepSeek, DraftEqualsTheHeadOfALaterStep) {
  for (const tensor::Precision precision : {tensor::Precision::exact, tensor::Precision::int8}) {
    Model model(golden::folder("ds-v3"),
                {.isa = golden::isas().back(), .precision = precision, .mtp = true});
    const auto ids = some_ids(130, 288, 4);
    Sequence sequence(model);
    forward(model, sequence, {ids.data(), 60}, Origin::prompt);
    for (int i = 60; i < 130; ++i) {
      const auto guess = draft(model, sequence, ids[i]);
      EXPECT_EQ(sequence.kv.length, i);
      EXPECT_EQ(forward(model, sequence, {&ids[i], 1}, Origin::sampled, Head::mtp), guess) << i;
    }
  }
}

// The bytes of a sequence's pages that stand for positions before its length.
std::vector<uint8_t> written(Model& model, const Sequence& sequence) {
  std::vector<uint8_t> bytes;
  const KvLayout layout = model.decoder->kv_layout();
  const uint64_t element = layout.k == tensor::Dtype::f32 ? 4 : 2;
  for (int position = 0; position < sequence.kv.length; ++position) {
    const uint8_t* page = model.decoder->page_for_test(sequence.kv.pages[position / page_tokens]);
    const int slot = position % page_tokens;
    for (int layer = 0; layer < layout.layers; ++layer) {
      const uint8_t* block = page + layer * page_tokens * layout.width_k * element;
      for (int d = 0; d < layout.width_k; ++d) {
        const uint64_t at = (uint64_t(slot / 16) * layout.width_k + d) * 16 + slot % 16;
        bytes.insert(bytes.end(), block + at * element, block + (at + 1) * element);
      }
    }
    if (position == sequence.kv.length - 1) {  // the last state
      const uint8_t* state = page + layout.layers_bytes() +
                             position % states_kept * layout.state_width * sizeof(float);
      bytes.insert(bytes.end(), state, state + layout.state_width * sizeof(float));
    }
  }
  return bytes;
}

// Guesses that are wrong are computed beside the right id, and taken back.
TEST(DeepSeek, RejectedDraftsLeaveTheSameState) {
  for (const tensor::Precision precision : {tensor::Precision::exact, tensor::Precision::int8}) {
    Model model(golden::folder("ds-v3"),
                {.isa = golden::isas().back(), .precision = precision, .mtp = true});
    const auto ids = some_ids(150, 288, 6);
    Sequence plain(model), speculating(model);
    forward(model, plain, {ids.data(), 50}, Origin::prompt);
    forward(model, speculating, {ids.data(), 50}, Origin::prompt);
    for (int i = 50; i < 150; ++i) {
      const auto wanted = forward(model, plain, {&ids[i], 1}, Origin::sampled);
      draft(model, speculating, ids[i]);
      const int32_t pair[] = {ids[i], (ids[(i + 1) % 150] + 1) % 288};
      auto got = forward(model, speculating, pair, Origin::sampled);
      got.resize(wanted.size());
      EXPECT_EQ(got, wanted) << i;
      speculating.kv.length -= 1;
    }
    EXPECT_EQ(written(model, speculating), written(model, plain));
    EXPECT_EQ(draft(model, speculating, 7), draft(model, plain, 7));
  }
}

// ---- invariance
// -----------------------------------------------------------------------------------

// Chunks, company and threads, with both origins and both heads.
void expect_invariance(const std::string& path, tensor::Precision precision, tensor::Isa isa,
                       int count, bool mtp) {
  SCOPED_TRACE(path + " with " + std::string(tensor::isa_name(isa)));
  Model reference(path, {.isa = isa, .precision = precision, .threads = 1, .mtp = mtp});
  const int vocab = reference.decoder->info().vocab;
  const auto ids = some_ids(count, vocab, 5), others = some_ids(600, vocab, 99);
  for (const Origin origin : {Origin::prompt, Origin::sampled}) {
    for (const Head head : {Head::text, Head::mtp}) {
      if (head == Head::mtp && !mtp) continue;
      const std::string what = std::string(origin == Origin::prompt ? "prompt" : "sampled") +
                               (head == Head::mtp ? ", mtp" : ", text");
      const auto whole = golden::logits_of(reference, ids, 1024, origin, head);
      for (const int threads : base::sanitized ? std::vector{2} : std::vector{1, 3}) {
        Model model(path, {.isa = isa, .precision = precision, .threads = threads, .mtp = mtp});
        for (const int chunk : {16, 100}) {
          golden::expect_same(golden::logits_of(model, ids, chunk, origin, head), whole, vocab,
                              what + fmt::format(", chunk {}, {} threads", chunk, threads));
        }
      }
      Model model(path, {.isa = isa, .precision = precision, .kv_pages = 200, .mtp = mtp});
      Sequence own(model), first(model), second(model);
      std::vector<float> all;
      Logits logits;
      for (int at = 0; at < count; at += 37) {
        const int some = std::min(37, count - at);
        Segment segments[] = {
            first.segment({&others[at % 500], 17}, Head::none, false, Origin::prompt),
            own.segment({&ids[at], size_t(some)}, head, true, origin),
            second.segment({&others[at % 500], 5}, Head::none, false, Origin::sampled)};
        ASSERT_TRUE(model.decoder->forward(segments, logits).has_value());
        all.insert(all.end(), logits.values.begin(), logits.values.end());
      }
      golden::expect_same(all, whole, vocab, what + ", in company");
    }
  }
}

TEST(DeepSeek, RowDoesNotDependOnChunksBatchOrThreads) {
  const tensor::Isa best = golden::isas().back();
  expect_invariance(golden::folder("ds-v3"), tensor::Precision::int8, best,
                    base::sanitized ? 140 : 530, true);
  expect_invariance(golden::folder("ds-v2-lite"), tensor::Precision::exact, best, 70, false);
  if (!golden::tests_scalar()) return;
  expect_invariance(golden::folder("ds-v3"), tensor::Precision::exact, tensor::Isa::scalar, 70,
                    true);
}

// ---- experts on disk ----------------------------------------------------------------------------

// Bit for bit what the model in memory says, with room for one expert, for those of one token, and
// for nearly all, whatever the batch.
void expect_same_from_disk(const std::string& path, const Setting& setting, int vocab_used) {
  const auto ids = some_ids(120, vocab_used, 8);
  std::vector<std::vector<float>> wanted;
  for (const int places : {0, 1, 4, 8}) {
    SCOPED_TRACE(fmt::format("{}, {} places", path, places));
    Setting with = setting;
    with.expert_places = places;
    Model model(path, with);
    EXPECT_EQ(model.decoder->info().expert_places, places);
    size_t i = 0;
    for (const Head head : {Head::text, Head::mtp}) {
      if (head == Head::mtp && !setting.mtp) continue;
      for (const int chunk : {1, 40}) {
        const auto origin = chunk == 1 ? Origin::sampled : Origin::prompt;
        const std::span<const int32_t> some(ids.data(), chunk == 1 ? 20 : 120);
        auto logits = golden::logits_of(model, some, chunk, origin, head);
        if (places == 0) {
          wanted.push_back(std::move(logits));
        } else {
          golden::expect_same(logits, wanted[i++], model.decoder->info().vocab,
                              fmt::format("chunk {}", chunk));
        }
      }
    }
    const auto counts = model.decoder->expert_counts();
    EXPECT_EQ(counts.read > 0, places > 0);
    if (places > 1) {
      EXPECT_LT(counts.read, counts.used);
    }
  }
}

TEST(ExpertsOnDisk, LogitsAreThoseOfTheModelInMemory) {
  for (const char* family : families) {
    const bool mtp = std::string(family).starts_with("ds-v3");
    expect_same_from_disk(golden::folder(family), {.isa = golden::isas().back(), .mtp = mtp}, 250);
  }
  expect_same_from_disk(golden::folder("ds-v2-lite") + "/model.gguf",
                        {.isa = golden::isas().back()}, 250);
}

TEST(ExpertsOnDisk, AModelThatDoesNotFitIsPlannedWithTheExpertsThatDo) {
  const std::string path = fmt::format("{}/disk_plan-{}.gguf", NAUTILE_BINARY_DIR, getpid());
  SynthShape shape = *named_shape("tiny-deepseek");
  shape.experts.count = 64;
  shape.experts.ffn = 512;
  ASSERT_TRUE(write_synthetic_gguf(path, shape, "Q8_0", 1).has_value());
  const auto files = format::ModelFiles::open(path);
  ASSERT_TRUE(files.has_value());
  base::Pool pool(1);
  RunnerOptions options;
  options.pool = &pool;
  options.kv_pages = 2;
  const auto whole = Decoder::plan(**files, options);
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->expert_places, 0);
  options.memory_bytes_max = whole->total_bytes();
  EXPECT_EQ(Decoder::plan(**files, options)->expert_places, 0);
  options.memory_bytes_max = whole->total_bytes() * 3 / 4;
  const auto part = Decoder::plan(**files, options);
  EXPECT_GT(part->expert_places, 16);
  EXPECT_LT(part->expert_places, 64);
  EXPECT_LE(part->total_bytes(), options.memory_bytes_max);
  EXPECT_GT(part->total_bytes(), options.memory_bytes_max * 9 / 10);
  EXPECT_GT(part->disk_bytes(), 0u);
  // Not allowed, or too little even for one token's experts: refused with the numbers.
  options.experts_on_disk = false;
  EXPECT_GT(Decoder::plan(**files, options)->total_bytes(), options.memory_bytes_max);
  options.experts_on_disk = true;
  options.memory_bytes_max = part->total_bytes() - part->weight_bytes + (1 << 20);
  const auto refused = Decoder::load(**files, options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::out_of_memory);
  EXPECT_NE(refused.error().why.find("weights"), std::string::npos);
  std::remove(path.c_str());
}

class SyntheticExperts : public ::testing::Test {
 protected:
  // Every common block type, in matrices, experts and up projections; removed at the end.
  static void SetUpTestSuite() {
    // Its own: the tiers run this program several times side by side.
    path_ = fmt::format("{}/deepseek_test-{}.gguf", NAUTILE_BINARY_DIR, getpid());
    const auto shape = named_shape("tiny-deepseek");
    ASSERT_TRUE(shape.has_value());
    const auto written = write_synthetic_gguf(path_, *shape, "MIXED", 1);
    ASSERT_TRUE(written.has_value()) << written.error().message();
  }
  static void TearDownTestSuite() { std::remove(path_.c_str()); }
  static std::string path_;
};
std::string SyntheticExperts::path_;

TEST_F(SyntheticExperts, RowDoesNotDependOnChunksBatchOrThreads) {
  expect_invariance(path_, tensor::Precision::int8, golden::isas().back(),
                    base::sanitized ? 140 : 530, false);
  expect_invariance(path_, tensor::Precision::exact, golden::isas().back(), 40, false);
  if (!golden::tests_scalar()) return;
  expect_invariance(path_, tensor::Precision::int8, tensor::Isa::scalar, 40, false);
}

TEST_F(SyntheticExperts, InstructionSetsAndFormsAgree) {
  const auto ids = some_ids(40, 512, 5);
  std::vector<float> first;
  for (const tensor::Isa isa : golden::isas()) {
    Model model(path_, {.isa = isa});
    for (const Origin origin : {Origin::prompt, Origin::sampled}) {
      const auto logits = golden::logits_of(model, ids, 64, origin);
      if (first.empty()) first = logits;
      EXPECT_LT(largest_difference(logits, first), 5e-3) << tensor::isa_name(isa);
    }
  }
}

TEST_F(SyntheticExperts, OnDiskGiveTheSameLogitsForEveryBlockType) {
  expect_same_from_disk(path_, {.isa = golden::isas().back(), .precision = tensor::Precision::int8},
                        512);
}

TEST_F(SyntheticExperts, PlanIsWhatLoadingTakes) {
  for (const bool exact : {false, true}) {
    const auto precision = exact ? tensor::Precision::exact : tensor::Precision::int8;
    Model model(path_, {.isa = golden::isas().back(), .precision = precision});
    RunnerOptions options;
    options.pool = &model.pool;
    options.precision = precision;
    options.kv_pages = 2;
    const auto plan = Decoder::plan(*model.files, options);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->weight_bytes, model.decoder->info().weight_bytes);
    // Positions, layers, latent and rope; no values.
    EXPECT_EQ(plan->kv_bytes, 2u * 64 * 3 * (128 + 32) * (exact ? 4 : 2));
    EXPECT_EQ(model.decoder->kv_layout().width_v, 0);
  }
}

}  // namespace
}  // namespace model
