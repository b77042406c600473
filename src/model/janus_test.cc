// Janus's language model against the reference (tests/golden/model/janus-hf): what it answers to
// pictures whose features are given, and the codes that it draws; from both namings of the hub and
// with every instruction set. And runner.h's promise, for rows of all kinds in one step.
#include <algorithm>
#include <filesystem>
#include <gtest/gtest.h>
#include <unistd.h>

#include "format/quantize.h"
#include "model/golden_for_test.h"
#include "text/pre_tokenizer.h"

namespace model {
namespace {

using golden::Expected;
using golden::largest_difference;
using golden::Model;
using golden::Sequence;
using golden::Setting;

constexpr int placeholder_id = 323;
constexpr double text_logits_bound = 5e-4, cfg_logits_bound = 5e-3;

// Ids of one kind in a row: text, or what one picture shows.
struct Piece {
  std::span<const int32_t> ids;
  const float* embeds = nullptr;
};

struct Prompt {
  std::vector<int32_t> ids;
  std::vector<float> features;  // of its pictures, one after the other
  std::vector<Piece> pieces;
};

Prompt prompt_of(const Expected& expected, const base::Json& question) {
  Prompt prompt;
  prompt.ids = golden::ids_of(*question.find("ids"));
  const auto all = expected.tensor("vision.aligner");
  const auto& order = expected["vision"].find("order")->as_array();
  const size_t each = all.size() / order.size();
  for (const base::Json& name : question.find("pictures")->as_array()) {
    const auto place = std::find(order.begin(), order.end(), name) - order.begin();
    prompt.features.insert(prompt.features.end(), all.begin() + place * each,
                           all.begin() + (place + 1) * each);
  }
  const std::span<const int32_t> ids = prompt.ids;
  const float* next = prompt.features.data();
  for (size_t begin = 0, end = 0; begin < ids.size(); begin = end) {
    const bool shows = ids[begin] == placeholder_id;
    while (end < ids.size() && (ids[end] == placeholder_id) == shows) ++end;
    prompt.pieces.push_back({ids.subspan(begin, end - begin), shows ? next : nullptr});
    if (shows) next += (end - begin) * each / 36;
  }
  return prompt;
}

// Logits after every id, at most `chunk` ids a step.
std::vector<float> read_prompt(Model& model, Sequence& sequence, const Prompt& prompt,
                               size_t chunk) {
  const int hidden = model.decoder->info().hidden;
  std::vector<float> all;
  Logits logits;
  for (const Piece& piece : prompt.pieces) {
    for (size_t at = 0; at < piece.ids.size(); at += chunk) {
      const auto ids = piece.ids.subspan(at, std::min(chunk, piece.ids.size() - at));
      Segment segment = sequence.segment(ids, Head::text, true);
      if (piece.embeds) segment.embeds = piece.embeds + at * hidden;
      EXPECT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
      all.insert(all.end(), logits.values.begin(), logits.values.end());
    }
  }
  return all;
}

void expect_answers(Model& model, const Expected& expected) {
  const auto vocab = static_cast<size_t>(model.decoder->info().vocab);
  for (const base::Json& question : expected["understanding"].as_array()) {
    SCOPED_TRACE(question.find("name")->as_string());
    const Prompt prompt = prompt_of(expected, question);
    Sequence sequence(model);
    const auto got = read_prompt(model, sequence, prompt, 1024);
    const auto wanted = expected.tensor(question.find("logits")->as_string());
    size_t row = 0;
    for (const int position : golden::ids_of(*question.find("logit_positions"))) {
      EXPECT_LE(
          largest_difference({&got[position * vocab], vocab}, {&wanted[row++ * vocab], vocab}),
          text_logits_bound)
          << position;
    }
    const auto greedy = golden::ids_of(*question.find("greedy"));
    std::vector<int32_t> answer = {golden::argmax({&got[got.size() - vocab], vocab})};
    Logits logits;
    while (answer.size() < greedy.size()) {
      Segment segment = sequence.segment({&answer.back(), 1}, Head::text, false, Origin::sampled);
      ASSERT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
      answer.push_back(golden::argmax(logits.row(0)));
    }
    EXPECT_EQ(answer, greedy);
  }
}

// One picture, drawn greedily: two sequences that get the same codes.
struct Drawing {
  std::vector<float> first;               // (2, codes) with and without the prompt
  std::vector<std::vector<float>> mixed;  // each step's logits after guidance
  std::vector<int32_t> codes;
};

Drawing draw(Model& model, const Expected& expected) {
  const base::Json& generation = expected["generation"];
  const auto with = golden::ids_of(*generation.find("cond_ids"));
  const auto without = golden::ids_of(*generation.find("uncond_ids"));
  const float weight = static_cast<float>(generation.find("cfg_weight")->as_number());
  const auto steps = static_cast<size_t>(generation.find("steps")->as_integer());
  const auto codes = static_cast<size_t>(model.decoder->info().image_codes);
  Sequence a(model), b(model);
  Logits logits;
  Segment segments[] = {a.segment(with, Head::image, false),
                        b.segment(without, Head::image, false)};
  Drawing drawing;
  while (drawing.codes.size() < steps) {
    const auto done = model.decoder->forward(segments, logits);
    EXPECT_TRUE(done.has_value()) << (done ? "" : done.error().message());
    if (!done) return drawing;
    EXPECT_TRUE(logits.values.empty());
    if (drawing.first.empty()) drawing.first = logits.image_values;
    std::vector<float> mixed(codes);
    for (size_t i = 0; i < codes; ++i) {
      const float u = logits.image_row(1)[i];
      mixed[i] = u + weight * (logits.image_row(0)[i] - u);
    }
    drawing.codes.push_back(golden::argmax(mixed));
    drawing.mixed.push_back(std::move(mixed));
    for (Segment& segment : segments) {
      Sequence& sequence = segment.kv == &a.kv ? a : b;
      segment = sequence.segment({&drawing.codes.back(), 1}, Head::image, false, Origin::sampled);
      segment.vocab = Vocab::image;
    }
  }
  return drawing;
}

void expect_drawing(Model& model, const Expected& expected) {
  const Drawing drawing = draw(model, expected);
  EXPECT_LE(largest_difference(drawing.first, expected.tensor("gen.first")), text_logits_bound);
  const auto wanted = expected.tensor("gen.cfg8");
  const size_t codes = wanted.size() / 8;
  for (size_t step = 0; step < 8; ++step) {
    EXPECT_LE(largest_difference(drawing.mixed[step], {&wanted[step * codes], codes}),
              cfg_logits_bound)
        << step;
  }
  EXPECT_EQ(drawing.codes, golden::ids_of(*expected["generation"].find("greedy_codes")));
}

TEST(JanusGolden, AnswersAndDrawsAsTheReference) {
  const Expected expected(golden::folder("janus-hf"));
  for (const char* naming : {"janus-hf", "janus-original"}) {
    for (const tensor::Isa isa : golden::isas()) {
      SCOPED_TRACE(std::string(naming) + " with " + std::string(tensor::isa_name(isa)));
      Model model(golden::folder(naming), {.isa = isa});
      EXPECT_EQ(model.decoder->info().architecture, "janus");
      EXPECT_EQ(model.decoder->info().hidden, 52);
      EXPECT_EQ(model.decoder->info().image_codes, 256);
      expect_answers(model, expected);
      expect_drawing(model, expected);
    }
  }
}

// No row of the golden is a block, so that its one file loses nothing that these bounds would see.
TEST(JanusGolden, AnswersAndDrawsFromOneFileAsFromTheFolder) {
  const Expected expected(golden::folder("janus-hf"));
  const auto files = format::ModelFiles::open(golden::folder("janus-original"));
  ASSERT_TRUE(files.has_value());
  const auto plan =
      format::plan_quantized(**files, format::FileType::q4_k_m, text::pre_tokenizer_name_of);
  ASSERT_TRUE(plan.has_value()) << plan.error().message();
  const std::string path = fmt::format("{}/janus_test-{}.gguf", NAUTILE_BINARY_DIR, getpid());
  {
    const auto out = format::OutputFile::create(path, plan->bytes, true);
    ASSERT_TRUE(out.has_value()) << out.error().message();
    base::Pool pool(2);
    const auto written = format::write_quantized(**files, *plan, **out, pool,
                                                 [](uint64_t, uint64_t) { return true; });
    ASSERT_TRUE(written.has_value()) << written.error().message();
    ASSERT_TRUE((*out)->finish().has_value());
  }
  for (const tensor::Isa isa : golden::isas()) {
    SCOPED_TRACE(std::string(tensor::isa_name(isa)));
    Model model(path, {.isa = isa});
    expect_answers(model, expected);
    expect_drawing(model, expected);
  }
  std::filesystem::remove(path);
}

// ---- invariance ---------------------------------------------------------------------------------

void expect_invariance(tensor::Precision precision, tensor::Isa isa) {
  const Expected expected(golden::folder("janus-hf"));
  const Prompt prompt = prompt_of(expected, expected["understanding"].as_array()[1]);
  Model alone(golden::folder("janus-hf"), {.isa = isa, .precision = precision, .threads = 1});
  Sequence whole(alone);
  const auto wanted = read_prompt(alone, whole, prompt, 1024);
  const Drawing drawing = draw(alone, expected);

  Model model(golden::folder("janus-hf"), {.isa = isa, .precision = precision, .threads = 2});
  const int vocab = model.decoder->info().vocab, hidden = model.decoder->info().hidden;
  for (const size_t chunk : {size_t{1}, size_t{7}, size_t{64}}) {
    Sequence sequence(model);
    golden::expect_same(read_prompt(model, sequence, prompt, chunk), wanted, vocab, "chunks");
  }

  // All kinds of rows in one step, in an order that mixes the heads.
  const base::Json& generation = expected["generation"];
  const auto with = golden::ids_of(*generation.find("cond_ids"));
  const auto without = golden::ids_of(*generation.find("uncond_ids"));
  Sequence a(model), b(model), asks(model), other(model);
  Logits logits;
  std::vector<float> got;
  const int32_t code = drawing.codes[0];
  const auto step = [&](Segment first, Segment second, Segment third) {
    Segment segments[] = {first, second, third};
    ASSERT_TRUE(model.decoder->forward(segments, logits).has_value());
    got.insert(got.end(), logits.values.begin(), logits.values.end());
  };
  Segment text = asks.segment(prompt.pieces[0].ids, Head::text, true);
  step(a.segment(with, Head::image, false), text, b.segment(without, Head::image, false));
  golden::expect_same(logits.image_values, drawing.first, 256, "codes in company");
  Segment shown = asks.segment(prompt.pieces[1].ids, Head::text, true);
  shown.embeds = prompt.pieces[1].embeds;
  Segment drawn = a.segment({&code, 1}, Head::image, false, Origin::sampled);
  drawn.vocab = Vocab::image;
  step(shown, drawn, other.segment(without, Head::none, false));
  const std::vector<float> second(logits.image_row(0).begin(), logits.image_row(0).end());
  golden::expect_same(got, {wanted.begin(), wanted.begin() + got.size()}, vocab, "text in company");
  ASSERT_EQ(got.size(), (prompt.pieces[0].ids.size() + prompt.pieces[1].ids.size()) * vocab);

  // The same second row of codes, alone.
  Sequence again(model);
  Segment segment = again.segment(with, Head::none, false);
  ASSERT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
  segment = again.segment({&code, 1}, Head::image, false, Origin::sampled);
  segment.vocab = Vocab::image;
  ASSERT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
  golden::expect_same(second, logits.image_values, 256, "a code alone");
  EXPECT_GT(hidden, 0);
}

TEST(JanusInvariance, RowsDoNotDependOnTheirCompany) {
  for (const tensor::Isa isa : golden::isas()) {
    expect_invariance(tensor::Precision::exact, isa);
    expect_invariance(tensor::Precision::int8, isa);
  }
}

// ---- refusals and memory ------------------------------------------------------------------------

TEST(Janus, CodesThatDoNotExistAreRefused) {
  Model model(golden::folder("janus-hf"), {});
  Logits logits;
  for (const int32_t code : {-1, 256, 1 << 30}) {
    Sequence sequence(model);
    Segment segment = sequence.segment({&code, 1}, Head::image, false);
    segment.vocab = Vocab::image;
    const auto refused = model.decoder->forward({&segment, 1}, logits);
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().what.find("image code"), std::string::npos);
    EXPECT_EQ(sequence.kv.length, 0);
  }
  // The ids of a picture's rows are only counted.
  Sequence sequence(model);
  const std::vector<int32_t> ids(2, 1 << 30);
  const std::vector<float> rows(2 * 52, 0.5f);
  Segment segment = sequence.segment(ids, Head::text, false);
  segment.embeds = rows.data();
  EXPECT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
  EXPECT_EQ(sequence.kv.length, 2);
}

TEST(Janus, AModelOfTextHasNoImageCodes) {
  Model model(golden::folder("llama-gqa"), {});
  EXPECT_EQ(model.decoder->info().image_codes, 0);
  Logits logits;
  const int32_t id = 3;
  Sequence sequence(model);
  Segment wants = sequence.segment({&id, 1}, Head::image, false);
  const auto head = model.decoder->forward({&wants, 1}, logits);
  ASSERT_FALSE(head.has_value());
  EXPECT_EQ(head.error().kind, base::ErrorKind::unsupported);
  Segment reads = sequence.segment({&id, 1}, Head::text, false);
  reads.vocab = Vocab::image;
  EXPECT_FALSE(model.decoder->forward({&reads, 1}, logits).has_value());
}

TEST(Janus, MemoryPlanCountsWhatDrawsButNotThePictureModel) {
  const auto files = format::ModelFiles::open(golden::folder("janus-hf"));
  ASSERT_TRUE(files.has_value());
  base::Pool pool(1);
  RunnerOptions options;
  options.pool = &pool;
  options.kv_pages = 4;
  const auto plan = Decoder::plan(**files, options);
  ASSERT_TRUE(plan.has_value());
  uint64_t language = 0, codes = 0, pictures = 0;
  for (const format::TensorInfo& tensor : (*files)->tensors()) {
    const bool draws = tensor.name.starts_with("codes");
    const bool shows = tensor.name.starts_with("vision.") || tensor.name.starts_with("vq.") ||
                       tensor.name.starts_with("aligner.");
    (draws ? codes : shows ? pictures : language) += tensor.bytes;
  }
  EXPECT_GE(plan->weight_bytes, language + codes);
  EXPECT_LT(plan->weight_bytes, language + codes + pictures);
  options.memory_bytes_max = plan->total_bytes();
  EXPECT_TRUE(make_runner(**files, options).has_value());
}

}  // namespace
}  // namespace model
