// ToolParser on each markup, with its text portioned at every byte and broken in each place.
#include "text/tool_parser.h"

#include <gtest/gtest.h>

namespace text {
namespace {

using Kind = ToolMarkup::Kind;
// @ # section, [ | ] call: stand for ids; everything else is text.
constexpr std::string_view signs = "@#[|]";

ToolMarkup markup(Kind kind) {
  if (kind == Kind::tagged) return {kind, -1, -1, 3, -1, 5};
  if (kind == Kind::bare) return {kind, 1};
  return {kind, 1, 2, 3, 4, 5};
}

// "content{f:args}{g:args}", text in portions of `bytes`.
std::string run(Kind kind, std::string_view script, size_t bytes, ToolLimits limits = {}) {
  ToolParser parser(markup(kind), {"f", "g"}, limits);
  std::vector<ToolPiece> out;
  for (size_t at = 0; at < script.size();) {
    const size_t sign = signs.find(script[at]);
    if (sign != std::string_view::npos) {
      parser.push(static_cast<int32_t>(sign) + 1, script.substr(at++, 1), out);
      continue;
    }
    const size_t end = std::min(script.find_first_of(signs, at), script.size());
    const size_t size = std::min(bytes, end - at);
    parser.push(99, script.substr(at, size), out);
    at += size;
  }
  parser.finish(out);
  std::string seen;
  for (const ToolPiece& piece : out) {
    seen += piece.name.empty() ? piece.text : "<" + piece.name + ":" + piece.text + ">";
  }
  return seen;
}

void expect(Kind kind, std::string_view script, std::string_view wanted) {
  for (size_t bytes = 1; bytes <= script.size() + 1; ++bytes) {
    EXPECT_EQ(run(kind, script, bytes), wanted) << script << " by " << bytes;
  }
}

TEST(ToolParser, ReadsEachMarkup) {
  expect(Kind::fenced, "hi@[function|f\n```json\n{\"a\":1}\n```]\n[function|g\n```json\n{}\n```]#",
         "hi<f:{\"a\":1}><g:{}>");
  expect(Kind::plain, "hi@[f|{\"a\":1}][g|{}]#", "hi<f:{\"a\":1}><g:{}>");
  expect(Kind::kimi, "@[functions.f:0|{}][functions.g:1|{}]#", "<f:{}><g:{}>");
  expect(Kind::tagged,
         "hi[\n{\"name\": \"f\", \"arguments\": {}}\n]\n[{\"name\":\"g\",\"arguments\":{}}]",
         "hi<f:{}><g:{}>");
  expect(Kind::bare, " {\"name\":\"f\",\"parameters\":{}}", "<f:{}>");
  expect(Kind::bare, "@{\"name\":\"f\",\"parameters\":{}}", "<f:{}>");
}

TEST(ToolParser, BrokenCutAndNestedMarkupIsNoContent) {
  expect(Kind::plain, "hi@[f|{}][g|{\"a\":", "hi<f:{}>");
  expect(Kind::plain, "@[f|{\"a\"[g|{}]#", "<g:{}>");
  expect(Kind::plain, "@[f|{}|{}]#after", "after");
  expect(Kind::plain, "@[unknown|{}][f|[]]#", "");
  expect(Kind::plain, "a|]#b", "ab");
  expect(Kind::fenced, "@[function|f\n```json\n```][function|f {}]#", "");
  expect(Kind::tagged, "[{\"name\":1}][]x", "x");
}

TEST(ToolParser, TextIsNoMarkupAndJsonMayBeAnAnswer) {
  expect(Kind::tagged, "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
         "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>");
  expect(Kind::bare, "{\"a\":1}", "{\"a\":1}");
  expect(Kind::bare, "x {\"name\":\"f\"}", "x {\"name\":\"f\"}");
}

TEST(ToolParser, LimitsDropCalls) {
  EXPECT_EQ(run(Kind::plain, "@[f|{}][g|{}]#", 1, {.calls_max = 1}), "<f:{}>");
  EXPECT_EQ(run(Kind::plain, "@[f|{\"a\":1}][g|{}]#", 1, {.arguments_bytes_max = 3}), "<g:{}>");
}

}  // namespace
}  // namespace text
