// The texts that people read in a terminal or on a page that the server renders itself, in English
// and French (the site has its own catalogue in web/). A message is a fmt pattern; both languages
// take the same arguments, which a test checks.
#pragma once

#include <fmt/format.h>
#include <string>
#include <string_view>

namespace base {

enum class Language : uint8_t { english, french };
// From LC_ALL, LC_MESSAGES, LANG in this order: "fr…" is French, everything else English.
Language language_of_environment();

enum class Message : uint16_t {
#define NAUTILE_MESSAGE(id, english, french) id,
#include "base/messages.inc"
#undef NAUTILE_MESSAGE
  count_
};

std::string_view pattern(Language language, Message message);

// A sentence that arose in English (a part of an Error, a line of `doctor`) in the reader's
// language; English where sentences.inc does not have it.
std::string translated(Language language, std::string_view english);

template <class... Args>
std::string say(Language language, Message message, Args&&... args) {
  return fmt::format(fmt::runtime(pattern(language, message)), std::forward<Args>(args)...);
}

}  // namespace base
