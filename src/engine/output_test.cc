#include "engine/output.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "engine/fake_model_for_test.h"

namespace engine {
namespace {

struct Stream {
  std::unique_ptr<const text::Tokenizer> tokenizer = *text::Tokenizer::make(byte_vocabulary());
  OutputStream output;
  std::vector<Delta> deltas;
  bool stopped = false;

  Stream(ThinkingStart start, std::vector<std::string> stops)
      : output(*tokenizer, text::ThinkMarkers::of(*tokenizer), start, stops) {}
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

}  // namespace
}  // namespace engine
