// What the hubs answer and what a person asks, accepted and refused; which files make a model; what
// the catalogue proposes.
#include "pull/listing.h"

#include <gtest/gtest.h>

#include "pull/catalogue.h"
#include "pull/selection.h"

namespace pull {
namespace {

const std::string digest(64, 'a');

TEST(Listing, PathsStayBelow) {
  for (const char* path : {"a.gguf", "a/b c/d.gguf", "..a", "a..", "été.gguf"}) {
    EXPECT_TRUE(is_safe_path(path)) << path;
  }
  for (const std::string& path :
       {std::string(), std::string("/a"), std::string("a/"), std::string("a//b"), std::string(".."),
        std::string("a/../b"), std::string("./a"), std::string("a\\b"), std::string("a\nb"),
        std::string("a\0b", 3), std::string("\xff"), std::string(201, 'a')}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
}

TEST(Listing, ReadsATree) {
  const auto files = parse_tree(
      R"([{"type":"directory","path":"../x"},{"type":"file","path":"a.json","size":3,"oid":")" +
      std::string(40, 'b') +
      R"("},{"type":"file","path":"m.gguf","size":134,"oid":"x","lfs":{"oid":")" + digest +
      R"(","size":99}}])");
  ASSERT_TRUE(files) << files.error().message();
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ((*files)[0].git_sha1, std::string(40, 'b'));
  EXPECT_EQ((*files)[1].size, 99u);
  EXPECT_EQ((*files)[1].sha256, digest);
}

TEST(Listing, ContentRanges) {
  const auto range = parse_content_range("bytes 5-9/10");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5);
  EXPECT_EQ(range->last, 9);
  EXPECT_EQ(range->total, 10);
  EXPECT_EQ(parse_content_range("bytes 0-0/*")->total, -1);
  for (const char* text : {"", "bytes */10", "bytes 5-4/10", "bytes 5-10/10", "bytes -5/10",
                           "bytes 5-/10", "5-9/10", "bytes 5-9", "bytes 5-9/", "bytes a-9/10",
                           "bytes 1-2/99999999999999999999", "bytes=1-2/3", "bytes 1/2-3"}) {
    EXPECT_FALSE(parse_content_range(text)) << text;
  }
}

TEST(Listing, LinksMarksAndChallenges) {
  EXPECT_EQ(next_link(R"(<https://a/1>; rel="prev", <https://a/2?x,y>; rel="next")"),
            "https://a/2?x,y");
  EXPECT_FALSE(next_link("<https://a>"));
  EXPECT_FALSE(next_link("rel=\"next\""));
  EXPECT_EQ(etag_value("W/\"abc\""), "abc");
  EXPECT_EQ(etag_value("abc"), "");
  EXPECT_EQ(etag_value("\"a\"b\""), "");
  const auto challenge =
      parse_challenge(R"(Bearer realm="https://r/t",service="s s",scope="repository:a/b:pull")");
  ASSERT_TRUE(challenge);
  EXPECT_EQ(challenge->realm, "https://r/t");
  EXPECT_EQ(challenge->service, "s s");
  EXPECT_EQ(challenge->scope, "repository:a/b:pull");
  EXPECT_FALSE(parse_challenge("Basic realm=\"x\""));
  EXPECT_FALSE(parse_challenge("Bearer xrealm=\"x\""));
  EXPECT_EQ(*parse_token(R"({"token":"t"})"), "t");
  EXPECT_FALSE(parse_token(R"({"token":"t\r\nHost: x"})"));
}

TEST(Reference, ReadsAndWritesItself) {
  const auto full = parse_reference("hf:org/R1.x@refs/pr/1:sub/a.gguf");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->owner, "org");
  EXPECT_EQ(full->name, "R1.x");
  EXPECT_EQ(full->revision, "refs/pr/1");
  EXPECT_EQ(full->selector, "sub/a.gguf");
  for (const char* text : {"hf:org/R1.x@refs/pr/1:sub/a.gguf", "hf:a/b", "hf:a/b:Q4_K_M",
                           "ollama:r1:7b", "ollama:me/r1:7b", "file:/a/b", "file:./x.gguf"}) {
    ASSERT_TRUE(parse_reference(text)) << text;
    EXPECT_EQ(parse_reference(text)->text(), text);
  }
  EXPECT_EQ(parse_reference("ollama:r1")->revision, "latest");
}

std::vector<ListedFile> files_of(const std::vector<const char*>& paths) {
  std::vector<ListedFile> files;
  for (const char* path : paths) files.push_back({path, 1, digest, ""});
  return files;
}
std::vector<std::string> locals(const base::Result<Selection>& chosen) {
  std::vector<std::string> out;
  if (!chosen) return {chosen.error().message()};
  for (const auto& file : chosen->files) out.push_back(file.local);
  return out;
}
using Names = std::vector<std::string>;

