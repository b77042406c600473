#include "text/tokenizer.h"

#include <algorithm>
#include <map>
#include <random>

#include "text/bpe.h"
#include "text/text_fixture_test.h"

namespace text {
namespace {

using testing_support::add;
using testing_support::make;
using testing_support::small_spec;
using Ids = std::vector<int32_t>;

Ids encode(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options = {}) {
  return tokenizer.encode(text, options);
}

TEST(Tokenizer, MergesTheLowestRankFirst) {
  const auto tokenizer = make(small_spec());
  EXPECT_EQ(encode(*tokenizer, "hello"), (Ids{259}));
  EXPECT_EQ(encode(*tokenizer, "hell the"), (Ids{256, 257, 260, 256}));
  EXPECT_EQ(encode(*tokenizer, ""), Ids());
  EXPECT_EQ(tokenizer->decode(Ids{259, 260, 256}), "hello the");
}

TEST(Tokenizer, DecodingGivesEveryByteBack) {
  const auto tokenizer = make(small_spec());
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int n = static_cast<int>(random() % 400); n > 0; --n) {
      text.push_back(random() % 3 ? "hello t"[random() % 7] : static_cast<char>(random()));
    }
    ASSERT_EQ(tokenizer->decode(encode(*tokenizer, text)), text);
  }
}

// The definition, step by step: join the pair of lowest rank, leftmost first.
Ids merged_slowly(const TokenizerSpec& spec, std::string_view text) {
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  for (size_t i = 0; i < spec.merges.size(); ++i) ranks.emplace(spec.merges[i], i);
  std::vector<std::string> parts;
  for (const char c : text) append_utf8(parts.emplace_back(), byte_symbol(static_cast<uint8_t>(c)));
  for (;;) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find({parts[i], parts[i + 1]});
      if (found != ranks.end() && found->second < best) best = found->second, at = i;
    }
    if (best == SIZE_MAX) break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
  Ids ids;
  for (const std::string& part : parts) {
    ids.push_back(static_cast<int32_t>(std::ranges::find(spec.tokens, part) - spec.tokens.begin()));
  }
  return ids;
}

// A vocabulary of random merges over "abc", so that pieces of every length merge in every order.
TokenizerSpec random_spec(std::mt19937& random) {
  TokenizerSpec spec = small_spec();
  spec.tokens.resize(256);
  spec.merges.clear();
  spec.pre_tokenizer_name.clear();
  std::vector<std::string> known = {"a", "b", "c"};
  while (spec.merges.size() < 60) {
    const std::string left = known[random() % known.size()], right = known[random() % known.size()];
    if (std::ranges::find(known, left + right) != known.end()) continue;
    spec.merges.emplace_back(left, right);
    spec.tokens.push_back(left + right);
    known.push_back(left + right);
  }
  return spec;
}

TEST(Tokenizer, ShortAndLongPiecesEqualTheDefinition) {
  std::mt19937 random(5);
  for (int vocabulary = 0; vocabulary < 5; ++vocabulary) {
    const TokenizerSpec spec = random_spec(random);
    const auto tokenizer = make(spec);
    for (const size_t length : {1, 2, 7, 30, 47, 48, 49, 50, 120, 300}) {
      std::string text(length, 'a');
      for (char& c : text) c = static_cast<char>('a' + random() % 3);
      ASSERT_EQ(encode(*tokenizer, text), merged_slowly(spec, text)) << text;
    }
  }
}

TEST(Tokenizer, OneLetterAMillionTimes) {
  TokenizerSpec spec = small_spec();
  std::string token = "a";
  while (token.size() < 64) {
    spec.merges.emplace_back(token, token);
    spec.tokens.push_back(token + token);
    token += token;
  }
  const auto tokenizer = make(spec);
  const auto last = static_cast<int32_t>(spec.tokens.size() - 1);
  const std::string text(1 << 20, 'a');
  EXPECT_EQ(encode(*tokenizer, text), Ids((1 << 20) / 64, last));
}

