#include "base/messages.h"

#include <cstdlib>
#include <optional>
#include <vector>

namespace base {
namespace {

struct Pair {
  std::string_view english, french;
};
constexpr Pair patterns[] = {
#define NAUTILE_MESSAGE(id, english, french) {english, french},
#include "base/messages.inc"
#undef NAUTILE_MESSAGE
};

constexpr Pair sentences[] = {
#define NAUTILE_SENTENCE(english, french) {english, french},
#include "base/sentences.inc"
#undef NAUTILE_SENTENCE
};
constexpr std::string_view gap = "{}";

// What stands in the gaps of `english` if `text` fits it. A gap is never empty.
std::optional<std::vector<std::string_view>> fit(std::string_view english, std::string_view text) {
  std::vector<std::string_view> found;
  size_t begin = english.find(gap);
  if (begin == std::string_view::npos) {
    if (text != english) return std::nullopt;
    return found;
  }
  if (!text.starts_with(english.substr(0, begin))) return std::nullopt;
  text.remove_prefix(begin);
  while (begin != std::string_view::npos) {
    english.remove_prefix(begin + gap.size());
    begin = english.find(gap);
    const std::string_view after = english.substr(0, begin);
    const bool last = begin == std::string_view::npos;
    if (text.size() <= after.size() || (last && !text.ends_with(after))) return std::nullopt;
    const size_t end = last ? text.size() - after.size() : text.find(after, 1);
    if (end == std::string_view::npos) return std::nullopt;
    found.push_back(text.substr(0, end));
    text.remove_prefix(end + after.size());
  }
  return found;
}

// `pattern` with its {0} to {9} replaced; a number without a part stays.
std::string filled(std::string_view pattern, const std::vector<std::string_view>& parts) {
  std::string out;
  for (size_t at = 0; at < pattern.size();) {
    const bool place = pattern.substr(at).size() >= 3 && pattern[at] == '{' &&
                       pattern[at + 2] == '}' && pattern[at + 1] >= '0' && pattern[at + 1] <= '9';
    const size_t number = place ? static_cast<size_t>(pattern[at + 1] - '0') : parts.size();
    if (number < parts.size()) {
      out += parts[number];
      at += 3;
    } else {
      out += pattern[at++];
    }
  }
  return out;
}

}  // namespace

std::string translated(Language language, std::string_view english) {
  if (language == Language::english) return std::string(english);
  for (const Pair& sentence : sentences) {
    if (const auto parts = fit(sentence.english, english)) return filled(sentence.french, *parts);
  }
  return std::string(english);
}

Language language_of_environment() {
  for (const char* name : {"LC_ALL", "LC_MESSAGES", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    return std::string_view(value).starts_with("fr") ? Language::french : Language::english;
  }
  return Language::english;
}

std::string_view pattern(Language language, Message message) {
  const Pair& pair = patterns[static_cast<size_t>(message)];
  return language == Language::french ? pair.french : pair.english;
}

}  // namespace base
