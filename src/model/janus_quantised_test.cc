// A Janus whose matrices are quantised, those that draw too: the same codes and words as with the
// floats that its blocks stand for, and close to what they were made from.
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "base/scratch_for_test.h"
#include "format/quantize.h"
#include "format/tiny_janus_for_test.h"
#include "model/golden_for_test.h"
#include "text/pre_tokenizer.h"

namespace model {
namespace {

using golden::Model;
using golden::Sequence;

class JanusQuantised : public base::ScratchTest {
 protected:
  void SetUp() override {
    format::TinyJanus wide =
        format::TinyJanus::original({.hidden = 256, .ffn = 512, .vocab = 336, .head = 256});
    wide.fill(7);
    std::ofstream(folder_ / "config.json") << wide.config.dump();
    std::ofstream(folder_ / "model.safetensors", std::ios::binary) << wide.bytes();
    std::filesystem::copy_file(golden::folder("janus-hf") + "/tokenizer.json",
                               folder_ / "tokenizer.json");
  }

  std::string quantised(format::FileType type, const std::string& name) const {
    const auto files = format::ModelFiles::open(folder_.string());
    const auto plan = format::plan_quantized(**files, type, text::pre_tokenizer_name_of);
    EXPECT_TRUE(plan.has_value()) << plan.error().message();
    const std::string path = (folder_ / name).string();
    const auto out = format::OutputFile::create(path, plan->bytes, false);
    base::Pool pool(2);
    EXPECT_TRUE(format::write_quantized(**files, *plan, **out, pool, [](uint64_t, uint64_t) {
                  return true;
                }).has_value());
    EXPECT_TRUE((*out)->finish().has_value());
    return path;
  }
};

// The logits of codes after some text and three codes, and then of text after those.
struct Answers {
  std::vector<float> codes, text;
};
Answers answers_of(const std::string& path, const golden::Setting& setting) {
  Model model(path, setting);
  const auto ids = golden::some_ids(9, 336, 3);
  const std::vector<int32_t> codes = {4, 0, 2};
  Sequence sequence(model);
  Logits logits;
  Answers answers;
  Segment segment = sequence.segment(ids, Head::image, true);
  EXPECT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
  answers.codes = logits.image_values;
  segment = sequence.segment(codes, Head::image, true, Origin::sampled);
  segment.vocab = Vocab::image;
  EXPECT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
  answers.codes.insert(answers.codes.end(), logits.image_values.begin(), logits.image_values.end());
  segment = sequence.segment(ids, Head::text, true);
  EXPECT_TRUE(model.decoder->forward({&segment, 1}, logits).has_value());
  answers.text = logits.values;
  return answers;
}

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float value : values) most = std::max(most, std::abs(static_cast<double>(value)));
  return most;
}

TEST_F(JanusQuantised, DrawsAndAnswersNearlyAsTheFloats) {
  const struct {
    format::FileType type;
    const char* name;
    double share;  // of the largest logit
  } types[] = {{format::FileType::q8_0, "q8.gguf", 0.03},
               {format::FileType::q4_k_m, "q4.gguf", 0.25}};
  const Answers wanted = answers_of(folder_.string(), {});
  ASSERT_EQ(wanted.codes.size(), 12u * 5);
  for (const auto& type : types) {
    const std::string path = quantised(type.type, type.name);
    for (const tensor::Isa isa : golden::isas()) {
      for (const auto precision : {tensor::Precision::exact, tensor::Precision::int8}) {
        SCOPED_TRACE(std::string(type.name) + " with " + std::string(tensor::isa_name(isa)));
        const Answers got = answers_of(path, {.isa = isa, .precision = precision});
        EXPECT_LT(golden::largest_difference(got.codes, wanted.codes),
                  type.share * largest(wanted.codes));
        EXPECT_LT(golden::largest_difference(got.text, wanted.text),
                  type.share * largest(wanted.text));
      }
    }
  }
}

}  // namespace
}  // namespace model
