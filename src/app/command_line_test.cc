// What a verb declares is read, refused with the reason and the nearest name, and described.
#include "app/command_line.h"

#include <gtest/gtest.h>

namespace app {
namespace {

struct Values {
  std::string model, out;
  std::vector<std::string> words, pictures;
  std::vector<int> batches{1, 2};
  int count = 1;
  double weight = 5;
  std::optional<int> most;
  std::optional<uint64_t> seed;
  std::optional<double> temperature;
  bool on = false, off = false;
};

class CommandLineTest : public ::testing::Test {
 protected:
  CommandLineTest() {
    Verb draw = line_.verb("draw", "draws", "  nautile draw m");
    draw.option("MODEL", values_.model, "a model").required();
    draw.option("WORDS", values_.words, "some words");
    draw.option("-o,--output", values_.out, "a file");
    draw.option("--picture", values_.pictures, "a picture").repeated();
    draw.option("--batch", values_.batches, "rows").with_commas().range(1, 16);
    draw.option("--count", values_.count, "how many").range(1, 8);
    draw.option("--weight", values_.weight, "of the text").range(0.5, 50.0);
    draw.option("--most", values_.most, "at most").range(0, 1 << 20);
    draw.option("--seed", values_.seed, "of chance");
    draw.option("--temp", values_.temperature, "temperature").range(0.0, 2.0);
    const Option on = draw.flag("--on", values_.on, "on");
    draw.flag("--off", values_.off, "off").excludes(on);
    draw.setting("threads");
    draw.setting("model");
    draw.runs([]() -> base::Result<int> { return 7; });
    line_.verb("say", "says", "  nautile say").runs_without_settings([]() -> base::Result<int> {
      return 8;
    });
  }

  base::Result<std::optional<int>> parse(std::vector<std::string> words) {
    words.insert(words.begin(), "nautile");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    return line_.parse(static_cast<int>(argv.size()), argv.data());
  }

  Session session_;
  Values values_;
  CommandLine line_{session_};
};

TEST_F(CommandLineTest, EveryKindOfValueIsRead) {
  const auto ended = parse({"draw",    "janus",     "a",       "lighthouse", "-o",
                            "x.png",   "--picture", "a.png",   "--picture",  "b.png",
                            "--batch", "4,8",       "--count", "8",          "--weight",
                            "0.5",     "--most",    "9",       "--seed",     "18446744073709551615",
                            "--temp",  "2",         "--on",    "--threads",  "3",
                            "--model", "m",         "--model", "n"});
  ASSERT_TRUE(ended) << ended.error().message();
  EXPECT_FALSE(ended->has_value());
  EXPECT_EQ(values_.model, "janus");
  EXPECT_EQ(values_.words, (std::vector<std::string>{"a", "lighthouse"}));
  EXPECT_EQ(values_.out, "x.png");
  EXPECT_EQ(values_.pictures, (std::vector<std::string>{"a.png", "b.png"}));
  EXPECT_EQ(values_.batches, (std::vector<int>{4, 8}));
  EXPECT_EQ(values_.count, 8);
  EXPECT_EQ(values_.weight, 0.5);
  EXPECT_EQ(values_.most, 9);
  EXPECT_EQ(values_.seed, UINT64_MAX);
  EXPECT_EQ(values_.temperature, 2);
  EXPECT_TRUE(values_.on);
  EXPECT_EQ(session_.flags["threads"], (std::vector<std::string>{"3"}));
  EXPECT_EQ(session_.flags["model"], (std::vector<std::string>{"m", "n"}));
  EXPECT_FALSE(session_.without_settings);
  EXPECT_EQ(*session_.run(), 7);
}

TEST_F(CommandLineTest, WhatIsNotGivenKeepsItsValue) {
  ASSERT_TRUE(parse({"draw", "janus"}));
  EXPECT_EQ(values_.batches, (std::vector<int>{1, 2}));
  EXPECT_EQ(values_.count, 1);
  EXPECT_FALSE(values_.most || values_.seed || values_.temperature);
  EXPECT_TRUE(session_.flags.empty());
}

TEST_F(CommandLineTest, AVerbMayDoWithoutSettings) {
  ASSERT_TRUE(parse({"say"}));
  EXPECT_TRUE(session_.without_settings);
  EXPECT_EQ(*session_.run(), 8);
}

TEST_F(CommandLineTest, RefusalsSayWhatAndTheNearestName) {
  struct Case {
    std::vector<std::string> words;
    std::string said;
  };
  for (const Case& each :
       std::vector<Case>{{{"drow"}, "did you mean `nautile draw`?"},
                         {{"draw", "m", "--cuont", "2"}, "did you mean --count?"},
                         {{"draw", "m", "--count", "9"}, "--count: 9 is not from 1 to 8"},
                         {{"draw", "m", "--count", "two"}, "two"},
                         {{"draw", "m", "--temp", "nan"}, "nan is not from 0 to 2"},
                         {{"draw", "m", "--batch", "4,17"}, "17 is not from 1 to 16"},
                         {{"draw", "m", "--seed", "-1"}, "--seed: -1 is less than 0"},
                         {{"draw", "m", "--on", "--off"}, "--on excludes --off"},
                         {{"draw"}, "MODEL is required"},
                         {{"draw", "m", "--output"}, "--output"},
                         {{"--on"}, "subcommand is required"}}) {
    const auto ended = parse(each.words);
    ASSERT_FALSE(ended) << each.said;
    EXPECT_EQ(ended.error().kind, base::ErrorKind::wrong_usage);
    EXPECT_NE(ended.error().message().find(each.said), std::string::npos)
        << ended.error().message();
    EXPECT_FALSE(ended.error().next.empty());
  }
}

TEST_F(CommandLineTest, EveryOptionIsDescribedByItsNames) {
  ASSERT_TRUE(parse({"say"}));  // adds --language
  const std::vector<VerbText> verbs = line_.verbs();
  ASSERT_EQ(verbs.size(), 2u);
  EXPECT_EQ(verbs[0].summary, "draws");
  EXPECT_EQ(verbs[0].examples, "  nautile draw m");
  std::string names;
  for (const OptionText& option : verbs[0].options) {
    names += option.names + (option.value.empty() ? "" : " " + option.value) + option.place + "|";
    EXPECT_FALSE(option.help.empty()) << option.names;
    if (option.names == "--count") {
      EXPECT_EQ(option.help, "how many (1 to 8)");
      EXPECT_EQ(option.standard, "1");
    }
    if (option.names == "--most") {
      EXPECT_EQ(option.help, "at most");
    }
  }
  EXPECT_EQ(names,
            "-h,--help|MODEL|WORDS|-o,--output TEXT|--picture TEXT|--batch N|--count N|--weight X|"
            "--most N|--seed N|--temp X|--on|--off|--threads N|--model VALUE|--language VALUE|");
  // It may be given by name or at its place.
  Verb hold = line_.verb("hold", "holds", "  nautile hold");
  hold.option("--vectors,VECTORS", values_.out, "a file");
  const OptionText both = line_.verbs()[2].options.back();
  EXPECT_EQ(both.names + both.place, "--vectorsVECTORS");
  EXPECT_EQ(verbs[0].options[3].long_names, (std::vector<std::string>{"--output"}));
}

}  // namespace
}  // namespace app
