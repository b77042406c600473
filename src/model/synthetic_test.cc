#include "model/synthetic.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "format/model_files.h"
#include "model/pictures.h"
#include "model/synthetic_janus.h"

namespace model {
namespace {

// A file of the shape, gone at the end.
class SyntheticFile {
 public:
  SyntheticFile(std::string_view shape, std::string_view quantization)
      : path_(fmt::format("{}/synthetic_test-{}.gguf", NAUTILE_BINARY_DIR, getpid())) {
    const auto named = named_shape(shape);
    if (!named) return;
    written_ = write_synthetic_gguf(path_, *named, quantization, 1).has_value();
  }
  ~SyntheticFile() { std::remove(path_.c_str()); }
  bool written() const { return written_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool written_ = false;
};

TEST(SyntheticJanus, IsAFileThatSeesAndDraws) {
  for (const char* quantization : {"Q8_0", "Q4_K_M"}) {
    SCOPED_TRACE(quantization);
    const SyntheticFile file("tiny-janus", quantization);
    ASSERT_TRUE(file.written());
    const auto files = format::ModelFiles::open(file.path());
    ASSERT_TRUE(files.has_value()) << files.error().message();
    const auto config = (*files)->config();
    ASSERT_TRUE(config.has_value()) << config.error().message();
    ASSERT_TRUE(config->janus.has_value());
    EXPECT_EQ(config->janus->drawing.side(), 4);

    base::Pool pool(1);
    PictureOptions options;
    options.pool = &pool;
    const auto pictures = PictureModel::load(**files, options);
    ASSERT_TRUE(pictures.has_value()) << pictures.error().message();
    std::vector<uint8_t> pixels;
    std::vector<float> embeds;
    const std::vector<int32_t> codes = {0, 7, 39, 20};
    const auto drawing = (*pictures)->draw(codes, &pixels, nullptr);
    ASSERT_NE(drawing, nullptr);
    while (!drawing->advance(operations_unit_max)) {
    }
    EXPECT_EQ(pixels.size(), 4u * 4 * 3);
    EXPECT_NE(*std::min_element(pixels.begin(), pixels.end()),
              *std::max_element(pixels.begin(), pixels.end()));
    const auto seeing = (*pictures)->see(std::vector<uint8_t>(8 * 8 * 3, 90), &embeds, nullptr);
    ASSERT_NE(seeing, nullptr);
    while (!seeing->advance(operations_unit_max)) {
    }
    EXPECT_EQ(embeds.size(), 4u * 64);
  }
}

TEST(SyntheticJanus, HasTheMarksOfItsPrompts) {
  const SyntheticFile file("tiny-janus", "Q8_0");
  ASSERT_TRUE(file.written());
  const auto files = format::ModelFiles::open(file.path());
  ASSERT_TRUE(files.has_value()) << files.error().message();
  const auto spec = (*files)->tokenizer();
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_TRUE(spec->add_bos);
  for (const char* mark : {"<|User|>", "<|Assistant|>", "<image_placeholder>", "<begin_of_image>",
                           "<end_of_image>", "<｜▁pad▁｜>"}) {
    EXPECT_EQ(std::count(spec->tokens.begin(), spec->tokens.end(), mark), 1) << mark;
  }
}

TEST(SyntheticJanus, OfOneBillionHasTheSizesOfTheModel) {
  const auto shape = named_shape("janus-pro-1b");
  ASSERT_TRUE(shape.has_value());
  const auto count = [&](std::string_view prefix) {
    uint64_t sum = 0;
    for (const auto& tensor : janus_tensors(*shape->janus, shape->hidden)) {
      uint64_t numbers = 1;
      for (const uint64_t length : tensor.shape) numbers *= length;
      if (tensor.name.starts_with(prefix)) sum += numbers;
    }
    return sum;
  };
  // models.md §3.2
  EXPECT_EQ(count("vision."), 303'688'704u);
  EXPECT_EQ(count("aligner."), 6'295'552u);
  EXPECT_EQ(count("codes.weight"), 131'072u);
  EXPECT_EQ(count("codes_aligner."), 4'214'784u);
  EXPECT_EQ(count("codes_head."), 37'767'168u);
  EXPECT_EQ(count("vq.") - count("vq.codebook.weight"), 42'452'099u);
}

}  // namespace
}  // namespace model