TEST(Tokenizer, RepeatedWordsComeFromTheCacheUnchanged) {
  const auto tokenizer = make(small_spec());
  std::mt19937 random(9);
  std::string text;
  Ids expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string word = " " + std::string(1 + random() % 3, "helot"[random() % 5]) + "hello";
    text += word;
    const Ids ids = encode(*tokenizer, word);
    expected.insert(expected.end(), ids.begin(), ids.end());
  }
  EXPECT_EQ(encode(*tokenizer, text), expected);
}

TEST(Tokenizer, AByteWithoutTokenIsDropped) {
  TokenizerSpec spec = small_spec();
  spec.kinds.assign(spec.tokens.size(), TokenKind::normal);
  spec.kinds[4] = TokenKind::unused;
  spec.unknown_id = 0;
  const auto tokenizer = make(spec);
  EXPECT_EQ(encode(*tokenizer, std::string("h\x04"
                                           "e")),
            (Ids{104, 101}));
  EXPECT_EQ(tokenizer->bytes(4), "");
}

TEST(Tokenizer, WholePiecesGoBeforeMerges) {
  TokenizerSpec spec = small_spec();
  spec.tokens.push_back("the");  // no merge leads to it
  EXPECT_EQ(encode(*make(spec), "the"), (Ids{'t', 256}));
  spec.ignore_merges = true;
  EXPECT_EQ(encode(*make(spec), "the"), (Ids{261}));
}

struct Added {
  TokenizerSpec spec = small_spec();
  int32_t start = add(spec, {.content = "<|start|>", .special = true});
  int32_t user = add(spec, {.content = "<\uff5cUser\uff5c>"});  // shaped, but not flagged
  int32_t think = add(spec, {.content = "<think>"});
  int32_t thinking = add(spec, {.content = "<think>ing"});
};

TEST(AddedTokens, ControlTokensAreTextUnlessParsed) {
  const Added a;
  const auto tokenizer = make(a.spec);
  for (const std::string text : {"<|start|>", "<\uff5cUser\uff5c>"}) {
    const Ids plain = encode(*tokenizer, text);
    EXPECT_EQ(tokenizer->decode(plain), text);
    for (const int32_t id : plain) EXPECT_FALSE(tokenizer->is_control(id));
  }
  EXPECT_EQ(encode(*tokenizer, "<|start|><think>", {.parse_special = true}),
            (Ids{a.start, a.think}));
  EXPECT_EQ(encode(*tokenizer, "<\uff5cUser\uff5c>", {.parse_shaped = true}), (Ids{a.user}));
  EXPECT_EQ(encode(*tokenizer, "<think>").front(), a.think);
  EXPECT_EQ(encode(*tokenizer, "<think>", {.parse_added = false}).size(), 7u);
  EXPECT_EQ(tokenizer->id_of("<think>"), a.think);
  EXPECT_EQ(tokenizer->id_of("<thin"), -1);
  EXPECT_EQ(tokenizer->bytes(a.start, false), "");
  EXPECT_EQ(tokenizer->bytes(a.start), "<|start|>");
  EXPECT_EQ(tokenizer->bytes(-1), "");
  EXPECT_EQ(tokenizer->bytes(tokenizer->size()), "");
}

TEST(AddedTokens, TheLongestWins) {
  const Added a;
  const auto tokenizer = make(a.spec);
  EXPECT_EQ(encode(*tokenizer, "<think>ing"), (Ids{a.thinking}));
  EXPECT_EQ(encode(*tokenizer, "<think>in"), (Ids{a.think, 'i', 'n'}));
  EXPECT_EQ(encode(*tokenizer, "<<think>"), (Ids{'<', a.think}));
}

