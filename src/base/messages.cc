#include "base/messages.h"

#include <cstdlib>

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

}  // namespace

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
