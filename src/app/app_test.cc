// Settings with their origin, places, and how a name becomes a model.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config.h"
#include "app/model_store.h"
#include "app/places.h"

namespace app {
namespace {

// A directory of the test's own, removed at its end.
class AppTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "nautile-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    places_.data = pattern;
    places_.models = pattern + "/models";
    places_.config_file = pattern + "/nautile.toml";
    ASSERT_TRUE(make_directories(places_.models, 0700));
  }
  void TearDown() override { std::filesystem::remove_all(places_.data); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(places_.data + "/" + name) << text;
  }
  Places places_;
};

TEST_F(AppTest, FlagBeatsVariableBeatsFileBeatsDefault) {
  write("nautile.toml", "threads = 3\ncontext = 4096\nmodel = [\"a.gguf\", \"b\"]\n");
  setenv("NAUTILE_CONTEXT", "2048", 1);
  auto config = Config::load(places_, {{"batch-tokens", {"32"}}});
  unsetenv("NAUTILE_CONTEXT");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->integer("threads"), 3);
  EXPECT_EQ(config->integer("context"), 2048);
  EXPECT_EQ(config->integer("batch-tokens"), 32);
  EXPECT_EQ(config->list("model"), (std::vector<std::string>{"a.gguf", "b"}));
  EXPECT_EQ(config->all().find("threads")->second.origin, Origin::file);
  EXPECT_EQ(config->all().find("context")->second.origin, Origin::environment);
  EXPECT_EQ(config->all().find("batch-tokens")->second.origin, Origin::flag);
  EXPECT_EQ(config->all().find("listen")->second.origin, Origin::standard);
}

TEST_F(AppTest, WrongSettingsAreRefusedByName) {
  for (const auto& [text, word] :
       {std::pair{"threads = \"many\"\n", "threads"}, std::pair{"threads = 257\n", "threads"},
        std::pair{"colour = 1\n", "colour"}, std::pair{"listen = true\n", "listen"},
        std::pair{"listen = [1\n", "nautile.toml"}}) {
    write("nautile.toml", text);
    auto config = Config::load(places_, {});
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().what.find(word), std::string::npos) << config.error().what;
  }
  write("nautile.toml", "");
  EXPECT_FALSE(Config::load(places_, {{"threads", {"-1"}}}));
}

TEST_F(AppTest, StoredModelsAreFoundByNameAndPrefix) {
  write("models/Alpha-7B.Q4_K_M.gguf", "x");
  write("models/Beta-00001-of-00002.gguf", "xx");
  write("models/Beta-00002-of-00002.gguf", "yyy");
  write("models/notes.txt", "no model");
  std::filesystem::create_directory(places_.models + "/Gamma");
  write("models/Gamma/config.json", "{}");
  const auto models = stored_models(places_);
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[1].name, "Beta");
  EXPECT_EQ(models[1].bytes, 5u);
  EXPECT_EQ(find_model(places_, "alpha")->name, "Alpha-7B.Q4_K_M");
  EXPECT_EQ(find_model(places_, "gamma")->path, places_.models + "/Gamma");
  EXPECT_EQ(find_model(places_, places_.models + "/Alpha-7B.Q4_K_M.gguf")->name, "Alpha-7B.Q4_K_M");
  for (const char* name : {"", "delta", "/nowhere.gguf", "Beta-00002-of-00002"}) {
    auto model = find_model(places_, name);
    ASSERT_FALSE(model) << name;
    EXPECT_EQ(model.error().kind, base::ErrorKind::not_found);
    EXPECT_NE(model.error().next.find("nautile list"), std::string::npos);
  }
  EXPECT_EQ(find_model(places_, places_.models).error().kind, base::ErrorKind::invalid_input);
}

TEST_F(AppTest, FilesAreWrittenWholeWithTheirMode) {
  const std::string path = places_.data + "/secret";
  ASSERT_TRUE(write_file_atomically(path, "one", 0600));
  ASSERT_TRUE(write_file_atomically(path, "two", 0600));
  EXPECT_EQ(*read_file(path, 100), "two");
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
  EXPECT_EQ(read_file(path, 2).error().kind, base::ErrorKind::limit_exceeded);
  EXPECT_EQ(read_file(path + "x", 2).error().kind, base::ErrorKind::not_found);
}

TEST(Models, SuggestionFitsTheMemory) {
  EXPECT_TRUE(distill_suggestion(4ull << 30).starts_with("nautile pull "));
  EXPECT_NE(distill_suggestion(4ull << 30).find("1.5B"), std::string::npos);
  EXPECT_NE(distill_suggestion(24ull << 30).find("14B"), std::string::npos);
  EXPECT_NE(distill_suggestion(256ull << 30).find("70B"), std::string::npos);
}

}  // namespace
}  // namespace app
