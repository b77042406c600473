#include "engine/wire.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <set>

#include "base/random.h"

namespace engine::wire {
namespace {

Request full_request() {
  Request r;
  r.id = 0xfedcba9876543210ull;
  r.model = "r1:7b";
  ChatPrompt chat;
  chat.messages.push_back({.role = "system", .content = "Sei höflich."});
  chat.messages.push_back({.role = "user", .content = std::string("a\0b", 3), .name = "Ann"});
  chat.messages.push_back(
      {.role = "assistant", .content = "So", .reasoning_content = "thought", .prefix = true});
  chat.messages.push_back(
      {.role = "assistant", .tool_calls = {{"call_1", "add", "{}"}, {"call_2", "f", "{\"a\":1}"}}});
  chat.messages.push_back({.role = "tool", .content = "3", .tool_call_id = "call_1"});
  chat.messages.push_back({.role = "user",
                           .content = "été",
                           .pictures = {{0, std::string("\x89PNG\0\xff", 6)}, {5, "two"}}});
  chat.tools = {{"add", base::Json::object({{"type", "function"}})}, {"f", nullptr}};
  chat.tool_choice = ToolChoice::named;
  chat.tool_name = "add";
  chat.parallel_calls = false;
  chat.thinking = Thinking::on;
  chat.template_arguments = base::Json::object({{"x", base::Json::array()}, {"y", 1.5}});
  r.prompt = chat;
  r.sampling = {0.6, 40, 0.95, 0.05, 1.1, -0.5, 0.25, 7u};
  r.tokens_max = 100;
  r.stop_strings = {"\n\n", "Ende"};
  r.stop_ids = {1, 2};
  r.ignore_end_tokens = true;
  r.logprobs_top = 5;
  r.prompt_logprobs = true;
  r.exact = true;
  r.thinking_tokens_max = 12;
  r.account = 99;
  return r;
}

Token token() { return {{5, "\xe2\x82", -0.25f}, {{5, "\xe2\x82", -0.25f}, {6, "x", -INFINITY}}}; }

// One of every kind, every field away from its default.
std::vector<Frame> all_frames() {
  Request text = full_request();
  text.prompt = TextPrompt{"Once", false};
  Request ids = full_request();
  ids.prompt = IdsPrompt{{1, 2, 3}};
  ids.sampling.seed.reset();
  Request draw = full_request();
  draw.prompt = DrawPrompt{"a whale", 4, 2.5, {1, 2, 3, 4}};
  ModelStatus status{"m",
                     "qwen2",
                     "Q4_K_M",
                     "MIT",
                     1,
                     2,
                     3,
                     4096,
                     true,
                     ThinkingSupport::always,
                     true,
                     true,
                     base::Json::object({{"top_p", 0.95}}),
                     1'700'000'000,
                     true,
                     true,
                     578,
                     384};
  EngineStats stats{true, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  base::Error error{base::ErrorKind::unavailable, "what", "why", "next"};
  Usage usage{1, 2, 3, 4, 5, 6, 7, 8, 9};
  return {
      Hello{7},
      Start{1, full_request()},
      Start{2, text},
      Start{3, ids},
      Start{3, draw},
      Cancel{4},
      AnswerNow{5},
      Tokenize{6, "m", "text", true, true},
      Detokenize{7, "m", {9, 8}},
      MeasurePrompt{8, "m", std::get<ChatPrompt>(full_request().prompt)},
      Welcome{1, {status, {}}, {{"broken", error}}},
      Models{{status}},
      Stats{stats},
      RequestEvent{1, Queued{3, 100, 400}},
      RequestEvent{1, Loading{"m", 1500, 0.25}},
      RequestEvent{1, Reading{10, 20, 5}},
      RequestEvent{1, PromptToken{token(), true}},
      RequestEvent{1, Delta{Part::reasoning, "Grüße", {5, 6}, {token(), token()}, {}}},
      RequestEvent{1, Delta{Part::answer, "", {7}, {}, {{0, "f", "{}"}, {1, "g", "{\"a\":1}"}}}},
      RequestEvent{1, End{EndReason::length, true, usage, error}},
      RequestEvent{1, SketchRow{3, 22, 24, std::string("\xff\0\x80\1\2\3", 6)}},
      RequestEvent{1, Drawn{2, 0xfedcba9876543210ull, std::string("\x89PNG\0", 5), {7, 0, 16383}}},
      Refused{9, error},
      Started{10},
      Ids{11, {1, -1, 3}},
      Text{12, "\xff\xfe"},
      Size{13, {5000, 4096, -1}}};
}

std::span<const uint8_t> payload_of(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()) + header_bytes,
          bytes.size() - header_bytes};
}

TEST(Wire, EveryFrameComesBackAsItWent) {
  std::set<size_t> kinds;
  for (const Frame& frame : all_frames()) {
    auto bytes = encode(frame, to_engine_bytes_max);
    ASSERT_TRUE(bytes.has_value());
    auto back = decode(static_cast<uint8_t>((*bytes)[4]), payload_of(*bytes));
    ASSERT_TRUE(back.has_value()) << frame.index();
    EXPECT_EQ(back->index(), frame.index());
    EXPECT_EQ(*encode(*back, to_engine_bytes_max), *bytes);
    kinds.insert(frame.index());
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<Frame>);
  auto bytes = encode(Start{1, full_request()}, to_engine_bytes_max);
  auto start = std::get<Start>(*decode(1, payload_of(*bytes)));
  const auto& chat = std::get<ChatPrompt>(start.request.prompt);
  EXPECT_EQ(chat.messages[1].content, std::string("a\0b", 3));
  EXPECT_EQ(chat.messages[3].tool_calls[1].arguments, "{\"a\":1}");
  EXPECT_EQ(chat.tools[0].definition.find("type")->as_string(), "function");
  EXPECT_EQ(chat.tool_name, "add");
  EXPECT_EQ(chat.template_arguments.find("y")->as_number(), 1.5);
  EXPECT_EQ(chat.messages[5].pictures[0].bytes, std::string("\x89PNG\0\xff", 6));
  EXPECT_EQ(chat.messages[5].pictures[1].at, 5u);
  EXPECT_EQ(start.request.sampling.seed, 7u);
  EXPECT_EQ(start.request.account, 99u);
}

TEST(Wire, EveryCutAndEveryLeftoverIsRefused) {
  for (const Frame& frame : all_frames()) {
    auto bytes = encode(frame, to_engine_bytes_max);
    auto payload = payload_of(*bytes);
    auto kind = static_cast<uint8_t>((*bytes)[4]);
    for (size_t n = 0; n < payload.size(); ++n) {
      EXPECT_FALSE(decode(kind, payload.first(n)).has_value()) << frame.index() << " cut at " << n;
    }
    std::vector<uint8_t> longer(payload.begin(), payload.end());
    longer.push_back(0);
    EXPECT_FALSE(decode(kind, longer).has_value());
  }
  EXPECT_FALSE(decode(std::variant_size_v<Frame>, {}).has_value());
  EXPECT_FALSE(decode(255, {}).has_value());
}

TEST(Wire, ChangedBytesNeverBreakTheReader) {
  base::SeededRandom random(3);
  int accepted = 0;
  for (const Frame& frame : all_frames()) {
    auto bytes = encode(frame, to_engine_bytes_max);
    auto kind = static_cast<uint8_t>((*bytes)[4]);
    for (int i = 0; i < 2000; ++i) {
      std::vector<uint8_t> payload(payload_of(*bytes).begin(), payload_of(*bytes).end());
      for (uint64_t n = 1 + random.below(3); n > 0; --n) {
        payload[random.below(payload.size())] = static_cast<uint8_t>(random.below(256));
      }
      auto decoded = decode(kind, payload);
      if (decoded) {
        ++accepted;
        auto again = encode(*decoded, to_engine_bytes_max);
        EXPECT_TRUE(again.has_value() && decode(kind, payload_of(*again)).has_value());
      }
    }
  }
  EXPECT_GT(accepted, 0);
}

TEST(Wire, ValuesOutOfRangeAreRefused) {
  auto refused = [](const Frame& frame) {
    auto bytes = encode(frame, to_engine_bytes_max);
    return !decode(static_cast<uint8_t>((*bytes)[4]), payload_of(*bytes)).has_value();
  };
  Token nan = token();
  nan.chosen.logprob = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(refused(RequestEvent{1, Delta{Part::answer, "x", {5}, {nan}}}));
  EXPECT_TRUE(refused(RequestEvent{1, Delta{Part::answer, "\xff", {}, {}}}));
  EXPECT_TRUE(refused(RequestEvent{1, Queued{-1, 0, 0}}));
  EXPECT_TRUE(refused(RequestEvent{1, Loading{"m", 0, 1.5}}));
  EXPECT_TRUE(refused(RequestEvent{1, End{static_cast<EndReason>(9), false, {}, {}}}));
  ModelStatus status;
  status.context_tokens = -1;
  EXPECT_TRUE(refused(Models{{status}}));
  status.context_tokens = 1;
  status.defaults = base::Json::array();
  EXPECT_TRUE(refused(Models{{status}}));
  EXPECT_TRUE(refused(Refused{1, {static_cast<base::ErrorKind>(77), "", "", ""}}));
}

TEST(Wire, PicturesKeepTheLimitsOfTheDoor) {
  auto refused = [](std::vector<Picture> pictures, std::string role = "user") {
    ChatPrompt chat;
    chat.messages.push_back(
        {.role = std::move(role), .content = "été", .pictures = std::move(pictures)});
    auto bytes = encode(MeasurePrompt{1, "m", chat}, to_engine_bytes_max);
    return !decode(static_cast<uint8_t>((*bytes)[4]), payload_of(*bytes)).has_value();
  };
  const std::string large(picture_bytes_max, 'x');
  EXPECT_FALSE(refused({{0, "a"}, {0, "b"}, {5, "c"}}));
  EXPECT_FALSE(refused({{0, large}, {0, large}}));
  EXPECT_TRUE(refused({{0, large}, {0, large}, {0, "b"}}));
  EXPECT_TRUE(refused({{0, large + "x"}}));
  EXPECT_FALSE(refused(std::vector<Picture>(pictures_seen_max)));
  EXPECT_TRUE(refused(std::vector<Picture>(pictures_seen_max + 1)));
  EXPECT_TRUE(refused({{2, "a"}, {0, "b"}})) << "not in order";
  EXPECT_TRUE(refused({{6, "a"}})) << "behind the text";
  EXPECT_TRUE(refused({{1, "a"}})) << "within a character";
  EXPECT_TRUE(refused({{0, "a"}}, "assistant"));
  auto event_refused = [](const Event& event) {
    auto bytes = encode(RequestEvent{1, event}, to_gate_bytes_max);
    return !decode(static_cast<uint8_t>((*bytes)[4]), payload_of(*bytes)).has_value();
  };
  EXPECT_FALSE(event_refused(SketchRow{0, 0, 1, "abc"}));
  EXPECT_TRUE(event_refused(SketchRow{pictures_drawn_max, 0, 1, "abc"}));
  EXPECT_TRUE(event_refused(SketchRow{0, 1, 1, "abc"}));
  EXPECT_TRUE(event_refused(SketchRow{0, 0, 1, "abcd"}));
  EXPECT_TRUE(event_refused(SketchRow{0, 0, sketch_side_max + 1, ""}));
  EXPECT_TRUE(event_refused(SketchRow{0, 0, 1, std::string(3 * sketch_side_max + 3, 'x')}));
  EXPECT_TRUE(event_refused(Drawn{pictures_drawn_max, 1, "", {}}));
  EXPECT_TRUE(event_refused(Drawn{0, 1, "", {-1}}));
}

TEST(Wire, ACountIsNotBelieved) {
  // Models with 2^32 - 1 entries and no bytes behind.
  std::vector<uint8_t> payload = {0xff, 0xff, 0xff, 0xff};
  EXPECT_FALSE(decode(8, payload).has_value());
  payload.resize(100, 0xff);
  EXPECT_FALSE(decode(8, payload).has_value());
}

TEST(Wire, TooLargeIsSaidBeforeItIsSent) {
  Request request;
  request.prompt = TextPrompt{std::string(1000, 'x'), true};
  auto bytes = encode(Start{1, request}, 500);
  ASSERT_FALSE(bytes.has_value());
  EXPECT_EQ(bytes.error().kind, base::ErrorKind::limit_exceeded);
}

}  // namespace
}  // namespace engine::wire
