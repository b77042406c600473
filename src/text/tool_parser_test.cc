// ToolParser on each markup, with its text portioned at every byte and broken in each place, marks
// as ids and as texts.
#include "text/tool_parser.h"

#include <gtest/gtest.h>

#include "text/splitter.h"

namespace text {
namespace {

using Kind = ToolMarkup::Kind;
using Role = ToolMarkup::Role;
// @ # section, [ | ] call, ! result: they stand for marks; everything else is text.
constexpr std::string_view signs = "@#[|]!";
constexpr Role roles[] = {Role::open,      Role::close,      Role::call_open,
                          Role::separator, Role::call_close, Role::result};

std::string literal(size_t sign) { return "<｜m" + std::to_string(sign) + "｜>"; }

ToolMarkup markup(Kind kind, bool by_id) {
  ToolMarkup out{kind, {}};
  for (size_t i = 0; i < signs.size(); ++i) {
    const bool has = kind == Kind::bare ? i == 0 : kind == Kind::tagged ? (i != 3 && i > 1) : true;
    if (has) out.marks.push_back({roles[i], literal(i), by_id ? static_cast<int32_t>(i) : -1});
  }
  return out;
}

struct Seen {
  std::string text;
  std::vector<int32_t> ids;
};

// "content<f:args><g:args>", text in portions of `bytes`, ids counted up from 100.
Seen run(Kind kind, std::string_view script, size_t bytes, bool by_id, ToolLimits limits = {},
         std::vector<std::string> names = {"f", "g"}) {
  ToolParser parser(markup(kind, by_id), std::move(names), limits);
  std::vector<Piece> out;
  std::string plain;
  int32_t id = 100;
  const auto push_plain = [&] {
    for (size_t at = 0; at < plain.size(); at += bytes) {
      parser.push({Part::answer, plain.substr(at, bytes), {id++}}, out);
    }
    plain.clear();
  };
  for (const char c : script) {
    const size_t sign = signs.find(c);
    if (sign == std::string_view::npos) {
      plain.push_back(c);
    } else if (by_id) {
      push_plain();
      parser.push({Part::answer, {}, {static_cast<int32_t>(sign)}, static_cast<int32_t>(sign)},
                  out);
    } else {
      plain += literal(sign);
    }
  }
  push_plain();
  parser.finish(out);
  Seen seen;
  int calls = 0;
  for (const Piece& piece : out) {
    calls += !piece.called.empty();
    seen.text += piece.called.empty() ? piece.text : "<" + piece.called + ":" + piece.text + ">";
    seen.ids.insert(seen.ids.end(), piece.ids.begin(), piece.ids.end());
  }
  EXPECT_EQ(calls, parser.calls());
  // Every id comes out again, in order.
  std::vector<int32_t> texts;
  std::copy_if(seen.ids.begin(), seen.ids.end(), std::back_inserter(texts),
               [](int32_t i) { return i >= 100; });
  EXPECT_EQ(static_cast<int32_t>(texts.size()), id - 100) << script;
  EXPECT_TRUE(std::is_sorted(texts.begin(), texts.end())) << script;
  return seen;
}

void expect(Kind kind, std::string_view script, std::string_view wanted) {
  for (size_t bytes = 1; bytes <= script.size() + 1; ++bytes) {
    EXPECT_EQ(run(kind, script, bytes, true).text, wanted) << script << " by " << bytes;
    if (kind == Kind::bare) continue;
    EXPECT_EQ(run(kind, script, bytes, false).text, wanted) << script << " as text by " << bytes;
  }
}

TEST(ToolParser, ReadsEachMarkup) {
  // V3 and R1; V3.1; Kimi; Qwen; Llama.
  expect(Kind::deepseek,
         "hi@[function|f\n```json\n{\"a\":1}\n```]\n[function|g\n```json\n{}\n```]#",
         "hi<f:{\"a\":1}><g:{}>");
  expect(Kind::deepseek, "hi\n\n@[f|{\"a\":1}][g|{}]#", "hi<f:{\"a\":1}><g:{}>");
  expect(Kind::deepseek, "[function|f\n{}]", "<f:{}>");
  expect(Kind::kimi, "@[functions.f:0|{}][functions.g:1|{}]#", "<f:{}><g:{}>");
  expect(Kind::tagged,
         "\nhi\n[\n{\"name\": \"f\", \"arguments\": {}}\n]\n[{\"name\":\"g\",\"arguments\":{}}]\n",
         "\nhi<f:{}><g:{}>");
  expect(Kind::tagged, "[{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}][{\"name\":\"g\"}]",
         "<f:{\"a\":1}><g:{}>");
  expect(Kind::bare, " {\"name\":\"f\",\"parameters\":{}}", "<f:{}>");
  expect(Kind::bare, "@{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"a\":\"}\\\"\"}}",
         "<f:{\"a\":\"}\\\"\"}>");
  expect(Kind::bare,
         "{\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{\"x\":1}}\n",
         "<f:{}><g:{\"x\":1}>");
  // Two sections, and an answer after them.
  expect(Kind::deepseek, "a@[f|{}]#\n@[g|{}]#\nb c", "a<f:{}><g:{}>b c");
}

TEST(ToolParser, BrokenCutAndNestedMarkupIsNoContent) {
  for (const Kind kind : {Kind::deepseek, Kind::kimi}) {
    expect(kind, "hi@[f|{}][g|{\"a\":", "hi<f:{}>");
    expect(kind, "hi@[f|{}][g", "hi<f:{}>");
    expect(kind, "hi@[f|{}]nonsense[", "hi<f:{}>");
    expect(kind, "@[f|{\"a\"[g|{}]#", "<g:{}>");
    expect(kind, "@[f|{}|{}]#after", "after");
    expect(kind, "@[unknown|{}][f|[]][f|1][f|][|{}]#", "");
    expect(kind, "a|]#b", "ab");
    expect(kind, "@[f|{\"a\"#:1}]after", "");
    expect(kind, "@@[f|{}@[g|{}]#]#", "<f:{}><g:{}>");  // whole, though another mark closed it
    expect(kind, "@[f|{}", "<f:{}>");
    expect(kind, "@[f|{}#rest", "<f:{}>");
  }
  expect(Kind::deepseek, "@[function|f\n```json\n```][function|f {}][function|][function]#", "");
  expect(Kind::tagged, "[{\"name\":1}][][{]x", "x");
  expect(Kind::tagged, "[{\"name\":\"f\",\"arguments\":{}}", "<f:{}>");
  expect(Kind::tagged, "[{\"name\":\"f\",\"argum", "");
  expect(Kind::tagged, "[[{\"name\":\"f\",\"arguments\":{}}]]y", "<f:{}>y");
  expect(Kind::tagged, "a]b", "ab");
}

TEST(ToolParser, NothingMadeUpIsContent) {
  expect(Kind::deepseek, "@[f|{}]#!It is 18 degrees. So I say", "<f:{}>");
  expect(Kind::tagged, "ok[{\"name\":\"f\"}]\n!18[{\"name\":\"g\"}]", "ok<f:{}><g:{}>");
}

TEST(ToolParser, BareCallsThatBreakOffAreNoContentButObjectsAre) {
  for (const char* cut :
       {"{", "{\"na", "{\"name\": \"", "{\"name\": \"f", "{\"name\": \"f\", \"parameters\": {\"a",
        "{\"type\": \"function\", \"name\": \"f\", \"par", "{\"name\":\"h\",\"parameters\":{\"a\"",
        "{\"name\":\"h\",\"parameters\":{}}", "@f.call(x=1)",
        "@{\"name\":", "{\"name\":\"g\"oops}"}) {
    expect(Kind::bare, cut, "");
  }
  expect(Kind::bare, "{\"name\":\"f\",\"parameters\":{}};{\"name\":\"g\",\"par", "<f:{}>");
  for (const char* object : {"{\"a\":1}", "{\"name\":\"Bob\",\"age\":3}", "{\"name\":\"f\"}",
                             "x {\"name\":\"f\",\"parameters\":{}}", "{a} is a set", "{\"b\":"}) {
    expect(Kind::bare, object, object);
  }
}

TEST(ToolParser, TextIsNoMarkWhereIdsAre) {
  const std::string typed = "say " + literal(2) + "{\"name\":\"f\"}" + literal(4) + "!";
  ToolParser parser(markup(Kind::tagged, true), {"f"});
  std::vector<Piece> out;
  parser.push({Part::answer, typed, {7}}, out);
  parser.finish(out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].text, typed);
}

TEST(ToolParser, WithoutNamesEveryCallIsDropped) {
  EXPECT_EQ(run(Kind::deepseek, "a@[f|{}]#", 1, true, {}, {}).text, "a");
  EXPECT_EQ(run(Kind::bare, "{\"name\":\"f\",\"parameters\":{}}", 3, true, {}, {}).text,
            "{\"name\":\"f\",\"parameters\":{}}");
}

TEST(ToolParser, LimitsDropCalls) {
  EXPECT_EQ(run(Kind::deepseek, "@[f|{}][g|{}]#", 1, true, {.calls_max = 1}).text, "<f:{}>");
  EXPECT_EQ(run(Kind::deepseek, "@[f|{\"a\":1}][g|{}]#", 1, true, {.call_bytes_max = 3}).text,
            "<g:{}>");
  const std::string large = "{\"a\":\"" + std::string(100, 'x') + "\"}";
  EXPECT_EQ(run(Kind::bare, large, 7, true, {.call_bytes_max = 20}).text, large);
  const std::string call = "{\"name\":\"f\",\"parameters\":" + large + "}";
  EXPECT_EQ(run(Kind::bare, call, 7, true, {.call_bytes_max = 40}).text, "");
  const std::string spaces(1000, ' ');
  EXPECT_EQ(run(Kind::deepseek, spaces + "x", 7, true).text, spaces + "x");
}

// Every cut and every single change of a good answer, as text and as ids: no mark in the content.
TEST(ToolParser, NoMutationLeaksMarkup) {
  const std::string good = "hi@[function|f\n```json\n{\"a\":1}\n```]\n[g|{}]#end";
  std::vector<std::string> scripts;
  for (size_t i = 0; i < good.size(); ++i) {
    scripts.push_back(good.substr(0, i));
    scripts.push_back(good.substr(0, i) + good.substr(i + 1));
    for (const char c : signs) scripts.push_back(good.substr(0, i) + c + good.substr(i));
  }
  for (const std::string& script : scripts) {
    for (const bool by_id : {true, false}) {
      const std::string text = run(Kind::deepseek, script, 3, by_id).text;
      EXPECT_EQ(text.find("｜"), std::string::npos) << script << " gave " << text;
      EXPECT_EQ(text.find("```"), std::string::npos) << script << " gave " << text;
    }
  }
}

}  // namespace
}  // namespace text
