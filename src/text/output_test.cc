// The output pipeline: splitter and stop matcher, fed in every portioning.
#include <random>

#include "text/splitter.h"
#include "text/stop_matcher.h"
#include "text/text_fixture_test.h"

namespace text {
namespace {

using testing_support::add;
using testing_support::make;
using testing_support::small_spec;
using Ids = std::vector<int32_t>;

struct Output {
  std::string reasoning, answer;
  Ids ids, reasoning_ids;
};

Output collect(const std::vector<Piece>& pieces) {
  Output out;
  for (const Piece& piece : pieces) {
    const bool reasoning = piece.part == Part::reasoning;
    (reasoning ? out.reasoning : out.answer) += piece.text;
    out.ids.insert(out.ids.end(), piece.ids.begin(), piece.ids.end());
    if (reasoning) {
      out.reasoning_ids.insert(out.reasoning_ids.end(), piece.ids.begin(), piece.ids.end());
    }
  }
  return out;
}

// Vocabularies with and without tokens for the markers.
struct Model {
  explicit Model(bool with_tokens) {
    TokenizerSpec spec = small_spec();
    if (with_tokens) {
      open = add(spec, {.content = "<think>"});
      close = add(spec, {.content = "</think>"});
    }
    control = add(spec, {.content = "<|im_end|>", .special = true});
    tokenizer = make(spec);
  }
  Output run(const Ids& ids, bool inside, bool thinks = true) const {
    Splitter splitter(*tokenizer, ThinkMarkers::of(*tokenizer), inside, thinks);
    std::vector<Piece> pieces;
    for (const int32_t id : ids) splitter.push(id, pieces);
    splitter.finish(pieces);
    const Output out = collect(pieces);
    EXPECT_EQ(out.ids, ids);  // each id once, in order
    return out;
  }
  Output run(const std::string& text, bool inside, bool thinks = true) const {
    return run(tokenizer->encode(text, {}), inside, thinks);
  }
  std::unique_ptr<const Tokenizer> tokenizer;
  int32_t open = -1, close = -1, control = -1;
};

class SplitterTest : public testing::TestWithParam<bool> {
 protected:
  Model model{GetParam()};
};

TEST_P(SplitterTest, TemplateOpenedTheThinking) {
  const Output out = model.run("\nhm, hello\n\n</think>\n\nthe answer\n", true);
  EXPECT_EQ(out.reasoning, "hm, hello");
  EXPECT_EQ(out.answer, "the answer\n");
}

TEST_P(SplitterTest, ModelOpensTheThinking) {
  const Output out = model.run("<think>\nhm\n</think>\nyes", false);
  EXPECT_EQ(out.reasoning, "hm");
  EXPECT_EQ(out.answer, "yes");
  // Also where the template had opened it already.
  EXPECT_EQ(model.run("<think>hm</think>yes", true).answer, "yes");
}

TEST_P(SplitterTest, NoThinking) {
  EXPECT_EQ(model.run(" hello <think> x", false).answer, " hello <think> x");
  EXPECT_EQ(model.run(" hello <think> x", false).reasoning, "");
  EXPECT_EQ(model.run(" \n", false).answer, " \n");
  EXPECT_EQ(model.run("<think>a</think>b", false, false).answer, "<think>a</think>b");
  EXPECT_EQ(model.run("<thinks>a", false).answer, "<thinks>a");
  EXPECT_EQ(model.run("<thin", false).answer, "<thin");
}

TEST_P(SplitterTest, EmptyAndUnfinishedThinking) {
  EXPECT_EQ(model.run("<think>\n\n</think>\n\nhi", false).reasoning, "");
  EXPECT_EQ(model.run("<think>\n\n</think>\n\nhi", false).answer, "hi");
  EXPECT_EQ(model.run("</think>hi", true).answer, "hi");
  EXPECT_EQ(model.run("hm </thi", true).reasoning, "hm </thi");
  EXPECT_EQ(model.run("hm \n", true).reasoning, "hm");
  EXPECT_EQ(model.run("a</think>b</think>c", true).answer, "b</think>c");
}

TEST_P(SplitterTest, HoldsBackOnlyWhatMayBeAMarker) {
  Splitter splitter(*model.tokenizer, ThinkMarkers::of(*model.tokenizer), true);
  std::vector<Piece> pieces;
  for (const char c : std::string("hm <b")) splitter.push(static_cast<uint8_t>(c), pieces);
  EXPECT_EQ(collect(pieces).reasoning, "hm <b");
  EXPECT_TRUE(splitter.inside());
  for (const char c : std::string("</")) splitter.push(static_cast<uint8_t>(c), pieces);
  EXPECT_EQ(collect(pieces).reasoning, GetParam() ? "hm <b</" : "hm <b");
}

TEST_P(SplitterTest, CharactersAreWholeAndControlTokensHidden) {
  const std::string text = "h\u00e9</think>\u4f60";
  Ids ids = model.tokenizer->encode(text, {});
  ids.insert(ids.begin() + 2, model.control);  // within the bytes of one character
  EXPECT_EQ(model.run(ids, true).reasoning, "h\u00e9");
  EXPECT_EQ(model.run(ids, true).answer, "\u4f60");
  ids.pop_back();
  EXPECT_EQ(model.run(ids, true).answer, "\ufffd");
}

INSTANTIATE_TEST_SUITE_P(Markers, SplitterTest, testing::Bool());

TEST(Splitter, MarkerIdsAreReasoning) {
  const Model model(true);
  const Output out = model.run(Ids{model.open, 'h', model.close, 't'}, false);
  EXPECT_EQ(out.reasoning_ids, (Ids{model.open, 'h', model.close}));
  const ThinkMarkers markers = ThinkMarkers::of(*model.tokenizer);
  EXPECT_EQ(markers.close_ids, (Ids{model.close}));
  const Model without(false);
  EXPECT_EQ(without.tokenizer->decode(ThinkMarkers::of(*without.tokenizer).close_ids), "</think>");
}

// The text up to the stop string that is complete first, found by looking at every prefix.
std::pair<std::string, bool> stopped_slowly(const std::string& text,
                                            const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

TEST(StopMatcher, EveryPortioningGivesTheSame) {
  std::mt19937 random(2);
  const std::vector<std::vector<std::string>> sets = {
      {"ab"}, {"aab"}, {"abc", "bc"}, {"b", "abab"}, {"aaaa"}, {"abcab", "ca"}, {"", "cc"}, {}};
  for (int round = 0; round < 4000; ++round) {
    const auto& stops = sets[random() % sets.size()];
    std::vector<std::string> real = stops;
    std::erase(real, "");
    std::string text;
    for (int n = static_cast<int>(random() % 25); n > 0; --n) text += "abc"[random() % 3];
    StopMatcher matcher(stops);
    std::vector<Piece> pieces;
    Ids fed;
    for (size_t at = 0; at < text.size() && !matcher.stopped();) {
      const size_t length = random() % 4;  // also none
      fed.push_back(static_cast<int32_t>(fed.size()));
      matcher.push({Part::answer, text.substr(at, length), {fed.back()}}, pieces);
      at += length;
    }
    matcher.finish(pieces);
    const auto [expected, stopped] = stopped_slowly(text, real);
    const Output out = collect(pieces);
    ASSERT_EQ(out.answer, expected) << text;
    ASSERT_EQ(matcher.stopped(), stopped);
    ASSERT_EQ(out.ids, fed);
  }
}

TEST(StopMatcher, HoldsBackNoMoreThanItMust) {
  StopMatcher matcher({"\n\nUser:"});
  std::vector<Piece> pieces;
  matcher.push({Part::answer, "Hello\n", {1}}, pieces);
  EXPECT_EQ(collect(pieces).answer, "Hello");
  EXPECT_EQ(collect(pieces).ids, Ids());  // its last byte is held
  matcher.push({Part::answer, "there\n\nUs", {2}}, pieces);
  EXPECT_EQ(collect(pieces).answer, "Hello\nthere");
  matcher.push({Part::answer, "er: and more", {3}}, pieces);
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(collect(pieces).answer, "Hello\nthere");
  EXPECT_EQ(collect(pieces).ids, (Ids{1, 2, 3}));
  matcher.push({Part::answer, "nothing", {4}}, pieces);
  matcher.finish(pieces);
  EXPECT_EQ(collect(pieces).ids, (Ids{1, 2, 3}));
}

TEST(StopMatcher, DoesNotReachAcrossTheBorderOfParts) {
  StopMatcher matcher({"ab"});
  std::vector<Piece> pieces;
  matcher.push({Part::reasoning, "xa", {1}}, pieces);
  matcher.push({Part::answer, "b", {2}}, pieces);
  matcher.finish(pieces);
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(collect(pieces).reasoning, "xa");
  EXPECT_EQ(collect(pieces).answer, "b");
}

TEST(Splitter, MarksOfToolsComeByIdOutsideTheReasoning) {
  TokenizerSpec spec = small_spec();
  const int32_t open = add(spec, {.content = "<think>"});
  const int32_t close = add(spec, {.content = "</think>"});
  const int32_t mark = add(spec, {.content = "<tool_call>"});
  const auto tokenizer = make(spec);
  const auto run = [&](const Ids& ids) {
    Splitter splitter(*tokenizer, ThinkMarkers::of(*tokenizer), false, true, {mark});
    std::vector<Piece> pieces;
    for (const int32_t id : ids) splitter.push(id, pieces);
    splitter.finish(pieces);
    EXPECT_EQ(collect(pieces).ids, ids);
    std::string seen;
    for (const Piece& piece : pieces) {
      if (piece.mark >= 0) EXPECT_TRUE(piece.text.empty() && piece.ids == Ids{mark});
      seen += piece.mark >= 0                 ? "@"
              : piece.part == Part::reasoning ? "(" + piece.text + ")"
                                              : piece.text;
    }
    return seen;
  };
  EXPECT_EQ(run({mark, 'a'}), "@a");
  EXPECT_EQ(run({' ', mark, 'a'}), " @a");
  EXPECT_EQ(run({0xc3, mark, 'a'}), "\ufffd@a");
  EXPECT_EQ(run({open, mark, 'a', close, '\n', mark, 'b', mark}), "()(<tool_call>)(a)()@b@");
}

}  // namespace
}  // namespace text
