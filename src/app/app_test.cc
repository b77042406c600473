// Settings with their origin, places, and how a name becomes a model.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config.h"
#include "app/engine_options.h"
#include "app/model_store.h"
#include "app/places.h"
#include "app/serve_plan.h"
#include "app/verb.h"
#include "base/scratch_for_test.h"

namespace app {
namespace {

class AppTest : public base::ScratchTest {
 protected:
  void SetUp() override {
    places_.data = folder_.string();
    places_.models = path("models");
    places_.config_file = path("nautile.toml");
    ASSERT_TRUE(make_directories(places_.models, 0700));
  }
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
        std::pair{"listen = [1\n", "nautile.toml"}, std::pair{"listen = []\n", "listen"}}) {
    write("nautile.toml", text);
    auto config = Config::load(places_, {});
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().what.find(word), std::string::npos) << config.error().what;
  }
  write("nautile.toml", "");
  EXPECT_FALSE(Config::load(places_, {{"threads", {"-1"}}}));
  for (const char* size : {"", "G", "8g", "-1", "9999999T", "99999999999999999999", "1.5G"}) {
    EXPECT_FALSE(Config::load(places_, {{"memory", {size}}})) << size;
  }
  const auto mode = Config::load(places_, {{"speculation", {"sometimes"}}});
  ASSERT_FALSE(mode);
  EXPECT_NE(mode.error().why.find("off, auto, on"), std::string::npos);
}

TEST_F(AppTest, SizesAndSpeculationReachTheEngine) {
  for (const auto& [text, bytes] : {std::pair{"8G", 8ull << 30}, std::pair{"900M", 900ull << 20},
                                    std::pair{"4096", 4096ull}, std::pair{"0", 0ull}}) {
    const auto config = Config::load(places_, {{"memory", {text}}});
    ASSERT_TRUE(config) << text;
    EXPECT_EQ(engine_options(*config).memory_bytes_max, bytes);
  }
  EXPECT_EQ(engine_options(*Config::load(places_, {})).speculation,
            engine::SpeculationMode::automatic);
  write("nautile.toml", "speculation = \"off\"\n");
  EXPECT_EQ(engine_options(*Config::load(places_, {})).speculation, engine::SpeculationMode::off);
  setenv("NAUTILE_SPECULATION", "on", 1);
  const auto config = Config::load(places_, {});
  unsetenv("NAUTILE_SPECULATION");
  EXPECT_EQ(engine_options(*config).speculation, engine::SpeculationMode::on);
}

TEST_F(AppTest, AListWhereOneValueIsWantedIsRefused) {
  for (const char* text : {"threads = []\n", "threads = [1, 2]\n", "listen = []\n",
                           "isa = [\"avx2\", \"scalar\"]\n", "model = [true]\n"}) {
    write("nautile.toml", text);
    EXPECT_FALSE(Config::load(places_, {})) << text;
  }
}

TEST_F(AppTest, SettingsOfAFewWordsTakeNoOther) {
  for (const auto& [key, wrong, allowed] :
       {std::tuple{"isa", "sse", "auto, scalar, avx2, avx512, amx"},
        std::tuple{"isa", "avx", "auto, scalar, avx2, avx512, amx"},
        std::tuple{"isa", "", "avx512"}, std::tuple{"isa", "scalar, avx2", "avx512"},
        std::tuple{"kv-type", "f8", "f16, bf16"}, std::tuple{"language", "de", "auto, en, fr"},
        std::tuple{"log-level", "loud", "error, warning, info, debug"}}) {
    auto config = Config::load(places_, {{key, {wrong}}});
    ASSERT_FALSE(config) << key << " = " << wrong;
    EXPECT_EQ(config.error().kind, base::ErrorKind::wrong_usage);
    EXPECT_NE(config.error().why.find(allowed), std::string::npos) << config.error().why;
    EXPECT_FALSE(config.error().next.empty());
  }
  for (const SettingSpec& spec : setting_specs()) {
    const std::string words(spec.words);
    for (size_t begin = 0; begin < words.size();) {
      const size_t end = std::min(words.find(", ", begin), words.size());
      const std::string word = words.substr(begin, end - begin);
      auto config = Config::load(places_, {{std::string(spec.key), {word}}});
      ASSERT_TRUE(config) << config.error().message();
      EXPECT_EQ(config->text(spec.key), word);
      begin = end + 2;
    }
  }
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

TEST_F(AppTest, OnlyTheSuffixOfAModelIsCutFromItsName) {
  write("README.md", "text");
  write("a-00001-of-00002.txt", "text");
  EXPECT_EQ(find_model(places_, places_.data + "/README.md")->name, "README.md");
  EXPECT_EQ(find_model(places_, places_.data + "/a-00001-of-00002.txt")->name,
            "a-00001-of-00002.txt");
}

TEST_F(AppTest, APrefixOfSeveralModelsNamesThem) {
  write("models/Qwen-1B.gguf", "x");
  write("models/Qwen-7B.gguf", "x");
  const auto model = find_model(places_, "qwen");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().kind, base::ErrorKind::wrong_usage);
  EXPECT_EQ(model.error().what.find("there is no model"), std::string::npos);
  for (const char* name : {"Qwen-1B", "Qwen-7B"}) {
    EXPECT_NE(model.error().why.find(name), std::string::npos) << model.error().why;
  }
}

