#include "engine/output.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "engine/fake_model_for_test.h"

namespace engine {
namespace {

struct Stream {
  std::unique_ptr<const text::Tokenizer> tokenizer;
  OutputStream output;
  std::vector<Delta> deltas;
  bool stopped = false;

  // `calls_max`: present: <tool_call> and </tool_call> are marks, and f is declared.
  Stream(ThinkingStart start, std::vector<std::string> stops, std::optional<int> calls_max = {})
      : tokenizer(*text::Tokenizer::make(byte_vocabulary({"<tool_call>", "</tool_call>"}))),
        output(*tokenizer, text::ThinkMarkers::of(*tokenizer), start, stops, use(calls_max)) {}
  std::optional<ToolUse> use(std::optional<int> calls_max) const {
    if (!calls_max) return std::nullopt;
    return ToolUse{text::ToolMarkup::of(*tokenizer, "<tool_call>"), {"f"}, *calls_max};
  }
  void push(int32_t id) {
    Token token;
    token.chosen.id = id;
    auto pushed = output.push(id, token);
    stopped = pushed.stopped;
    for (Delta& d : pushed.deltas) deltas.push_back(std::move(d));
  }
  void push(const std::string& text) {
    for (char c : text) push(static_cast<uint8_t>(c));
  }
  void finish() {
    for (Delta& d : output.finish()) deltas.push_back(std::move(d));
  }
  std::string text(Part part) {
    std::string text;
    for (const Delta& d : deltas) text += d.part == part ? d.text : "";
    return text;
  }
  // Every delta's log-probabilities are those of its ids, and no id is lost.
  void check(size_t ids_pushed) {
    size_t ids = 0;
    for (const Delta& d : deltas) {
      EXPECT_TRUE(base::is_utf8(d.text));
      ASSERT_EQ(d.ids.size(), d.logprobs.size());
      for (size_t i = 0; i < d.ids.size(); ++i) EXPECT_EQ(d.logprobs[i].chosen.id, d.ids[i]);
      ids += d.ids.size();
    }
    EXPECT_EQ(ids, ids_pushed);
  }
};

TEST(Output, WholeCharactersWithTheirIds) {
  Stream s(ThinkingStart::never, {});
  s.push("Grüße 🚀");
  s.finish();
  EXPECT_EQ(s.text(Part::answer), "Grüße 🚀");
  s.check(std::string("Grüße 🚀").size());
}

TEST(Output, AnUnfinishedCharacterComesAtTheEnd) {
  Stream s(ThinkingStart::never, {});
  s.push("a");
  s.push(0xe2);
  s.finish();
  EXPECT_EQ(s.text(Part::answer), "a\xef\xbf\xbd");
  s.check(2);
}

TEST(Output, ReasoningThenAnswer) {
  Stream s(ThinkingStart::inside, {"stop"});
  s.push("hm stop hm\n");
  EXPECT_TRUE(s.output.in_reasoning());
  s.push(fake_close_id);
  EXPECT_FALSE(s.output.in_reasoning());
  s.push("\n\nYes. sto");
  EXPECT_EQ(s.text(Part::answer), "Yes. ") << "what may become a stop string is held";
  s.push("p and more");
  EXPECT_TRUE(s.stopped);
  EXPECT_EQ(s.text(Part::reasoning), "hm stop hm");
  EXPECT_EQ(s.text(Part::answer), "Yes. ");
  EXPECT_EQ(s.output.thinking_tokens(), 11);
  EXPECT_EQ(s.output.reasoning_tokens(), 12);
}

TEST(Output, WhatWasHeldComesAtTheEnd) {
  Stream s(ThinkingStart::never, {"stop"});
  s.push("a sto");
  s.finish();
  EXPECT_EQ(s.text(Part::answer), "a sto");
  s.check(5);
}

// Ids of the vocabulary that a Stream with calls has.
constexpr int32_t call_open_id = fake_vocab, call_close_id = fake_vocab + 1;

TEST(Output, CallsComeWholeAndAreNoContent) {
  Stream s(ThinkingStart::outside, {"STOP"}, 128);
  size_t pushed = 0;
  const auto say = [&](const std::string& text) {
    s.push(text);
    pushed += text.size();
  };
  const auto mark = [&](int32_t id) {
    s.push(id);
    ++pushed;
  };
  mark(fake_open_id);
  say("I could ");
  mark(call_open_id);  // inside the reasoning it opens nothing
  say("f");
  mark(fake_close_id);
  say("\n\nLet me see.\n");
  mark(call_open_id);
  say("{\"name\":\"f\",\"arguments\":{\"a\":\"STOP\"}}");
  EXPECT_TRUE(std::all_of(s.deltas.begin(), s.deltas.end(),
                          [](const Delta& d) { return d.calls.empty(); }));
  mark(call_close_id);
  EXPECT_FALSE(s.stopped) << "a stop string in arguments is none";
  mark(call_open_id);
  say("{\"name\":\"g\",\"arguments\":{}}");  // not declared
  mark(call_close_id);
  s.finish();
  EXPECT_EQ(s.text(Part::reasoning), "I could f");
  EXPECT_EQ(s.text(Part::answer), "Let me see.");
  std::vector<CalledTool> calls;
  for (const Delta& d : s.deltas) calls.insert(calls.end(), d.calls.begin(), d.calls.end());
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].index, 0);
  EXPECT_EQ(calls[0].name, "f");
  EXPECT_EQ(calls[0].arguments, "{\"a\":\"STOP\"}");
  s.check(pushed);
}

TEST(Output, TheLastCallThatWasAskedForEndsTheAnswer) {
  Stream s(ThinkingStart::never, {}, 1);
  s.push(call_open_id);
  s.push("{\"name\":\"f\"}");
  EXPECT_FALSE(s.stopped);
  s.push(call_close_id);
  EXPECT_TRUE(s.stopped);
}

}  // namespace
}  // namespace engine