TEST(Selection, FindsAFileAQuantAndASet) {
  const auto files = files_of({"R1-Q4_K_M.gguf", "R1-UD-Q4_K_M.gguf", "R1.Q8_0.gguf",
                               "b/R1-Q2_K-00001-of-00002.gguf", "b/R1-Q2_K-00002-of-00002.gguf",
                               "mmproj-Q8_0.gguf", "README.md"});
  EXPECT_EQ(locals(select_files(files, "R1", "")), Names{"R1-Q4_K_M.gguf"});
  EXPECT_EQ(locals(select_files(files, "R1", "q4_k_m")), Names{"R1-Q4_K_M.gguf"});
  EXPECT_EQ(locals(select_files(files, "R1", "UD-Q4_K_M")), Names{"R1-UD-Q4_K_M.gguf"});
  EXPECT_EQ(locals(select_files(files, "R1", "Q8_0")), Names{"R1.Q8_0.gguf"});
  EXPECT_EQ(locals(select_files(files, "R1", "Q2_K")),
            (Names{"R1-Q2_K-00002-of-00002.gguf", "R1-Q2_K-00001-of-00002.gguf"}));
  EXPECT_EQ(select_files(files, "R1", "b/R1-Q2_K-00002-of-00002.gguf")->model, "R1-Q2_K");
  for (const char* nothing : {"Q4_K", "4_K_M", "R2", "README.md", "safetensors"}) {
    EXPECT_FALSE(select_files(files, "R1", nothing)) << nothing;
  }
}

TEST(Selection, TakesAFolderWholeAndNamesItLast) {
  const auto files = files_of({"config.json", "b.safetensors", "a.safetensors", "x/c.safetensors",
                               "pytorch_model.bin", "tokenizer.json", "run.py"});
  auto chosen = select_files(files, "R1", "");
  EXPECT_EQ(locals(chosen),
            (Names{"R1/a.safetensors", "R1/b.safetensors", "R1/tokenizer.json", "R1/config.json"}));
  rename_model(*chosen, "mine");
  EXPECT_EQ(chosen->files.back().local, "mine/config.json");
  const auto pickle = select_files(files_of({"config.json", "pytorch_model.bin"}), "J", "");
  ASSERT_FALSE(pickle);
  EXPECT_NE(pickle.error().why.find("pickle"), std::string::npos);
}

TEST(Selection, SetsAndOtherNames) {
  EXPECT_EQ(split_set("a/R-00001-of-00002.gguf"),
            (Names{"a/R-00001-of-00002.gguf", "a/R-00002-of-00002.gguf"}));
  EXPECT_EQ(split_set("R-00003-of-00002.gguf"), Names{"R-00003-of-00002.gguf"});
  auto chosen = select_files(files_of({"R-00001-of-00002.gguf", "R-00002-of-00002.gguf"}), "R", "");
  ASSERT_TRUE(chosen);
  rename_model(*chosen, "mine");
  EXPECT_EQ(locals(chosen), (Names{"mine-00002-of-00002.gguf", "mine-00001-of-00002.gguf"}));
}

TEST(Catalogue, EveryNameIsAReference) {
  for (const CatalogueModel& model : catalogue()) {
    EXPECT_EQ(find_in_catalogue(model.short_name), &model);
    const auto reference = resolve_reference(model.name, 0);
    ASSERT_TRUE(reference) << model.name;
    EXPECT_EQ(reference->text(), model.reference);
    EXPECT_GT(model.memory_gib(), model.gib);
    EXPECT_LE(model.active_b, model.parameters_b);
  }
  EXPECT_FALSE(resolve_reference("r1-8b", 0));
}

TEST(Catalogue, ProposesTheLargestDistillThatFits) {
  constexpr uint64_t gib = uint64_t{1} << 30;
  EXPECT_EQ(largest_distill(gib).short_name, "r1-1.5b");
  EXPECT_EQ(largest_distill(8 * gib).short_name, "r1-0528-8b");
  EXPECT_EQ(largest_distill(24 * gib).short_name, "r1-14b");
  EXPECT_EQ(largest_distill(32 * gib).short_name, "r1-32b");
  EXPECT_EQ(largest_distill(1024 * gib).short_name, "r1-70b");
  // 30 GB/s over the 5 GB of an 8B model: about six tokens a second.
  EXPECT_NEAR(find_in_catalogue("r1-0528-8b")->tokens_per_s(30), 6.5, 0.5);
  EXPECT_GT(find_in_catalogue("r1")->tokens_per_s(30), 1.0);  // few experts are read
}

}  // namespace
}  // namespace pull