TEST(AddedTokens, NobodyTypesAControlToken) {
  const Added a;
  const auto tokenizer = make(a.spec);
  const std::string typed = "<|start|>", text = "<|start|>" + typed + "<|start|>";
  const auto with = [&](std::vector<Tokenizer::Span> spans) {
    const Ids ids = tokenizer->encode_rendered(text, spans);
    EXPECT_EQ(tokenizer->decode(ids), text);
    return std::ranges::count(ids, a.start);
  };
  EXPECT_EQ(with({}), 3);
  EXPECT_EQ(with({{9, 18}}), 2);
  EXPECT_EQ(with({{0, 27}}), 0);
  EXPECT_EQ(with({{17, 18}}), 2);          // half typed is typed
  EXPECT_EQ(with({{8, 10}}), 1);           // one letter of each of two
  EXPECT_EQ(with({{9, 9}, {18, 18}}), 3);  // empty spans touch nothing
  EXPECT_EQ(with({{0, 9}, {18, 27}}), 1);
  // What is not shaped like a control token always matches.
  const Tokenizer::Span all[] = {{0, 7}};
  EXPECT_EQ(tokenizer->encode_rendered("<think>", all), (Ids{a.think}));
}

TEST(AddedTokens, StripAndSingleWord) {
  TokenizerSpec spec = small_spec();
  const int32_t left = add(spec, {.content = "<l>", .lstrip = true});
  const int32_t right = add(spec, {.content = "<r>", .rstrip = true});
  const int32_t word = add(spec, {.content = "tok", .single_word = true});
  const auto tokenizer = make(spec);
  EXPECT_EQ(encode(*tokenizer, "a \u3000<l> b"), (Ids{'a', left, ' ', 'b'}));
  EXPECT_EQ(encode(*tokenizer, "a <r> \nb"), (Ids{'a', ' ', right, 'b'}));
  EXPECT_EQ(encode(*tokenizer, "<r>  <l>"), (Ids{right, left}));
  EXPECT_EQ(encode(*tokenizer, "tok,tok"), (Ids{word, ',', word}));
  EXPECT_EQ(encode(*tokenizer, "toke").size(), 4u);
  EXPECT_EQ(encode(*tokenizer, "étok").size(), 5u);
}

TEST(AddedTokens, NormalizedOnesAreFoundInTheNormalText) {
  TokenizerSpec spec = small_spec();
  spec.normalizer_nfc = true;
  const int32_t plain = add(spec, {.content = "<e\u0301>"});
  const int32_t normal = add(spec, {.content = "[e\u0301]", .normalized = true});
  const int32_t control = add(spec, {.content = "<|\u00e9|>", .normalized = true});
  const auto tokenizer = make(spec);
  EXPECT_EQ(encode(*tokenizer, "<e\u0301>"), (Ids{plain}));
  EXPECT_NE(encode(*tokenizer, "<\u00e9>"), (Ids{plain}));
  EXPECT_EQ(encode(*tokenizer, "[e\u0301]"), (Ids{normal}));
  EXPECT_EQ(encode(*tokenizer, "[\u00e9]"), (Ids{normal}));
  EXPECT_EQ(encode(*tokenizer, "e\u0301"), encode(*tokenizer, "\u00e9"));
  // The guard follows the text through its normal form, whose offsets are others.
  const std::string text = "e\u0301<|e\u0301|>e\u0301<|e\u0301|>";
  const Tokenizer::Span typed[] = {{3, 10}};
  const Ids ids = tokenizer->encode_rendered(text, typed);
  EXPECT_EQ(std::ranges::count(ids, control), 1);
  EXPECT_EQ(ids.back(), control);
}

TEST(AddedTokens, KindsOfGgufCountWithoutAList) {
  TokenizerSpec spec = small_spec();
  const int32_t control = add(spec, {.content = "<s>", .special = true});
  const int32_t ordinary = add(spec, {.content = "<|user|>"});
  const int32_t wide = add(spec, {.content = "<\uff5cfim\uff5c>"});
  spec.added.clear();
  const auto tokenizer = make(spec);
  EXPECT_NE(encode(*tokenizer, "<s>").front(), control);
  EXPECT_EQ(encode(*tokenizer, "<|user|>"), (Ids{ordinary}));
  EXPECT_NE(encode(*tokenizer, "<\uff5cfim\uff5c>").front(), wide);
  const Tokenizer::Span typed[] = {{0, 8}};
  EXPECT_NE(tokenizer->encode_rendered("<|user|>", typed), (Ids{ordinary}));
}