TEST_F(AppTest, WhatIsNoModelIsNamedWithItsReason) {
  write("models/bad.gguf", "text");
  write("models/notes.txt", "text");
  write("models/half.gguf.partial", "G");
  write("models/Lost-00002-of-00002.gguf", "G");
  write("models/Whole-00001-of-00002.gguf", "G");
  write("models/Whole-00002-of-00002.gguf", "G");
  std::filesystem::create_directory(places_.models + "/empty");
  std::filesystem::create_directory(places_.models + "/.pulled");
  const auto files = stray_files(places_);
  ASSERT_EQ(files.size(), 4u);
  EXPECT_EQ(files[0].name, "Lost-00002-of-00002.gguf");
  EXPECT_NE(files[0].why.find("Lost-00001-of-00002.gguf"), std::string::npos);
  EXPECT_EQ(files[1].name, "empty");
  EXPECT_NE(files[1].why.find("config.json"), std::string::npos);
  EXPECT_EQ(files[2].name, "half.gguf.partial");
  EXPECT_NE(files[2].why.find("nautile pull"), std::string::npos);
  EXPECT_EQ(files[3].name, "notes.txt");
  EXPECT_EQ(files[3].bytes, 4u);
  const auto bad = check_runnable(*find_model(places_, "bad"));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().kind, base::ErrorKind::invalid_input);
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

TEST(Input, TextThatIsNotUtf8IsRefusedAtItsFirstWrongByte) {
  for (const char* good : {"", "a", "é", "日本語", "𝄞 and more"}) {
    EXPECT_TRUE(check_utf8(good, "it")) << good;
  }
  for (const auto& [bad, at] :
       {std::pair{"\xff", "byte 0 "}, std::pair{"ab\xc3", "byte 2 "},
        std::pair{"é\xe2\x82z", "byte 2 "}, std::pair{"日本\x80", "byte 6 "}}) {
    const auto checked = check_utf8(bad, "it");
    ASSERT_FALSE(checked) << at;
    EXPECT_EQ(checked.error().kind, base::ErrorKind::invalid_input);
    EXPECT_NE(checked.error().why.find(at), std::string::npos) << checked.error().why;
  }
}

TEST(ModelReportTest, CrossesTheProcessesAndDropsWhatIsMalformed) {
  ModelReport report;
  report.served = 1;
  report.contexts = {{"good", 2048}};
  report.left_out = {{"bad", {base::ErrorKind::invalid_input, "what", "why", "next"}}};
  const ModelReport read = ModelReport::from_json(report.to_json());
  EXPECT_EQ(read.served, 1);
  ASSERT_EQ(read.contexts.size(), 1u);
  EXPECT_EQ(read.contexts[0].id, "good");
  EXPECT_EQ(read.contexts[0].tokens, 2048);
  ASSERT_EQ(read.left_out.size(), 1u);
  EXPECT_EQ(read.left_out[0].id, "bad");
  EXPECT_EQ(read.left_out[0].error.message(), report.left_out[0].error.message());
  // An engine that a model file has taken over must not speak to the terminal.
  report.left_out[0] = {"\x1b[2J", {base::ErrorKind::invalid_input, "a\nb", "\u009b1m", "é"}};
  const ModelReport tame = ModelReport::from_json(report.to_json());
  ASSERT_EQ(tame.left_out.size(), 1u);
  EXPECT_EQ(tame.left_out[0].id, "\\x1b[2J");
  EXPECT_EQ(tame.left_out[0].error.message(), "a\\x0ab: \\xc2\\x9b1m. é");
  const auto odd = base::parse_json(
      R"({"served": "x", "contexts": [1, {"id": "a"}], "left_out": [{"id": 1}, 2]})", "it");
  const ModelReport dropped = ModelReport::from_json(*odd);
  EXPECT_EQ(dropped.served, 0);
  EXPECT_TRUE(dropped.contexts.empty());
  EXPECT_TRUE(dropped.left_out.empty());
}

TEST(Models, SuggestionFitsTheMemory) {
  EXPECT_TRUE(distill_suggestion(4ull << 30).starts_with("nautile pull "));
  EXPECT_NE(distill_suggestion(4ull << 30).find("1.5B"), std::string::npos);
  EXPECT_NE(distill_suggestion(24ull << 30).find("14B"), std::string::npos);
  EXPECT_NE(distill_suggestion(256ull << 30).find("70B"), std::string::npos);
}

}  // namespace
}  // namespace app
