#include "app/vectors.h"

#include <filesystem>
#include <gtest/gtest.h>

#include "app/places.h"

namespace app {
namespace {

Vectors small() {
  Vectors vectors;
  vectors.origin = "a test";
  vectors.weights = "F32";
  vectors.model = {"tiny", "llama", 2, 8, 4};
  vectors.tolerance = 0.25;
  vectors.prompts.push_back({{1, 2, 3}, {{0, 2.5, {3, 1}, {2, 0.5}}, {2, 1.5, {0}, {1}}}});
  return vectors;
}

TEST(Vectors, WhatIsWrittenIsRead) {
  const auto read = parse_vectors(dump_vectors(small()), "v.json");
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(read->model.architecture, "llama");
  EXPECT_EQ(read->tolerance, 0.25);
  ASSERT_EQ(read->prompts.size(), 1u);
  ASSERT_EQ(read->prompts[0].rows.size(), 2u);
  EXPECT_EQ(read->prompts[0].rows[0].ids, (std::vector<int32_t>{3, 1}));
  EXPECT_EQ(read->prompts[0].rows[1].position, 2);
}

TEST(Vectors, EveryRuleIsKept) {
  const auto refused = [](const std::function<void(Vectors&)>& spoil) {
    Vectors vectors = small();
    spoil(vectors);
    const auto read = parse_vectors(dump_vectors(vectors), "v.json");
    return !read && read.error().kind == base::ErrorKind::invalid_input &&
           !read.error().what.empty() && !read.error().next.empty();
  };
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts.clear(); }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].ids = {1, 9}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows.clear(); }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows[1].position = 3; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows[1].position = 0; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows[0].ids = {3, 3}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows[0].ids = {3, 4}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows[0].logits = {2}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows[0].logits = {0, 2}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows[0].logits = {2e9, 2}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].rows[0].log_sum = 1; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.model.vocab = 0; }));
  EXPECT_FALSE(parse_vectors("{}", "v.json").has_value());
  EXPECT_FALSE(parse_vectors("[1]", "v.json").has_value());
}

TEST(Vectors, TheShippedOnesAreRead) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(NAUTILE_SOURCE_DIR) + "/share/vectors")) {
    const auto json = read_file(entry.path().string(), vector_limits::file_bytes_max);
    ASSERT_TRUE(json.has_value());
    const auto vectors = parse_vectors(*json, entry.path().string());
    ASSERT_TRUE(vectors.has_value()) << vectors.error().message();
    EXPECT_FALSE(vectors->origin.empty());
    EXPECT_GT(vectors->tolerance, 0);
    ++files;
  }
  EXPECT_GE(files, 11);
}

TEST(Vectors, FoldersOfGoldensAreRead) {
  const std::string goldens = std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/";
  for (const char* name : {"ds-v3", "llama-gqa", "smollm2-135m-q4_1"}) {
    const auto vectors = read_vector_folder(goldens + name);
    ASSERT_TRUE(vectors.has_value()) << name << ": " << vectors.error().message();
    EXPECT_GE(vectors->prompts.size(), 5u) << name;
    EXPECT_FALSE(vectors->origin.empty()) << name;
  }
  EXPECT_FALSE(parse_vector_folder(R"({"prompts":[{"ids":[1],"logit_positions":[0],"logits":"x"}],
      "tensors":{"x":{"dtype":"f32","shape":[1,4],"offset":8,"bytes":16}}})",
                                   std::string(16, '\0'))
                   .has_value());
}

}  // namespace
}  // namespace app