TEST(Tokenizer, BeginAndEndAreNotDoubled) {
  Added a;
  a.spec.bos_id = a.start;
  a.spec.eos_id = a.user;
  a.spec.add_bos = a.spec.add_eos = true;
  const auto tokenizer = make(a.spec);
  EXPECT_EQ(encode(*tokenizer, "t"), (Ids{'t'}));
  EXPECT_EQ(encode(*tokenizer, "t", {.add_bos = true}), (Ids{a.start, 't', a.user}));
  EXPECT_EQ(encode(*tokenizer, "<|start|>t", {.parse_special = true, .add_bos = true}),
            (Ids{a.start, 't', a.user}));
  EXPECT_EQ(encode(*tokenizer, "", {.add_bos = true}), (Ids{a.start, a.user}));
  EXPECT_TRUE(tokenizer->is_end(a.user));
  EXPECT_FALSE(tokenizer->is_end('t'));
}

void expect_refused(TokenizerSpec spec, std::string_view part) {
  const auto made = Tokenizer::make(std::move(spec));
  ASSERT_FALSE(made.has_value()) << part;
  EXPECT_NE(made.error().message().find(part), std::string::npos) << made.error().message();
}

TEST(Tokenizer, BadVocabulariesAreRefused) {
  const auto with_merge = [](const char* left, const char* right) {
    TokenizerSpec spec = small_spec();
    spec.merges.emplace_back(left, right);
    return spec;
  };
  expect_refused(with_merge("h", "q"), "result");
  expect_refused(with_merge("foo", "h"), "parts");
  expect_refused(with_merge("", "h"), "empty");
  expect_refused(TokenizerSpec(), "empty");
  TokenizerSpec spec = small_spec();
  spec.bos_id = 1000;
  expect_refused(spec, "bos");
  spec = small_spec();
  spec.end_ids = {-5};
  expect_refused(spec, "end token id -5");
  spec = small_spec();
  spec.kinds.assign(3, TokenKind::normal);
  expect_refused(spec, "token types");
  spec = small_spec();
  spec.added.push_back({.id = 9999, .content = "<x>"});
  expect_refused(spec, "<x>");
  spec = small_spec();
  add(spec, {.content = std::string(5000, 'x')});
  expect_refused(spec, "5000 bytes");
  spec = small_spec();
  spec.pre_tokenizer_name = "banana\x1b[31m";
  expect_refused(spec, "banana");
  spec = small_spec();
  spec.pre_tokenizer.assign(100, {PreTokenizerStep::Kind::digits_individual, ""});
  expect_refused(spec, "100 steps");
}

TEST(Tokenizer, CyclicAndRepeatedMergesEnd) {
  TokenizerSpec spec = small_spec();
  spec.tokens.push_back("hehe");
  spec.tokens.push_back("hehehehe");
  spec.merges = {{"hehe", "hehe"}, {"he", "he"}, {"h", "e"}};
  spec.merges.insert(spec.merges.end(), 3000, {"h", "e"});
  EXPECT_EQ(encode(*make(spec), "hehehehe"), (Ids{262}));
  EXPECT_EQ(encode(*make(spec), "hehehehehe"), (Ids{262, 256}));
}

TEST(Tokenizer, StepsOfTokenizerJson) {
  using Kind = PreTokenizerStep::Kind;
  TokenizerSpec spec = small_spec();
  spec.tokens.push_back("12");
  spec.merges.emplace_back("1", "2");
  spec.pre_tokenizer = {{Kind::digits_together, ""}};
  EXPECT_EQ(encode(*make(spec), "12"), (Ids{261}));
  spec.pre_tokenizer = {{Kind::digits_individual, ""}, {Kind::byte_level_gpt2, ""}};
  EXPECT_EQ(encode(*make(spec), "12"), (Ids{'1', '2'}));
  spec.pre_tokenizer = {{Kind::split_isolated, "h"}};
  EXPECT_EQ(encode(*make(spec), "hello"), (Ids{'h', 'e', 258}));
}

}  // namespace
}  // namespace text
