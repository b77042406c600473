// Input: an expression, a zero byte, a text. Whatever compiles must cut the text into its parts,
// on the scanners as on the engine, within the budget.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/pre_tokenizer.h"

namespace {

std::vector<std::string_view> fragments(const text::Splitting& splitting, std::string_view text,
                                        text::RegexBudget& budget) {
  std::vector<std::string_view> out;
  size_t at = 0;
  splitting.split(text, budget, [&](std::string_view piece) {
    CHECK(!piece.empty() && piece.data() == text.data() + at, "fragments follow each other");
    at += piece.size();
    out.push_back(piece);
  });
  CHECK(at == text.size(), "fragments are the whole text");
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string_view expression = input.substr(0, zero);
  const std::string_view text = zero == std::string_view::npos ? "" : input.substr(zero + 1);
  const auto fast = text::make_splitting(expression);
  const auto engine = text::make_engine_splitting(expression);
  if (!fast || !engine) return 0;
  text::RegexBudget fast_budget(1'000'000), engine_budget(1'000'000);
  const auto some = fragments(**fast, text, fast_budget);
  const auto others = fragments(**engine, text, engine_budget);
  if (fast_budget.steps_left > 0 && engine_budget.steps_left > 0) {
    CHECK(some == others, "scanner and engine agree");
  }
  return 0;
}
