#include "base/result.h"

#include "base/bytes.h"
#include "base/limits.h"

namespace base {

std::string Error::message() const {
  std::string text = what;
  if (!why.empty()) text += ": " + why;
  if (!next.empty()) text += ". " + next;
  return text;
}

namespace {

// `text` with what a terminal would obey escaped: control characters (U+0080 to U+009F are some,
// too), and all bytes above 0x7f of what is no UTF-8.
void append_printable(std::string& out, std::string_view text, bool in_quotes) {
  const bool utf8 = is_utf8(text);
  bool control = false;  // this byte ends a long one
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool begins = utf8 && c == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (begins || control || c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      if (in_quotes && (c == '"' || c == '\\')) out += '\\';
      out += text[i];
    }
    control = begins;
  }
}

}  // namespace

std::string printable(std::string_view foreign) {
  std::string out;
  append_printable(out, foreign, false);
  return out;
}

std::string shown_name(std::string_view foreign) {
  std::string out = "\"";
  std::string_view shown = foreign.substr(0, limits::foreign_name_shown_bytes_max);
  // Never end inside a character: drop up to three continuation bytes and their lead.
  while (shown.size() < foreign.size() && !shown.empty() && !is_utf8(shown) &&
         foreign.substr(0, limits::foreign_name_shown_bytes_max).size() - shown.size() < 4) {
    shown.remove_suffix(1);
  }
  append_printable(out, shown, true);
  out += shown.size() < foreign.size() ? "…\"" : "\"";
  return out;
}

}  // namespace base
