#include "app/vectors.h"

#include <cmath>
#include <filesystem>
#include <gtest/gtest.h>

#include "app/places.h"
#include "app/verify_pictures.h"

namespace app {
namespace {

Vectors small() {
  Vectors vectors;
  vectors.origin = "a test";
  vectors.weights = "F32";
  vectors.model = {"tiny", "llama", 2, 8, 4};
  vectors.tolerance = 0.25;
  vectors.prompts.push_back({{1, 2, 3}, {{0, 2.5, {3, 1}, {2, 0.5}}, {2, 1.5, {0}, {1}}}, {}});
  return vectors;
}

// Of a model that sees and draws.
Vectors with_pictures() {
  Vectors vectors = small();
  vectors.model.architecture = "janus";
  vectors.model.hidden = 2;
  vectors.model.codes = 5;
  vectors.tolerance_embeds = 0.5;
  vectors.tolerance_codes = 0.75;
  vectors.pictures.push_back(
      {std::string("\x89PNG and \0 more", 14), {{0, {0.5, -1}}, {3, {1, 2}}}});
  vectors.prompts[0].shown.push_back({1, 0});
  vectors.drawings.push_back({{1, 2}, {1, 3}, 5, {4, 0}, {{1, 3, {0, 4}, {2, 1}}}});
  vectors.grids.push_back({{1, 4}, 2, std::string("\0\1\2\xff\xfe\xfd", 6)});
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

TEST(Vectors, PicturesAreWrittenAndRead) {
  const Vectors vectors = with_pictures();
  const auto read = parse_vectors(dump_vectors(vectors), "v.json");
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_TRUE(read->of_pictures());
  EXPECT_EQ(read->model.codes, 5);
  EXPECT_EQ(read->tolerance_embeds, 0.5);
  EXPECT_EQ(read->tolerance_codes, 0.75);
  ASSERT_EQ(read->pictures.size(), 1u);
  EXPECT_EQ(read->pictures[0].file, vectors.pictures[0].file);
  EXPECT_EQ(read->pictures[0].embeds[1].row, 3);
  EXPECT_EQ(read->pictures[0].embeds[1].values, (std::vector<double>{1, 2}));
  ASSERT_EQ(read->prompts[0].shown.size(), 1u);
  EXPECT_EQ(read->prompts[0].shown[0].at, 1);
  ASSERT_EQ(read->drawings.size(), 1u);
  EXPECT_EQ(read->drawings[0].without_text, (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(read->drawings[0].codes, (std::vector<int32_t>{4, 0}));
  EXPECT_EQ(read->drawings[0].rows[0].ids, (std::vector<int32_t>{0, 4}));
  ASSERT_EQ(read->grids.size(), 1u);
  EXPECT_EQ(read->grids[0].step, 2);
  EXPECT_EQ(read->grids[0].levels, vectors.grids[0].levels);
  // A program that knows version 1 must refuse what it would not hold against the model.
  EXPECT_NE(dump_vectors(vectors).find("\"version\":2"), std::string::npos);
  EXPECT_NE(dump_vectors(small()).find("\"version\":1"), std::string::npos);
  EXPECT_FALSE(small().of_pictures());
}

bool is_refused(Vectors vectors, const std::function<void(Vectors&)>& spoil) {
  spoil(vectors);
  const auto read = parse_vectors(dump_vectors(vectors), "v.json");
  return !read && read.error().kind == base::ErrorKind::invalid_input &&
         !read.error().what.empty() && !read.error().next.empty();
}

TEST(Vectors, EveryRuleOfPicturesIsKept) {
  const auto refused = [](const std::function<void(Vectors&)>& spoil) {
    return is_refused(with_pictures(), spoil);
  };
  EXPECT_FALSE(refused([](Vectors&) {}));
  EXPECT_TRUE(refused([](Vectors& v) { v.model.codes = 0; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.pictures[0].file.clear(); }));
  EXPECT_TRUE(refused([](Vectors& v) { v.pictures[0].embeds.clear(); }));
  EXPECT_TRUE(refused([](Vectors& v) { v.pictures[0].embeds[1].row = 0; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.pictures[0].embeds[1].row = 1 << 20; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.pictures[0].embeds[0].values = {1}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.pictures[0].embeds[0].values = {1, 2, 3}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].shown[0].at = 3; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].shown[0].picture = 1; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.prompts[0].shown.push_back({1, 0}); }));
  EXPECT_TRUE(refused([](Vectors& v) { v.drawings[0].without_text = {1}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.drawings[0].with_text = {1, 4}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.drawings[0].guidance = -1; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.drawings[0].codes = {4, 5}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.drawings[0].rows[0].position = 2; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.drawings[0].rows[0].ids = {0, 5}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.drawings[0].rows.clear(); }));
  EXPECT_TRUE(refused([](Vectors& v) { v.grids[0].codes = {5}; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.grids[0].step = 0; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.grids[0].levels = "four"; }));
  EXPECT_TRUE(refused([](Vectors& v) { v.grids[0].levels.clear(); }));
}

TEST(Vectors, EveryRuleIsKept) {
  const auto refused = [](const std::function<void(Vectors&)>& spoil) {
    return is_refused(small(), spoil);
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
  EXPECT_GE(files, 12);
}

TEST(Vectors, FoldersOfGoldensAreRead) {
  const std::string goldens = std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/";
  for (const char* name : {"ds-v3", "llama-gqa", "smollm2-135m-q4_1"}) {
    const auto vectors = read_vector_folder(goldens + name);
    ASSERT_TRUE(vectors.has_value()) << name << ": " << vectors.error().message();
    EXPECT_GE(vectors->prompts.size(), 5u) << name;
    EXPECT_FALSE(vectors->origin.empty()) << name;
  }
  const auto no_picture = [](const std::string& name) -> base::Result<std::string> {
    ADD_FAILURE() << name;
    return name;
  };
  EXPECT_FALSE(parse_vector_folder(R"({"prompts":[{"ids":[1],"logit_positions":[0],"logits":"x"}],
      "tensors":{"x":{"dtype":"f32","shape":[1,4],"offset":8,"bytes":16}}})",
                                   std::string(16, '\0'), no_picture)
                   .has_value());
}

TEST(Vectors, TheFolderOfAModelThatSeesAndDrawsIsRead) {
  const std::string folder = std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/janus-hf";
  const auto vectors = read_vector_folder(folder);
  ASSERT_TRUE(vectors.has_value()) << vectors.error().message();
  ASSERT_EQ(vectors->pictures.size(), 5u);
  for (const VectorPicture& picture : vectors->pictures) {
    EXPECT_EQ(picture.file.substr(1, 3), "PNG");
    EXPECT_EQ(picture.embeds.size(), 36u);
    EXPECT_EQ(picture.embeds.back().values.size(), 52u);
  }
  ASSERT_EQ(vectors->prompts.size(), 3u);
  ASSERT_EQ(vectors->prompts[1].shown.size(), 2u);
  EXPECT_EQ(vectors->prompts[1].shown[0].picture, 3);
  EXPECT_EQ(vectors->prompts[1].shown[1].picture, 1);
  for (const VectorShown& shown : vectors->prompts[1].shown) {
    for (int i = 0; i < 36; ++i) EXPECT_EQ(vectors->prompts[1].ids[shown.at + i], 323);
    EXPECT_NE(vectors->prompts[1].ids[shown.at + 36], 323);
  }
  ASSERT_EQ(vectors->drawings.size(), 1u);
  EXPECT_EQ(vectors->drawings[0].codes.size(), 36u);
  EXPECT_EQ(vectors->drawings[0].rows.size(), 8u);
  EXPECT_EQ(vectors->grids.size(), 2u);
  // The name of a picture must not lead out of the folder.
  auto json = read_file(folder + "/expected.json", vector_limits::file_bytes_max);
  const auto binary = read_file(folder + "/expected.bin", vector_limits::file_bytes_max);
  ASSERT_TRUE(json && binary);
  for (const char* name : {"../tiny.png", "/tmp/x.png", ".hidden", ""}) {
    std::string spoiled = *json;
    const size_t at = spoiled.find("\"tiny.png\"");
    ASSERT_NE(at, std::string::npos);
    spoiled.replace(at, 10, std::string("\"") + name + "\"");
    const auto refused = parse_vector_folder(
        spoiled, *binary, [](const std::string& file) { return base::Result<std::string>(file); });
    EXPECT_FALSE(refused.has_value()) << name;
  }
  // Neither may pictures take more than all else together, nor guidance have no sane size.
  const auto huge = parse_vector_folder(*json, *binary, [](const std::string&) {
    return base::Result<std::string>(std::string(vector_limits::picture_bytes_max, 'x'));
  });
  ASSERT_FALSE(huge.has_value());
  EXPECT_NE(huge.error().message().find("more than"), std::string::npos) << huge.error().message();
  const size_t at = json->find("\"cfg_weight\"");
  ASSERT_NE(at, std::string::npos);
  std::string spoiled = *json;
  spoiled.insert(spoiled.find(':', at) + 1, "-");
  EXPECT_FALSE(parse_vector_folder(spoiled, *binary, [](const std::string& file) {
                 return base::Result<std::string>(file);
               }).has_value());
}

TEST(Vectors, ADifferenceThatIsNoNumberIsTheWorst) {
  Closeness closeness;
  closeness.add(1, 2);
  closeness.add(std::nan(""), 1);
  closeness.add(1, 7);
  EXPECT_TRUE(std::isnan(closeness.worst));
  EXPECT_TRUE(std::isnan(closeness.mean()));
}

}  // namespace
}  // namespace app
