#include "text/regex.h"

#include <random>

#include "text/char_set.h"
#include "text/patterns.h"
#include "text/pre_tokenizer.h"
#include "text/text_fixture_test.h"

namespace text {
namespace {

using Fragments = std::vector<std::string>;
constexpr uint64_t plenty = 100'000'000;

Fragments split(const Splitting& splitting, std::string_view text, uint64_t steps = plenty) {
  RegexBudget budget(steps);
  Fragments out;
  splitting.split(text, budget, [&](std::string_view piece) { out.emplace_back(piece); });
  return out;
}

std::string joined(const Fragments& fragments) {
  std::string text;
  for (const std::string& fragment : fragments) text += fragment;
  return text;
}

TEST(Expressions, FragmentsAreThoseOfTheReference) {
  const base::Json file = testing_support::golden("text/expressions.json");
  std::string expression;
  std::unique_ptr<const Splitting> fast, engine;
  for (const base::Json& test : file.find("cases")->as_array()) {
    if (!fast || expression != test.find("expression")->as_string()) {
      expression = test.find("expression")->as_string();
      auto made = make_splitting(expression);
      auto on_engine = make_engine_splitting(expression);
      ASSERT_TRUE(made && on_engine) << expression;
      fast = std::move(*made);
      engine = std::move(*on_engine);
    }
    Fragments expected;
    for (const base::Json& piece : test.find("fragments")->as_array()) {
      expected.push_back(piece.as_string());
    }
    const std::string text = joined(expected);
    EXPECT_EQ(split(*fast, text), expected) << expression << " on " << text;
    EXPECT_EQ(split(*engine, text), expected) << expression << " on " << text;
  }
}

// A text of all that the well-known expressions tell apart, ill-formed bytes too.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> parts = {
      " ",      "  ", "\n",     "\r\n",   "\t",     "\u00a0", "\u3000", "\u0085", "a",  "Zz", "'s",
      "'LL",    "'",  "0",      "1234",   "\u0663", "\u00bd", "\u4f60", "\u30ab", "é",  "!",  "...",
      "\u2019", "$",  "\u00b1", "\u0301", "\x01",   "\xff",   "\xe4",   "🚀",      "-a", "/",  "ſ"};
  std::string text;
  for (int count = static_cast<int>(random() % 20); count >= 0; --count) {
    text += parts[random() % parts.size()];
  }
  return text;
}

TEST(Expressions, ScannersEqualTheEngine) {
  std::mt19937 random(3);
  for (const std::string_view name :
       {"gpt-2", "llama-bpe", "qwen2", "deepseek-v3", "deepseek-llm", "deepseek-coder"}) {
    for (const std::string_view expression : patterns_of(name)) {
      const auto fast = make_splitting(expression);
      const auto engine = make_engine_splitting(expression);
      ASSERT_TRUE(fast && engine) << expression;
      for (int i = 0; i < 2000; ++i) {
        const std::string text = random_text(random);
        const Fragments expected = split(**engine, text);
        ASSERT_EQ(split(**fast, text), expected) << expression << " on " << text;
        ASSERT_EQ(joined(expected), text);
      }
    }
  }
}

TEST(Expressions, SpellingDoesNotMatter) {
  const auto escaped = Regex::compile(patterns::llama3);
  std::string literal(patterns::llama3);
  for (size_t at; (at = literal.find("\\r\\n")) != std::string::npos;)
    literal.replace(at, 4, "\r\n");
  const auto spelled = Regex::compile(literal);
  ASSERT_TRUE(escaped && spelled);
  EXPECT_TRUE(escaped->same_as(*spelled));
  EXPECT_FALSE(escaped->same_as(*Regex::compile(patterns::qwen2)));
}

