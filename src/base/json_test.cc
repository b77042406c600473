#include "base/json.h"

#include <fstream>
#include <gtest/gtest.h>
#include <string_view>

#include "base/hostile_for_test.h"
#include "base/sanitized.h"

namespace base {
namespace {

TEST(Json, KeepsOrderAndTypes) {
  auto json = parse_json(R"({"b":1,"a":[true,null,"é",1.5,-7],"c":{}})", "test");
  ASSERT_TRUE(json);
  EXPECT_EQ(json->dump(), R"({"b":1,"a":[true,null,"é",1.5,-7],"c":{}})");
  EXPECT_TRUE(json->find("b")->is_integer());
  EXPECT_FALSE(json->find("a")->as_array()[3].is_integer());
  EXPECT_EQ(json->find("missing"), nullptr);
}

TEST(Json, IntegersBeyondInt64AreDoubles) {
  auto json = parse_json("[9223372036854775807,9223372036854775808,1e3]", "test");
  ASSERT_TRUE(json);
  EXPECT_TRUE(json->as_array()[0].is_integer());
  EXPECT_FALSE(json->as_array()[1].is_integer());
  EXPECT_EQ(json->as_array()[1].as_number(), 9223372036854775808.0);
  EXPECT_EQ(json->as_array()[2].as_number(), 1000.0);
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "[1,]", "nan", "{\"a\":1}x", "\"\xff\"", "\"\xed\xa0\x80\"",
                           "[1 2]", "{\"a\"}", "01", "'a'"}) {
    auto json = parse_json(text, "body");
    ASSERT_FALSE(json) << text;
    EXPECT_EQ(json.error().kind, ErrorKind::invalid_input) << text;
    EXPECT_NE(json.error().what.find("body"), std::string::npos);
  }
}

TEST(Json, ANulIsNotTheEnd) {
  using namespace std::string_view_literals;
  EXPECT_FALSE(parse_json("{}\0"sv, "x"));
  EXPECT_FALSE(parse_json("{}\0garbage"sv, "x"));
  EXPECT_FALSE(parse_json("\0"sv, "x"));
}

TEST(Json, DepthIsBounded) {
  JsonLimits limits;
  limits.depth_max = 10;
  EXPECT_TRUE(parse_json(std::string(10, '[') + std::string(10, ']'), "x", limits));
  auto deep = parse_json(std::string(11, '[') + std::string(11, ']'), "x", limits);
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().kind, ErrorKind::limit_exceeded);
  EXPECT_FALSE(parse_json(std::string(1'000'000, '['), "x", limits));
}

TEST(Json, BytesAreBounded) {
  JsonLimits limits;
  limits.bytes_max = 8;
  auto json = parse_json("\"123456789\"", "x", limits);
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().kind, ErrorKind::limit_exceeded);
}

TEST(Json, ValuesAreCounted) {
  JsonLimits limits;
  limits.values_max = 9;
  // The root, three keys, three members and two elements.
  EXPECT_TRUE(parse_json(R"({"a":[1,2],"b":{}, "c":null})", "x", limits));
  for (const std::string_view text :
       {R"({"a":[1,2],"b":{}, "c":[{}]})", "[[],[],[],[],[],[],[],[],[]]"}) {
    const auto json = parse_json(text, "x", limits);
    ASSERT_FALSE(json) << text;
    EXPECT_EQ(json.error().kind, ErrorKind::limit_exceeded);
    EXPECT_NE(json.error().message().find("9 values"), std::string::npos);
  }
}

std::string repeated(std::string_view unit, size_t times, char open, char close) {
  std::string text(1, open);
  for (size_t i = 0; i < times; ++i) {
    if (i > 0) text += ',';
    text += unit;
  }
  return text + close;
}

TEST(Json, LargestTokenizersPass) {
  std::string vocabulary = "{";
  for (int i = 0; i < 128'000; ++i) {
    if (i > 0) vocabulary += ',';
    vocabulary += fmt::format("\"token{}\":{}", i, i);
  }
  const std::string merges = repeated(R"(["ab","cd"])", 280'147, '[', ']');
  const auto json =
      parse_json(R"({"vocab":)" + vocabulary + R"(},"merges":)" + merges + "}", "tokenizer.json");
  ASSERT_TRUE(json) << json.error().message();
  EXPECT_EQ(json->find("merges")->as_array().size(), 280'147u);
}

TEST(Json, MegabytesOfTinyValuesTakeLittleMemory) {
  constexpr uint64_t bytes_max = 64ull << 20;
  constexpr size_t times = 1'200'000;
  std::vector<std::string> texts;
  for (const std::string_view unit :
       {"[]", "{}", "0", "[0]", "[[]]", "[0,0,0]", "[0,0,0,0,0]", R"({"":0})", R"("")"}) {
    texts.push_back(repeated(unit, times, '[', ']'));
  }
  texts.push_back(repeated("[]", times, '[', ' '));  // never closed
  std::string members = "{";
  for (size_t i = 0; i < times; ++i) members += fmt::format("\"{}\":0,", i);
  texts.push_back(members);
  for (const std::string& text : texts) {
    reset_peak_memory();
    const uint64_t calm = memory_now("VmRSS:");
    const auto json = parse_json(text, "x");
    ASSERT_FALSE(json) << text.substr(0, 20);
    EXPECT_EQ(json.error().kind, ErrorKind::limit_exceeded) << text.substr(0, 20);
    if (!sanitized) {
      EXPECT_LT(memory_now("VmHWM:"), calm + bytes_max) << text.substr(0, 20);
    }
  }
}

// Large containers get their memory at once, by a glance that must not be misled by strings.
TEST(Json, LargeContainersAreWhatTheyAre) {
  const std::string many = repeated(R"("],\\\"[,{")", 3000, '[', ']');
  const std::string text = R"({"[,":)" + many + R"(,"b":[)" + many + "," + many + R"(],"c":{}})";
  const auto json = parse_json(text, "x");
  ASSERT_TRUE(json) << json.error().message();
  EXPECT_EQ(json->find("[,")->as_array().size(), 3000u);
  EXPECT_EQ(json->find("b")->as_array().size(), 2u);
  EXPECT_EQ(json->find("b")->as_array()[1].as_array()[2999].as_string(), "],\\\"[,{");
  EXPECT_EQ(json->dump(), text);
}

TEST(Json, DuplicateKeys) {
  auto last_wins = parse_json(R"({"a":1,"b":2,"a":3})", "x");
  ASSERT_TRUE(last_wins);
  EXPECT_EQ(last_wins->dump(), R"({"a":3,"b":2})");
  JsonLimits limits;
  limits.duplicate_keys_refused = true;
  EXPECT_FALSE(parse_json(R"({"a":1,"b":2,"a":3})", "x", limits));
}

TEST(Json, DumpEscapes) {
  Json json = Json::object();
  json.set("q\"", "a\n\x01\\");
  json.set("bad", std::string("\xff"));
  EXPECT_EQ(json.dump(), "{\"q\\\"\":\"a\\n\\u0001\\\\\",\"bad\":\"\xEF\xBF\xBD\"}");
}

}  // namespace
}  // namespace base