TEST(Expressions, WellKnownOnesNeedNoSteps) {
  for (const std::string_view name :
       {"gpt-2", "llama-bpe", "qwen2", "deepseek-v3", "deepseek-llm", "deepseek-coder", "smollm"}) {
    for (const std::string_view expression : patterns_of(name)) {
      const auto made = make_splitting(expression);
      ASSERT_TRUE(made) << expression;
      RegexBudget budget(1);
      (*made)->split("a b1\n! \u4e00  c", budget, [](std::string_view) {});
      EXPECT_EQ(budget.steps_left, 1u) << expression;
    }
  }
}

base::ErrorKind kind_of(std::string_view expression) {
  const auto made = make_splitting(expression);
  EXPECT_FALSE(made.has_value()) << expression;
  return made ? base::ErrorKind::internal : made.error().kind;
}

TEST(Expressions, WhatIsNotSupportedIsSaidAndNotGuessed) {
  for (const std::string_view expression :
       {"\\p{Banana}+", "\\p{Han}", "(?<=a)b", "(?<n>a)", "(a)\\1", "\\X", "[[:alpha:]]", "(?m:a)",
        "(?:a?)*", "(x*)+"}) {
    EXPECT_EQ(kind_of(expression), base::ErrorKind::unsupported) << expression;
  }
  for (const std::string_view expression : {"(", ")", "a)", "[", "[]", "[b-a]", "*a", "a{2,1}",
                                            "\\", "\\p{L", "\\u12", "\\x{110000}"}) {
    EXPECT_EQ(kind_of(expression), base::ErrorKind::invalid_input) << expression;
  }
}

TEST(Expressions, SizesAreBounded) {
  const std::string deep = std::string(20'000, '(') + "a" + std::string(20'000, ')');
  const std::string classes = std::string(2'000, '[') + "a" + std::string(2'000, ']');
  const std::string empty = "((((){1000}){1000}){1000}){1000}";
  for (const std::string& expression :
       {deep, classes, empty, std::string("a{1000000000}"), std::string("((a{1000}){1000}){1000}"),
        "a" + std::string(10'000, '?'), std::string(100'000, 'a')}) {
    EXPECT_EQ(kind_of(expression), base::ErrorKind::limit_exceeded) << expression.substr(0, 40);
  }
}

TEST(Expressions, ExponentialOnesAreRefused) {
  std::string optional;
  for (int i = 0; i < 50; ++i) optional += "a?";
  for (const std::string& expression :
       {std::string("(a+)+$"), std::string("(a|a)*b"), optional + std::string(50, 'a')}) {
    EXPECT_EQ(kind_of(expression), base::ErrorKind::limit_exceeded) << expression.substr(0, 40);
  }
}

TEST(Expressions, AnUsedUpBudgetLeavesTheRestWhole) {
  const auto engine = make_engine_splitting("(?:a|b)c|d");
  ASSERT_TRUE(engine);
  const std::string text = "dd" + std::string(1000, 'a');
  EXPECT_EQ(split(**engine, text, 16), (Fragments{"d", "d", std::string(1000, 'a')}));
  EXPECT_EQ(joined(split(**engine, text, 1)), text);
}

TEST(CharSet, IsAnAlgebra) {
  CharSet set;
  set.add('c', 'f');
  set.add('a', 'b');
  set.add('e', 'k');
  EXPECT_EQ(set.ranges(), (std::vector<CharSet::Range>{{'a', 'k'}}));
  EXPECT_EQ(set.complement().complement(), set);
  EXPECT_TRUE(set.intersection(set.complement()).empty());
  EXPECT_TRUE(set.complement().contains(ill_formed + 0xff));
  const CharSet letters = CharSet::of_categories(mask_letter);
  const CharClass members(letters);
  for (uint32_t c = 0; c < code_point_end; c += 7) {
    const bool letter = (mask_of(category_of(c)) & mask_letter) != 0;
    ASSERT_EQ(letters.contains(c), letter) << c;
    ASSERT_EQ(members.contains(c), letter) << c;
  }
}

}  // namespace
}  // namespace text
